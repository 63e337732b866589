"""Initial weights of timm networks, from the hub, a local file or at random, and their errors."""

import difflib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import timm
import torch
from huggingface_hub import constants, get_session, try_to_load_from_cache
from timm.layers import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from timm.models import load_state_dict
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoint_safety import check_archive_safety
from hep2gan.settings import Text, in_words

# It tells of each reading of a file, and a file is read more than once.
logging.getLogger("timm.models._helpers").setLevel(logging.WARNING)

WeightsFile = Annotated[Text | Path, in_words("the name of a file")] | None
FILES = ("model.safetensors", "pytorch_model.bin")
"""Names under which timm and segmentation_models_pytorch look for weights."""


def require_hub(repository: str, revision: str | None, fix: str, files: tuple[str, ...]) -> None:
    """Check that weights are in the cache or the hub can be reached.

    Fails at once rather than after a minute of retries: one HEAD request is sent, and only if none
    of `files` is in the cache. Respects `HF_ENDPOINT`, `HF_HUB_OFFLINE` and proxies.

    Args:
        repository: Name of the repository on the hub.
        revision: Its revision, or None for the latest.
        fix: What to do about the error.
        files: Names of files, any of which is sufficient.

    Raises:
        Hep2ganError: If the weights are not in the cache and the hub cannot be reached.
    """
    if any(
        isinstance(try_to_load_from_cache(repository, f, revision=revision), str) for f in files
    ):
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=5.0)
    except Exception as error:  # requests, httpx and offline mode have no common base class
        raise Hep2ganError(
            f"pretrained weights {repository} are not in the cache",
            f"they cannot be downloaded from {constants.ENDPOINT} either ({error})",
            fix,
        ) from error


def require_timm_weights(model: str, fix: str) -> None:
    """Check that the pretrained weights of a timm model can be had.

    Args:
        model: Name in timm, with or without tag.
        fix: What to do about the error.

    Raises:
        Hep2ganError: If timm publishes none, or as `require_hub`.
    """
    config = timm.get_pretrained_cfg(model)
    if config is None or not config.has_weights:
        raise Hep2ganError(f"{model} has no pretrained weights", "timm publishes none", fix)
    # Other sources than the hub fail without retries.
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        files = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
        require_hub(repository, revision or None, fix, files)


@dataclass(frozen=True)
class PretrainedWeights:
    """Initial weights of one timm network.

    Attributes:
        model: Name in timm, with or without tag (`resnet50.tv_in1k`).
        pretrained: Load ImageNet weights from the hub.
        file: Local .pth or .safetensors file, or None; loaded whatever `pretrained` is.
        setting: Configuration key that names the model (`classifier.backbone`), for error messages.
    """

    model: str
    pretrained: bool
    file: Path | None
    setting: str

    @property
    def loads(self) -> bool:
        """Whether anything is to be loaded."""
        return self.pretrained or self.file is not None

    @property
    def fix(self) -> str:
        """What to do when it cannot be loaded."""
        owner = self.setting.partition(".")[0]
        return f"pass {owner}.weights=FILE (.pth or .safetensors) or {owner}.pretrained=false"

    def timm_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of timm.create_model that load the weights.

        Raises:
            Hep2ganError: If the model is unknown, the file missing or damaged, or the hub
                unreachable.
        """
        self._require_model()
        if self.file is not None:
            self._read(self.file)
            # Unless told not to, old timm takes any file of some transformers for one of NumPy.
            overlay = {"file": str(self.file), "custom_load": False}
            return {"pretrained": True, "pretrained_cfg_overlay": overlay}
        if self.pretrained:
            require_timm_weights(self.model, self.fix)
        return {"pretrained": self.pretrained}

    def require_reachable(self) -> None:
        """Check that the weights can be had, without loading them.

        Raises:
            Hep2ganError: If the model is unknown, the file missing or empty, or the hub
                unreachable.
        """
        self._require_model()
        if self.file is None:
            if self.pretrained:
                require_timm_weights(self.model, self.fix)
            return
        self._require_file(self.file)
        self._require_no_run(self.file)
        try:
            with self.file.open("rb") as file:
                if not file.read(1):
                    raise Hep2ganError(f"weights file {self.file} is empty", "", self.fix)
        except OSError as error:
            raise Hep2ganError(
                f"weights file {self.file} cannot be read ({error.strerror})", "", self.fix
            ) from error

    def _require_file(self, file: Path) -> None:
        if not file.is_file():
            raise Hep2ganError(f"weights file {file} does not exist", "", self.fix)

    def _require_no_run(self, file: Path, tensors: Iterable[str] = ()) -> None:
        """Refuse a run's checkpoint, which holds all networks, by its name or those in it."""
        owner = self.setting.partition(".")[0]
        ours = ("generator.", "discriminator.", "classifier.backbone.")
        if file.suffix == ".ckpt" or any(name.startswith(ours) for name in tensors):
            raise Hep2ganError(
                f"{owner}.weights={file} is the checkpoint of a run",
                "weights are those of one network",
                f"set init_from={file} and leave {owner}.weights out, or name a .pth or"
                f" .safetensors file of {self.model}",
            )

    def _require_model(self) -> None:
        name, _, tag = self.model.partition(".")
        fact = f"{self.setting} is {self.model!r}"
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 3)
            raise Hep2ganError(
                fact,
                "timm knows no such model",
                f"choose {' or '.join(near)}" if near else "see timm.list_models()",
            )
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
        if tag and tag not in tags:
            raise Hep2ganError(fact, f"timm has {name} without that tag", f"choose from {tags}")

    @contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Turn any error of timm in the block into a Hep2ganError that names the model and a fix.

        timm's own warnings of unused output layers are suppressed: `require_filled` is stricter.
        """
        logger = logging.getLogger("timm.models._builder")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        except Exception as error:
            source = f" from {self.file}" if self.file else ""
            reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
            raise Hep2ganError(
                f"{self.setting}={self.model} cannot be built{source} ({reason})",
                "",
                self.fix if self.loads else f"choose another {self.setting}",
            ) from error
        finally:
            logger.setLevel(level)

    def require_filled(self, network: nn.Module) -> None:
        """Check that the file has filled a network.

        timm loads leniently if the number of classes differs, and would silently leave a network of
        another architecture at random values. Every weight matrix or kernel must be found in the
        file by size and sum; the first convolution and the output layer may differ.

        Args:
            network: The network that was built with `timm_arguments`.

        Raises:
            Hep2ganError: If the file is of another architecture.
        """
        if self.file is None:
            return
        in_file = {_signature(tensor) for tensor in self._read(self.file).values()}
        kernels = [p for p in network.parameters() if p.ndim in (2, 4)]
        filled = sum(_signature(kernel) in in_file for kernel in kernels)
        if filled < len(kernels) - 2:
            raise Hep2ganError(
                f"{self.file} fills {filled} of {len(kernels)} weight tensors of {self.model}",
                "weights must be of the same architecture",
                self.fix,
            )

    def _read(self, file: Path) -> dict[str, Tensor]:
        self._require_file(file)
        self._require_no_run(file)
        # CVE-2026-24747, see the module of the check.
        old = torch.__version__ < "2.10"
        try:
            if old and file.suffix != ".safetensors":
                check_archive_safety(file)
            state = load_state_dict(str(file), weights_only=True)
        except Exception as error:  # pickle, zip, safetensors and torch each raise their own
            raise Hep2ganError(
                f"weights file {file} cannot be read ({error})",
                "torch below 2.10 reads .safetensors, and archives of tensors alone" if old else "",
                self.fix,
            ) from error
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        self._require_no_run(file, tensors)
        if not tensors:
            raise Hep2ganError(f"weights file {file} holds no tensors", "", self.fix)
        return tensors


def _signature(tensor: Tensor) -> tuple[int, float]:
    return tensor.numel(), tensor.detach().double().sum().item()


def as_path(file: str | Path | None) -> Path | None:
    """Convert a file name of the configuration to a path; `~` is the home folder.

    Args:
        file: The name, or None.
    """
    return None if file is None else Path(file).expanduser()


STANDARDISED = (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame)
"""Convolutions that standardise kernels over all input channels, so that none can be added."""


def adapt_first_convolution(network: nn.Module, image_channels: int, guided: bool) -> None:
    """Change the first convolution of an RGB timm network in place, for grey images and masks.

    The network then starts as exactly the pretrained network on grey images. timm's own rule for
    two channels, [R, G]·1.5, would apply the green kernels to the mask.

    Args:
        network: A pretrained timm network.
        image_channels: 1: the grey kernel is the sum over R, G and B. 3: kernels are kept, and the
            grey image is to be repeated.
        guided: Add a mask channel of zeros.

    Raises:
        Hep2ganError: If the first layer is no plain convolution of three channels.
    """
    for name in _first_convolutions(network):
        convolution = network.get_submodule(name)
        if not isinstance(convolution, nn.Conv2d) or isinstance(convolution, STANDARDISED):
            raise _unsupported(
                f"the first layer {name} is a {type(convolution).__name__}, not a plain convolution"
            )
        if convolution.in_channels != 3 or convolution.groups != 1:
            raise _unsupported(f"the first layer {name} takes {convolution.in_channels} channels")
        kernel = with_mask_channel(convolution.weight.detach(), image_channels, guided)
        convolution.weight = nn.Parameter(kernel)
        convolution.in_channels = kernel.shape[1]


def with_mask_channel(rgb: Tensor, image_channels: int, guided: bool) -> Tensor:
    """Convert kernels for RGB to kernels for grey images and masks.

    Args:
        rgb: (O, 3, k, k) kernels.
        image_channels: 1 to sum the three, 3 to keep them.
        guided: Add a mask channel of zeros.

    Returns:
        (O, image_channels + guided, k, k) kernels.
    """
    image = rgb.sum(dim=1, keepdim=True) if image_channels == 1 else rgb
    if not guided:
        return image.clone()
    return torch.cat([image, torch.zeros_like(image[:, :1])], dim=1)


def _first_convolutions(network: nn.Module) -> tuple[str, ...]:
    names = cast(dict[str, object], getattr(network, "pretrained_cfg", {})).get("first_conv")
    if not names:
        raise _unsupported("its first convolution is not known to timm")
    return (names,) if isinstance(names, str) else tuple(cast(tuple[str, ...], names))


def _unsupported(fact: str) -> Hep2ganError:
    return Hep2ganError(
        f"this backbone cannot take grey images and masks with its pretrained weights: {fact}",
        "",
        "choose another classifier.backbone (resnet50.tv_in1k) or classifier.pretrained=false",
    )
