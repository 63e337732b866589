"""Where initial weights come from, the hub, a local file or chance, and errors that say so."""

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.hub import require_timm_weights


@dataclass(frozen=True)
class InitialWeights:
    """Initial weights of one timm network.

    model: timm's name, with or without tag (`resnet50.tv_in1k`). pretrained: ImageNet weights from
    the hub. file: local .pth or .safetensors; when given it is loaded, whatever `pretrained` says.
    setting: config key that names the model (`classifier.backbone`), for the fix of an error.
    """

    model: str
    pretrained: bool
    file: Path | None
    setting: str

    @property
    def wanted(self) -> bool:
        """Whether anything is to be loaded."""
        return self.pretrained or self.file is not None

    @property
    def fix(self) -> str:
        """What to do when it cannot be loaded."""
        owner = self.setting.partition(".")[0]
        return f"pass {owner}.weights=FILE (.pth or .safetensors) or {owner}.pretrained=false"

    def timm_arguments(self) -> dict[str, Any]:
        """Give the keyword arguments of timm.create_model that load the weights.

        Raises Hep2ganError for an unknown model, a missing or damaged file, an unreachable hub.
        """
        self._require_model()
        if self.file is not None:
            self._read(self.file)
            return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(self.file)}}
        if self.pretrained:
            require_timm_weights(self.model, self.fix)
        return {"pretrained": self.pretrained}

    def require_reachable(self) -> None:
        """Raise Hep2ganError where the weights cannot be had; nothing is loaded."""
        self._require_model()
        if self.file is None:
            if self.pretrained:
                require_timm_weights(self.model, self.fix)
            return
        self._require_file(self.file)
        try:
            with self.file.open("rb") as file:
                if not file.read(1):
                    raise Hep2ganError(f"weights file {self.file} is empty", "", self.fix)
        except OSError as error:
            fact = f"weights file {self.file} cannot be read ({error.strerror})"
            raise Hep2ganError(fact, "", self.fix) from error

    def _require_file(self, file: Path) -> None:
        if not file.is_file():
            raise Hep2ganError(f"weights file {file} does not exist", "", self.fix)

    def _require_model(self) -> None:
        name, _, tag = self.model.partition(".")
        fact = f"{self.setting} is {self.model!r}"
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 3)
            fix = f"choose {' or '.join(near)}" if near else "see timm.list_models()"
            raise Hep2ganError(fact, "timm knows no such model", fix)
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
        if tag and tag not in tags:
            raise Hep2ganError(fact, f"timm has {name} without that tag", f"choose from {tags}")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn whatever timm raises while building into a Hep2ganError with model and fix.

        timm's own warnings of unused output layers are left out: `require_filled` looks closer.
        """
        logger = logging.getLogger("timm.models._builder")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        except Exception as error:
            source = f" from {self.file}" if self.file else ""
            reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
            fact = f"{self.setting}={self.model} cannot be built{source} ({reason})"
            fix = self.fix if self.wanted else f"choose another {self.setting}"
            raise Hep2ganError(fact, "", fix) from error
        finally:
            logger.setLevel(level)

    def require_filled(self, network: nn.Module) -> None:
        """Raise Hep2ganError unless the file filled the network.

        timm loads leniently when the number of classes differs, and would leave a network of
        another architecture at random values without a word. Every weight matrix or kernel must be
        found in the file by size and sum; the first convolution and the output layer may differ.
        """
        if self.file is None:
            return
        in_file = {_signature(tensor) for tensor in self._read(self.file).values()}
        kernels = [p for p in network.parameters() if p.ndim in (2, 4)]
        found = sum(_signature(kernel) in in_file for kernel in kernels)
        if found < len(kernels) - 2:
            raise Hep2ganError(
                f"{self.file} fills {found} of {len(kernels)} weight tensors of {self.model}",
                "weights must be of the same architecture",
                self.fix,
            )

    def _read(self, file: Path) -> dict[str, Tensor]:
        self._require_file(file)
        try:
            state = load_state_dict(str(file), weights_only=True)
        except Exception as error:  # pickle, zip, safetensors and torch each raise their own
            fact = f"weights file {file} cannot be read ({error})"
            raise Hep2ganError(fact, "", self.fix) from error
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        if not tensors:
            raise Hep2ganError(f"weights file {file} holds no tensors", "", self.fix)
        return tensors


def _signature(tensor: Tensor) -> tuple[int, float]:
    return tensor.numel(), tensor.detach().double().sum().item()


def as_path(file: str | Path | None) -> Path | None:
    """Read a config's file name; `~` is the home folder."""
    return None if file is None else Path(file).expanduser()
