"""What was looked at before a run, and what was found."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from hydra.utils import get_class
from torch import nn

from hep2gan.config import ALLOWED_OPTIMIZERS, COMPILE_MODES, uses_cuda_graphs
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.data.splits import PARTS, Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, WrongSettingsError, bullet_list
from hep2gan.models.classifier import require_backbone_weights
from hep2gan.models.generator import require_encoder_weights
from hep2gan.runs.checkpoints import TrainingPosition
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import lock_owner, locked_error
from hep2gan.training.datamodule import require_shares
from hep2gan.training.devices import require_devices
from hep2gan.training.loggers import require_logger
from hep2gan.training.loggers.csv import require_epochs
from hep2gan.training.optimizers import check_fused

State = Literal["ok", "note", "problem"]


class Note(NamedTuple):
    """Something worth knowing that stops nothing."""

    text: str


class Result(NamedTuple):
    """One line of a list: what was looked at, how it is, what was found."""

    check: str
    state: State
    text: str


Finding = str | Note | Hep2ganError


class PreflightReport:
    """Results in the order in which they were found; problems are kept to be told together."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.problems: list[Hep2ganError] = []

    def take(self, check: str, findings: Iterable[Finding]) -> bool:
        """Go through the findings of one check; whether none of them is a problem.

        A finding is a sentence, a Note, or an error; a Hep2ganError that is raised is one too.
        """
        before = len(self.problems)
        try:
            for finding in findings:
                self._add(check, finding)
        except WrongSettingsError as several:
            for error in several.problems:
                self._add(check, error)
        except Hep2ganError as error:
            self._add(check, error)
        return len(self.problems) == before

    def _add(self, check: str, finding: Finding) -> None:
        if isinstance(finding, Hep2ganError):
            self.problems.append(finding)
            self.results.append(Result(check, "problem", str(finding)))
        elif isinstance(finding, Note):
            self.results.append(Result(check, "note", finding.text))
        else:
            self.results.append(Result(check, "ok", finding))

    def lines(self) -> list[str]:
        """The results for a terminal; problems last, where they are seen."""
        order = get_args(State)
        results = sorted(self.results, key=lambda result: order.index(result.state))
        return [f"{state:<8} {check:<10} {text}" for check, state, text in results]

    def require(self, what: str) -> None:
        """Raise Hep2ganError with every problem of `what` in one list, each with its fix."""
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            told = bullet_list(
                [str(problem) for problem in self.problems], limit=len(self.problems)
            )
            raise Hep2ganError(
                f"{len(self.problems)} things stand in the way of {what}\n{told}\n",
                "nothing was started",
                "mend them and give the same command again; doctor=true looks without starting",
            )


GB = 1e9
_REST = 20_000_000
"""Figures, tables and logs."""


def checkpoint_bytes(parts: Mapping[str, nn.Module], optimizers: Mapping[str, Any]) -> int:
    """Size of one checkpoint: parameters, buffers and what the optimizers keep of each parameter.

    parts: networks by name, with the parameters of their losses. optimizers: their settings.
    """
    total = 0
    for name, part in parts.items():
        parameters, buffers = _bytes(part.parameters()), _bytes(part.buffers())
        total += parameters * (1 + state_copies(optimizers[name])) + buffers
    return total


def _bytes(tensors: Iterable[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def state_copies(settings: Mapping[str, Any]) -> int:
    """Numbers that an optimizer keeps of each parameter; 2 for one that is not known."""
    name = str(settings["_target_"]).rpartition(".")[2]
    momentum = int(bool(settings.get("momentum")))
    if name == "SGD":
        return momentum
    if name == "RMSprop":
        return 1 + momentum + int(bool(settings.get("centered")))
    return 2 + int(bool(settings.get("amsgrad")))


def prediction_bytes(cells: int, size: int, classes: int, features: int) -> int:
    """Most that predictions.npz can take: three pictures, two rows of probabilities, features."""
    return cells * (3 * size**2 + 4 * (2 * classes + features) + 100)


def require_disk_space(folder: Path, checkpoint: int, *, chooses: bool, predictions: int) -> str:
    """Say what the run takes and what is free; raises Hep2ganError where that is not enough.

    Two checkpoints are kept and a third is written before the oldest goes; where an epoch is
    chosen, the same for the best. What an earlier start left counts as room.
    """
    count = 5 if chooses else 3
    there = sum(file.stat().st_size for file in (folder / "checkpoints").glob("*.ckpt"))
    needed = max(0, count * checkpoint - there) + predictions + _REST
    free = shutil.disk_usage(existing_parent(folder)).free
    told = f"{count} checkpoints of {checkpoint / GB:.2f} GB, predictions {predictions / GB:.2f} GB"
    if free < needed:
        raise Hep2ganError(
            f"{existing_parent(folder)} has {free / GB:.2f} GB free",
            f"the run takes up to {needed / GB:.2f} GB more ({told})",
            "free space, or choose another place with runs=FOLDER",
        )
    return f"up to {needed / GB:.2f} GB ({told}), {free / GB:.1f} GB free"


def existing_parent(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def check_store(store: Store, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Classes and image size."""
    if config["classify"] and len(store.classes) < 2:
        yield Hep2ganError(
            f"{store.path} has the class {', '.join(store.classes)} alone",
            "a classifier needs at least 2 classes",
            "set method=segmentation, or pack cells of more classes",
        )
    if store.size % 16:
        yield Hep2ganError(
            f"{store.path} holds images of {store.size} px",
            "their side must be divisible by 16",
            "pack again with another data.size",
        )
    yield (
        f"{store.path}: {len(store):,} cells of {store.size} px in {len(store.classes)} classes,"
        f" fingerprint {store.fingerprint[:12]}"
    )


def check_split(store: Store, split: Split, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Classes that a part does not have."""
    counts = split.counts(store)
    sizes = {part: sum(counts[part].values()) for part in PARTS}
    absent = {
        part: [name for name, count in counts[part].items() if not count]
        for part in PARTS
        if sizes[part]
    }
    unseen = [c for c in absent.get("train", []) if any(counts[part][c] for part in PARTS)]
    if unseen and config["classify"]:
        yield Hep2ganError(
            f"the training part has no cell of {', '.join(unseen)}, other parts have",
            "a class that training never saw cannot be named",
            "choose another split, or leave the class out of the store",
        )
    empty = [c for c in store.classes if not any(counts[part][c] for part in PARTS)]
    if empty:
        yield Note(f"the store has no cell of {', '.join(empty)}")
    priors = config["loss"]["gaussian_mixture"]
    if config["classify"] and empty and priors["enabled"] and priors["priors"] == "empirical":
        yield Hep2ganError(
            f"{', '.join(empty)} has no cells",
            "empirical priors need cells of every class",
            "set loss.gaussian_mixture.priors=uniform",
        )
    for part in ("validation", "test"):
        if lacking := [c for c in absent.get(part, []) if c not in empty]:
            yield Note(f"the {part} part has no cell of {', '.join(lacking)}")
    yield ", ".join(f"{sizes[part]:,} {part}" for part in PARTS) + " cells"


def check_batches(split: Split | None, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Batches that the devices divide and the parts fill; without a split, what needs no cells."""
    settings = config["trainer"]
    world, size = settings["devices"] * settings["nodes"], settings["batch_size"]
    rows = np.arange(size) if split is None else split.train
    try:
        EpochBatchSampler(rows, size, world_size=world, training=True)
    except Hep2ganError as error:
        yield error
    if config["segment"] and size // world == 1:
        yield Hep2ganError(
            f"trainer.batch_size is {size} for {world} devices",
            "the generator's batch normalisation needs 2 cells on each",
            f"set trainer.batch_size={2 * world} or more",
        )
    if split is None:
        return
    for part, cells in (("validation", split.validation), ("test", split.test)):
        try:
            require_shares(part, len(cells), settings["eval_batch_size"], world)
        except Hep2ganError as error:
            yield error
    yield f"{len(split.train) // size:,} of {size} an epoch"


Config = Mapping[str, Any]

_WEIGHTS: dict[str, tuple[str, Callable[[str, bool, str | None], None]]] = {
    "hep2gan.models.generator.DeepLabV3PlusGenerator": ("encoder", require_encoder_weights),
    "hep2gan.models.classifier.TimmClassifier": ("backbone", require_backbone_weights),
    "hep2gan.models.attention_pooling.AttentionPoolingClassifier": (
        "backbone",
        require_backbone_weights,
    ),
}
"""Networks of ours that take weights: the setting that names the model, and who knows of them."""


def check_devices(config: Config) -> Iterator[Finding]:
    """As many devices as are asked for."""
    settings = config["trainer"]
    yield require_devices(settings["accelerator"], settings["devices"])


def check_logger(config: Config) -> Iterator[Finding]:
    """Where curves go."""
    yield require_logger(config["logger"])


def check_folder(
    run: RunFolder, config: Config, newest: Path | None, *, starts: bool
) -> Iterator[Finding]:
    """A folder that can be written, is free and holds this run or none.

    newest: the checkpoint to go on from. starts: the caller holds the folder itself.
    """
    if (error := _unwritable(run)) is not None:
        yield error
    if not starts and (owner := lock_owner(run.path)) is not None:
        yield locked_error(run.path, owner)
    run.check_config(config)
    if not run.done:
        require_epochs(run.curves_file, TrainingPosition.of(newest).epochs)
    state = "finished" if run.done else f"from {newest.name}" if newest else "new"
    yield f"{run.path}: {state}"


def _unwritable(run: RunFolder) -> Hep2ganError | None:
    place = existing_parent(run.path)
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return Hep2ganError(
            f"{place} cannot be written ({error.strerror})",
            "a run keeps everything in its folder",
            "choose another place with runs=FOLDER",
        )


def check_weights(config: Config) -> Iterator[Finding]:
    """Weights that a new run's networks begin with; nothing is downloaded."""
    for name, key in {"generator": "segment", "classifier": "classify"}.items():
        settings = config[name]
        if not config[key] or str(settings["_target_"]) not in _WEIGHTS:
            continue
        model, require = _WEIGHTS[settings["_target_"]]
        try:
            require(settings[model], settings["pretrained"], settings["weights"])
        except Hep2ganError as error:
            yield error
            continue
        source = "ImageNet" if settings["pretrained"] else "from scratch"
        yield f"{name} {settings[model]}: {settings['weights'] or source}"


_OLDEST = (7, 0)
"""Compute capability from which torch.compile makes kernels for a GPU (Volta)."""


def check_trainer_flags(config: Config) -> Iterator[Finding]:
    """Everything of `trainer` that cannot work here, or has no effect."""
    settings = config["trainer"]
    on_gpu = settings["accelerator"] == "gpu" or (
        settings["accelerator"] == "auto" and torch.cuda.is_available()
    )
    several = settings["devices"] * settings["nodes"] > 1
    if settings["compile"]:
        yield from _compile(settings, on_gpu, several)
    yield from _statistics(settings, on_gpu, several)
    yield from _fused(config)
    yield from _no_effect(settings)


def _compile(settings: Config, on_gpu: bool, several: bool) -> Iterator[Finding]:
    mode = settings["compile"]
    if mode not in COMPILE_MODES or not isinstance(mode, bool | str):
        yield Hep2ganError(
            f"trainer.compile is {mode!r}",
            f"choose from {', '.join(str(mode).lower() for mode in COMPILE_MODES)}",
        )
        return
    fact = f"trainer.compile is {str(mode).lower()}"
    if not _finds(_compilers(on_gpu)):
        yield Hep2ganError(
            f"{fact}, and none of {', '.join(_compilers(on_gpu))} is installed",
            "torch.compile needs a compiler",
            "install gcc, or set trainer.compile=false",
        )
    if on_gpu and torch.cuda.is_available() and torch.cuda.get_device_capability() < _OLDEST:
        yield Hep2ganError(
            f"{fact} on a GPU of compute capability"
            f" {'.'.join(map(str, torch.cuda.get_device_capability()))}",
            "torch.compile makes kernels from 7.0 on",
            "set trainer.compile=false",
        )
    if settings["sync_batchnorm"] and several:
        yield Hep2ganError(
            f"{fact} with trainer.sync_batchnorm=true",
            "each such layer talks to the other devices, where torch.compile has to stop and begin"
            " again (pytorch issue 161302)",
            "set one of them to false",
        )
    if uses_cuda_graphs(mode) and not on_gpu:
        yield Hep2ganError(fact, "CUDA graphs need a GPU", "set trainer.compile=true or false")
    elif uses_cuda_graphs(mode) and several:
        yield Hep2ganError(
            f"{fact} on {settings['devices'] * settings['nodes']} devices",
            "CUDA graphs beside the reduction of gradients are known to fail (pytorch issues"
            " 113809, 140395)",
            "set trainer.compile=true",
        )


def _compilers(on_gpu: bool) -> tuple[str, ...]:
    """What torch looks for: C for Triton's launchers, C++ for kernels of the CPU."""
    if on_gpu:
        return tuple(filter(None, (os.environ.get("CC"), "gcc", "clang", "cc")))
    return (os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"),)


def _finds(names: tuple[str, ...]) -> bool:
    return any(shutil.which(name) for name in names)


def _statistics(settings: Config, on_gpu: bool, several: bool) -> Iterator[Finding]:
    if not settings["sync_batchnorm"]:
        return
    if not on_gpu:
        yield Hep2ganError(
            "trainer.sync_batchnorm is true on the CPU",
            "torch has this for GPUs alone",
            "set trainer.sync_batchnorm=false",
        )
    elif not several:
        yield Note("trainer.sync_batchnorm has no effect on one device")


def _fused(config: Config) -> Iterator[Finding]:
    for name in ("generator", "discriminator", "classifier"):
        target = config["optimizer"][name]["_target_"]
        # Others are looked up by who knows whether they may be.
        if not isinstance(target, str) or target not in ALLOWED_OPTIMIZERS:
            continue
        try:
            check_fused(config["trainer"]["fused_optimizers"], get_class(target))
        except Hep2ganError as error:
            yield error
            return


def _no_effect(settings: Config) -> Iterator[Finding]:
    if settings["resident"] and settings["workers"]:
        yield Note(
            f"trainer.workers={settings['workers']} has no effect with trainer.resident=true:"
            " cells that lie on the device need no worker"
        )
