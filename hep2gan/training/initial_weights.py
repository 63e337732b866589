"""Weights that a new run takes from another run, part by part: `init_from=RUN`.

A tensor is taken where its name and shape agree, from networks that agree for the most part. Two
kinds are fitted: rows that belong to classes (output layer, means and variances of the Gaussian
mixture) go by the names of the classes; the first convolution of a classifier gets kernels of zeros
for a mask that the source did not see, or loses those of a mask that this run does not see.
Optimizers begin anew, and so do class priors, which are of the cells.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hep2gan.config import NETWORKS, TrainConfig
from hep2gan.data.patterns import same_classes
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import file_digest
from hep2gan.models.pretrained import STANDARDISED
from hep2gan.runs.checkpoints import load_best_or_latest, read_checkpoint
from hep2gan.runs.folder import RunFolder
from hep2gan.settings import value_at
from hep2gan.training.build import build_task

_MIXTURE = "classification_loss.gaussian_mixture."
_PRIORS = f"{_MIXTURE}log_prior"
PARTS = ("generator", "discriminator", "classifier", "output layer", "mixture")
"""Parts of the method, as the table of what is taken names them."""


@dataclass(frozen=True)
class SourceRun:
    """A run whose weights another one begins with.

    Attributes:
        run: Its folder.
        checkpoint: The checkpoint.
        state: The weights by name: those that the run is evaluated with.
        classes: Its class names, in the order of its labels.
    """

    run: RunFolder
    checkpoint: Path
    state: Mapping[str, Tensor]
    classes: tuple[str, ...]

    @classmethod
    def open(cls, place: str) -> "SourceRun":
        """Read a run's weights; no code of the run is run.

        Args:
            place: The run's folder, whose best checkpoint counts, or else the newest; or one of its
                checkpoints.

        Raises:
            Hep2ganError: It is no run with networks, or its checkpoint cannot be read.
        """
        path = Path(place).expanduser()
        if not path.exists():
            raise Hep2ganError(
                f"init_from={place} does not exist",
                "it names the folder of a run, or one of its checkpoints",
                "give a folder that hep2gan-train wrote, e.g. runs/default/proposed/seed0",
            )
        is_file = path.is_file()
        run = RunFolder.open(path.parent.parent if is_file else path)
        if value_at(run.config(), ["model", "baseline"]):
            raise Hep2ganError(
                f"init_from={place} is a forest on texture features",
                "it has no networks",
                "name the run of another method, or leave init_from out",
            )
        file, content = (
            (path, read_checkpoint(path)) if is_file else load_best_or_latest(run.checkpoints)
        )
        return cls(run, file, content["state_dict"], run.store_info().classes)


class Taken(NamedTuple):
    """How a tensor of the source fits one of the new run.

    Attributes:
        rows: Pairs of a row here and a row there, of classes with the same name; None: all rows.
        image_channels: Input channels of the image, which are taken, where one of the two has a
            channel for the mask beside them; None: all channels.
    """

    rows: list[tuple[int, int]] | None = None
    image_channels: int | None = None

    def fill(self, target: Tensor, source: Tensor) -> None:
        """Copy the values.

        Args:
            target: The tensor of the new run, which is changed in place.
            source: The tensor of the source.
        """
        if self.rows is not None:
            here, there = (list(column) for column in zip(*self.rows, strict=True))
            target[here] = source[there].to(target)
        elif (images := self.image_channels) is not None:
            target.zero_()[:, :images] = source[:, :images].to(target)
        else:
            target.copy_(source)


@dataclass(frozen=True)
class InitialWeights:
    """What a new run takes from a source, and what it does not.

    Attributes:
        source: The source.
        taken: How each tensor that is taken fits, by name.
        new: Why each other tensor of the new run is left as built, by name.
        by_class: Names of the tensors that have a row for each class.
        classes: Classes of the new run that the source has too.
        unlike: Settings of the normalisation that differ, as sentences.
    """

    source: SourceRun
    taken: Mapping[str, Taken]
    new: Mapping[str, str]
    by_class: frozenset[str]
    classes: tuple[str, ...]
    unlike: tuple[str, ...]

    @classmethod
    def plan(
        cls, source: SourceRun, config: TrainConfig, classes: Sequence[str], size: int
    ) -> "InitialWeights":
        """Compare a source with the networks that a configuration describes.

        Args:
            source: The source.
            config: The configuration of the new run.
            classes: Class names of its store.
            size: Side of its images in pixels.

        Returns:
            The plan.

        Raises:
            Hep2ganError: Nothing can be taken, or a file of weights is named for the same network.
        """
        # Without memory; with one class more it shows which tensors have a row for each class.
        with torch.device("meta"):
            task = build_task(config, classes=classes, size=size, load_weights=())
            more = build_task(config, classes=(*classes, "one more"), size=size, load_weights=())
        state = {name: here for name, here in task.state_dict().items() if _network(name)}
        wider = more.state_dict()
        by_class = frozenset(name for name in state if state[name].shape != wider[name].shape)
        rows = _rows_of_same_classes(classes, source.classes)
        taken: dict[str, Taken] = {}
        new: dict[str, str] = {}
        for name, here in state.items():
            found = _fit(task, name, here, source.state.get(name), name in by_class, rows)
            if isinstance(found, Taken):
                taken[name] = found
            else:
                new[name] = found
        _leave_other_architectures(taken, new, by_class)
        plan = cls(
            source,
            taken,
            new,
            by_class,
            tuple(classes[here] for here, _ in rows),
            tuple(_unlike(source.run.config(), config)),
        )
        plan._require_any()
        plan._require_no_files(config)
        return plan

    @property
    def networks(self) -> frozenset[str]:
        """Networks that begin with weights of the source instead of pretrained ones."""
        return frozenset(map(_network, self.taken))

    def fill(self, task: nn.Module) -> None:
        """Copy the weights into the networks of the new run.

        Args:
            task: The task, built from the planned configuration and classes.
        """
        state = task.state_dict()
        for name, how in self.taken.items():
            how.fill(state[name], self.source.state[name])

    def notes(self) -> list[str]:
        """What a user should look at."""
        notes = [f"{sentence}: the weights expect the source's" for sentence in self.unlike]
        if not self.source.run.done:
            notes.append(f"init_from={self.source.run.path} is not finished")
        return notes

    def table(self) -> str:
        """A line for each part: how many tensors are taken, and why others are left new."""
        parts = {part: self._line(part) for part in PARTS}
        lines = [f"  {part:<16}{line}" for part, line in parts.items() if line]
        return "\n".join([f"Weights from {self.source.checkpoint}:", *lines])

    def _line(self, part: str) -> str:
        taken = [name for name in self.taken if self._part(name) == part]
        reasons: dict[str, list[str]] = defaultdict(list)
        for name, reason in self.new.items():
            if self._part(name) == part:
                reasons[reason].append(name)
        count = len(taken) + sum(map(len, reasons.values()))
        unused = sum(
            self._part(name) == part and name not in self.taken and name not in self.new
            for name in self.source.state
        )
        if not count:
            return f"not used: this run has none ({pluralize(unused, 'tensor')})" if unused else ""
        words = [f"{len(taken)} of {pluralize(count, 'tensor')} taken"]
        if any(self.taken[name].rows is not None for name in taken):
            words.append(f"classes {', '.join(self.classes)}")
        if any(self.taken[name].image_channels is not None for name in taken):
            words.append("the first convolution fitted to the channel of the mask")
        words += [
            f"new: {names[0] if len(names) == 1 else pluralize(len(names), 'tensor')} ({reason})"
            for reason, names in reasons.items()
        ]
        if unused:
            words.append(f"{unused} more of the source not used")
        return "; ".join(words)

    def _part(self, name: str) -> str:
        if name.startswith(_MIXTURE):
            return "" if name == _PRIORS else "mixture"
        network = _network(name)
        return "output layer" if network == "classifier" and name in self.by_class else network

    def record(self) -> dict[str, Any]:
        """Describe the source and what was taken, for provenance.json."""
        return {
            "run": str(self.source.run.path.resolve()),
            "checkpoint": self.source.checkpoint.name,
            "sha256": file_digest(self.source.checkpoint),
            "classes": list(self.source.classes),
            "taken": sorted(self.taken),
            "new": dict(self.new),
        }

    def _require_any(self) -> None:
        if not self.taken:
            raise Hep2ganError(
                f"nothing can be taken from {self.source.checkpoint}"
                f" ({', '.join(dict.fromkeys(self.new.values()))})",
                "tensors are taken whose name and shape agree, from networks that agree for the"
                " most part",
                f"choose generator and classifier as in {self.source.run.config_file}, or leave"
                " init_from out",
            )

    def _require_no_files(self, config: TrainConfig) -> None:
        for name in sorted(self.networks):
            if file := config.network(name).arguments.get("weights"):
                raise Hep2ganError(
                    f"{name}.weights={file}, and init_from={config.init_from} gives weights to the"
                    f" {name} too",
                    "a network begins with the weights of one source",
                    f"leave {name}.weights or init_from out",
                )


def _network(name: str) -> str:
    """The network that a tensor belongs to; empty for what is built from settings and cells."""
    if name.startswith(_MIXTURE) and name != _PRIORS:
        return "classifier"
    network = name.partition(".")[0]
    return network if network in NETWORKS else ""


def _rows_of_same_classes(here: Sequence[str], there: Sequence[str]) -> list[tuple[int, int]]:
    partners = same_classes(here, there)
    return [(row, there.index(partners[n])) for row, n in enumerate(here) if n in partners]


def _fit(
    task: nn.Module,
    name: str,
    here: Tensor,
    there: Tensor | None,
    by_class: bool,
    rows: list[tuple[int, int]],
) -> Taken | str:
    """How a tensor of the source fits one of the new run, or why it does not."""
    if there is None:
        return "the source has none"
    if by_class and here.shape[1:] == there.shape[1:]:
        return Taken(rows=rows) if rows else "the source has other classes"
    if here.shape == there.shape:
        return Taken()
    if (channels := _image_channels(task, name, here, there)) is not None:
        return Taken(image_channels=channels)
    return f"shape {tuple(there.shape)} there, {tuple(here.shape)} here"


def _image_channels(task: nn.Module, name: str, here: Tensor, there: Tensor) -> int | None:
    """Channels of the image in a classifier's first convolution that differs by the mask alone."""
    module = task.get_submodule(name.rpartition(".")[0])
    # Standardised kernels are normalised over all channels, which one of zeros would change.
    if not isinstance(module, nn.Conv2d) or isinstance(module, STANDARDISED) or there.ndim != 4:
        return None
    images = int(getattr(task.get_submodule(name.partition(".")[0]), "image_channels", 1))
    differ_by_mask = {here.shape[1], there.shape[1]} == {images, images + 1}
    same_otherwise = here[:, 0].shape == there[:, 0].shape
    return images if name.startswith("classifier.") and differ_by_mask and same_otherwise else None


def _leave_other_architectures(
    taken: dict[str, Taken], new: dict[str, str], by_class: frozenset[str]
) -> None:
    """Take nothing of a network of which few tensors agree, as names of layers are often alike."""
    for network in NETWORKS:
        body = [n for n in (*taken, *new) if n.startswith(f"{network}.") and n not in by_class]
        if 2 * sum(name in taken for name in body) < len(body):
            for name in [name for name in taken if _network(name) == network]:
                del taken[name]
                new[name] = f"the source has another {network}"


def _unlike(source: Mapping[str, Any], config: TrainConfig) -> Iterator[str]:
    there = source.get("normalisation")
    if isinstance(there, Mapping):
        for key, here in config.normalisation.model_dump(mode="json", by_alias=True).items():
            if there.get(key) != here:
                yield (
                    f"normalisation.{key} is {here}, in the run of init_from it was"
                    f" {there.get(key)}"
                )
