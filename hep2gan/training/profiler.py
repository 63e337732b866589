"""trainer.profile: what a training step spends its time on, in the paper's words."""

import logging
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.profilers import Profiler
from torch.profiler import record_function

from hep2gan.config import TrainerSettings
from hep2gan.errors import pluralize
from hep2gan.io import atomic_write, write_json
from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed

if TYPE_CHECKING:  # It imports `record` from here.
    from hep2gan.training.module import SegmentationGuidedClassification

log = logging.getLogger(__name__)

STEPS = 50
"""Profiled steps of each stage where trainer.profile is true."""
WARM_UP = 5
"""Steps before those: libraries choose kernels, torch.compile compiles, caches fill."""

_FETCH = "train_dataloader_next"
_REST = "around the networks/the rest"
# What Lightning announces within a step, by the name of its hook.
_HOOKS = {
    _FETCH: "waiting for data/cells read",
    "batch_to_device": "waiting for data/to the device, normalised, augmented",
    "on_train_batch_start": "around the networks/callbacks",
    "on_train_batch_end": "around the networks/callbacks",
}


# ---------------------------------------------------------------------- clock


def mark(device: torch.device) -> Any:
    """Mark the present moment; on a GPU as an event in its queue, which the host runs ahead of.

    Args:
        device: The device of the training.

    Returns:
        Seconds of a clock, or a CUDA event.
    """
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def seconds_between(before: Any, after: Any) -> float:
    """Compute the time between two marks, once the device has passed both (see `wait`).

    Args:
        before: The earlier mark.
        after: The later mark.

    Returns:
        Seconds.
    """
    if isinstance(before, float):
        return float(after - before)
    return float(before.elapsed_time(after)) / 1000


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished all work in its queue.

    Args:
        device: The device; nothing is waited for on the CPU.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---------------------------------------------------------------------- recording


class StepTimeline:
    """The parts of one step: each time span has the label of the part that ends it.

    Args:
        device: The device of the training.
    """

    current: "StepTimeline | None" = None
    """The step that is being recorded, if any."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = mark(device)
        self._ends: list[tuple[str, Any]] = []
        self._within_part = False

    def end_span(self, label: str) -> None:
        """Assign all time since the last call to a part.

        Args:
            label: The part, "group/part".
        """
        self._ends.append((label, mark(self._device)))

    @contextmanager
    def part(self, label: str) -> Iterator[None]:
        """Assign the time of the block to a part; a part within another belongs to the outer one.

        Args:
            label: The part, "group/part".
        """
        if self._within_part:
            yield
            return
        self.end_span(_REST)
        self._within_part = True
        try:
            yield
        finally:
            self._within_part = False
            self.end_span(label)

    def seconds(self) -> dict[str, float]:
        """Seconds by label, once the device has done the step."""
        marks = [self._start, *(end for _, end in self._ends)]
        total = dict.fromkeys((label for label, _ in self._ends), 0.0)
        for (label, _), (before, end) in zip(self._ends, pairwise(marks), strict=True):
            total[label] += seconds_between(before, end)
        return total


_NO_PROFILER = nullcontext()


def record(label: str) -> AbstractContextManager[Any]:
    """Label a block of a step, for `StepProfiler` and for torch.profiler.

    Costs well below a microsecond where neither records.

    Args:
        label: The part of the step, "group/part".

    Returns:
        A context manager for the block.
    """
    if StepTimeline.current is not None:
        return StepTimeline.current.part(label)
    if torch.autograd.profiler._is_profiler_enabled:
        return record_function(label)
    return _NO_PROFILER


class StepProfiler(Profiler):
    """Profile the first steps of each stage of a training; an argument of the Trainer.

    A step lasts from the moment its cells are requested to where those of the next are. Lightning
    announces what it does around the module's step, `record` labels what happens within. On a GPU
    the times are those between CUDA events: nothing waits, what the host does ahead of the device
    costs nothing, and idle time of the device counts as the part in which it waits. torch.profiler
    would miss the kernels of a backward pass, which another thread launches, and slows the host. On
    several ranks a backward includes the part of the reduction of its gradients that does not
    overlap with it. Schedules, validation and checkpoints come once an epoch and are part of no
    step.

    Args:
        module: The module that is trained.
        run: Folder of profile.json and profile.md, which are written as soon as a stage has its
            steps.
        steps: Number of steps that count, of each stage.
        cells: Cells of a batch on this rank.
    """

    def __init__(
        self, module: "SegmentationGuidedClassification", run: RunFolder, *, steps: int, cells: int
    ) -> None:
        super().__init__()
        self._module, self._run, self._steps, self._cells = module, run, steps, cells
        self._device = torch.device("cpu")
        self._stages: dict[tuple[str, ...], list[StepTimeline]] = {}
        self._recorded: list[StepTimeline] = []
        self._step_over = False

    def start(self, action_name: str) -> None:
        """Called when Lightning begins something."""
        hook = action_name.rpartition(".")[2]
        if self._step_over or hook in (_FETCH, "on_exception"):
            self._end_step()
        if hook == _FETCH:
            self._begin_step()
        if StepTimeline.current is not None and hook in _HOOKS:
            StepTimeline.current.end_span(_REST)

    def stop(self, action_name: str) -> None:
        """Called when Lightning has done something."""
        owner, _, hook = action_name.rpartition(".")
        if StepTimeline.current is not None and hook in _HOOKS:
            StepTimeline.current.end_span(_HOOKS[hook])
            # The module's own hook comes behind those of all callbacks.
            self._step_over = hook == "on_train_batch_end" and owner.startswith("[LightningModule]")

    def _begin_step(self) -> None:
        self._recorded = self._stages.setdefault(tuple(self._module.trained), [])
        if len(self._recorded) < WARM_UP + self._steps:
            # Kept, since the module goes back to the CPU after its training.
            self._device = self._module.device
            StepTimeline.current = StepTimeline(self._device)

    def _end_step(self) -> None:
        step, over = StepTimeline.current, self._step_over
        StepTimeline.current, self._step_over = None, False
        if step is not None and over:
            step.end_span(_REST)
            self._recorded.append(step)
            if len(self._recorded) == WARM_UP + self._steps:
                self._write()

    def finish(self) -> None:
        """End the recording, write what there is of a stage that was shorter, print everything."""
        self._end_step()
        if tables := self._write():
            log.info("\n%s\n", tables)
            log.info("The profile is in %s.", self._run.path / "profile.json")
        else:
            log.info("No step was trained in this start: there is nothing to profile.")

    def _write(self) -> str:
        """Write both files if there are steps; returns the tables."""
        wait(self._device)
        profiles = [
            # Of a training that is shorter than its warm-up, the last step.
            StepProfile(
                trained=stage,
                steps=[step.seconds() for step in steps[WARM_UP:] or steps[-1:]],
                cells=self._cells,
                device=_device_name(self._device),
                left_out=min(WARM_UP, len(steps) - 1),
            )
            for stage, steps in self._stages.items()
            if steps
        ]
        tables = "\n\n".join(profile.table for profile in profiles)
        if profiles:
            stages = [profile.as_dict() for profile in profiles]
            write_json(self._run.path / "profile.json", {"stages": stages})
            atomic_write(self._run.path / "profile.md", tables + "\n")
        return tables


def build_profiler(
    settings: TrainerSettings, run: RunFolder, module: "SegmentationGuidedClassification"
) -> StepProfiler | None:
    """Build the profiler that trainer.profile asks for.

    Args:
        settings: The group `trainer` of the configuration.
        run: The run's folder.
        module: The module that is trained.

    Returns:
        The profiler; None where none is wanted, and on all ranks but the first.
    """
    steps = settings.profile
    if not steps or distributed.rank() != 0:
        return None
    return StepProfiler(
        module,
        run,
        steps=STEPS if steps is True else steps,
        cells=settings.batch_size // settings.world_size,
    )


def _device_name(device: torch.device) -> str:
    cpu = f"the CPU ({pluralize(torch.get_num_threads(), 'thread')})"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    ranks = distributed.world_size()
    return f"{name}, rank 0 of {ranks}" if ranks > 1 else name


# ---------------------------------------------------------------------- summary


@dataclass(frozen=True)
class StepProfile:
    """Steps that train the same networks: seconds by label "group/part", which add up to each step.

    Attributes:
        trained: Names of the networks.
        steps: Seconds by label of each step, one step or more.
        cells: Cells of a step, on this device.
        device: Name of the device.
        left_out: Steps before these that do not count.
    """

    trained: Sequence[str]
    steps: Sequence[Mapping[str, float]]
    cells: int
    device: str
    left_out: int = 0

    @property
    def groups(self) -> dict[str, list[str]]:
        """Labels by group, in the order of a step; groups follow each other as they end in it."""
        labels = list(dict.fromkeys(label for step in self.steps for label in step))
        ends = {label.partition("/")[0]: n for n, label in enumerate(labels)}
        return {
            group: [label for label in labels if label.startswith(f"{group}/")]
            for group in sorted(ends, key=lambda group: ends[group])
        }

    def seconds(self, labels: Sequence[str] | None = None) -> dict[str, float]:
        """Compute statistics of the seconds of some parts together.

        A step without a part took no time for it.

        Args:
            labels: The parts; None for a whole step.

        Returns:
            Mean, median and quartiles ("low", "high").
        """
        times = [
            sum(step.values() if labels is None else (step.get(label, 0.0) for label in labels))
            for step in self.steps
        ]
        low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
        return {"mean": statistics.fmean(times), "median": median, "low": low, "high": high}

    def share(self, labels: Sequence[str] | None = None) -> float:
        """Compute the share of some parts in the time of all steps; all parts add up to 1.

        Args:
            labels: The parts; None for a whole step.

        Returns:
            The share, 0 to 1.
        """
        return self.seconds(labels)["mean"] / self.seconds()["mean"]

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON; times are seconds."""
        return {
            "trained": list(self.trained),
            "steps": len(self.steps),
            "steps_left_out": self.left_out,
            "cells": self.cells,
            "device": self.device,
            "seconds": self.seconds(),
            "parts": [
                {"group": group, "part": label.partition("/")[2], "share": self.share([label])}
                | {"seconds": self.seconds([label])}
                for group, labels in self.groups.items()
                for label in labels
            ],
        }

    @property
    def table(self) -> str:
        """The same as Markdown: what is profiled in a line, then a row a group and a row a part."""
        rows = [("part of a training step", "share", "mean, ms", "quartiles, ms")]
        for group, labels in self.groups.items():
            rows.append(self._row(f"**{group}**", labels))
            rows += [self._row(f"· {label.partition('/')[2]}", [label]) for label in labels]
        rows.append(self._row("**the whole step**"))
        before = f", {self.left_out} before them left out" if self.left_out else ""
        number = "One step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        return (
            f"{number} of {self.cells} cells on {self.device}{before}:"
            f" {self.cells / self.seconds()['mean']:.3g} cells a second."
            f" Trained: {', '.join(self.trained)}.\n\n{_markdown_table(rows)}"
        )

    def _row(self, name: str, labels: Sequence[str] | None = None) -> tuple[str, str, str, str]:
        seconds = self.seconds(labels)
        mean, low, high = (_milliseconds(seconds[key]) for key in ("mean", "low", "high"))
        return name, f"{100 * self.share(labels):.1f} %", mean, f"{low}–{high}"


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _markdown_table(rows: Sequence[tuple[str, ...]]) -> str:
    """A table whose columns also stand below each other; numbers at their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(
        f"| {first.ljust(widths[0])} | "
        + " | ".join(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        + " |"
        for first, *rest in (rows[0], rule, *rows[1:])
    )
