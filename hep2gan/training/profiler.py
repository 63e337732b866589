"""trainer.profile: what a training step spends its time on, in the paper's words."""

import json
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hep2gan.io import atomic_write
from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification, unheard


def mark(device: torch.device) -> Any:
    """Now, on a GPU as an event among its work: the host may be far ahead of it."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def seconds_between(before: Any, after: Any) -> float:
    """Seconds between two marks, once the device has passed both (see `wait`)."""
    if isinstance(before, float):
        return float(after - before)
    return float(before.elapsed_time(after)) / 1000


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Part(NamedTuple):
    """A part of a step: the network whose step it belongs to, or what else; its name there."""

    group: str
    name: str


class Spread(NamedTuple):
    """The mean of some figures, their median and quartiles."""

    mean: float
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """From one figure or more."""
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else [*values] * 3
        )
        return cls(statistics.fmean(values), median, low, high)


@dataclass(frozen=True)
class StepProfile:
    """Steps that train the same networks: the seconds of each part, which leave nothing out.

    trained: the networks. cells: of a step, on this device. device: in words. left_out: steps that
    came before and do not count. Raises ValueError without any step.
    """

    trained: Sequence[str]
    steps: Sequence[Mapping[Part, float]]
    cells: int
    device: str
    left_out: int = 0

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a profile needs a step")

    @property
    def parts(self) -> list[Part]:
        """Every part in the order of a step; groups follow each other as they end in it."""
        found = list(dict.fromkeys(part for step in self.steps for part in step))
        ends = {part.group: place for place, part in enumerate(found)}
        return sorted(found, key=lambda part: ends[part.group])

    @property
    def step(self) -> Spread:
        """Seconds of a whole step."""
        return Spread.of([sum(step.values()) for step in self.steps])

    def spread(self, *parts: Part) -> Spread:
        """Seconds of some parts together; a step without them counts as 0."""
        return Spread.of([sum(step.get(part, 0.0) for part in parts) for step in self.steps])

    def share(self, *parts: Part) -> float:
        """Of the time of all steps; the shares of all parts add up to 1."""
        return self.spread(*parts).mean / self.step.mean

    def as_dict(self) -> dict[str, Any]:
        """Everything for JSON; times are seconds."""
        parts = [
            {"group": part.group, "part": part.name, "share": self.share(part)}
            | {"seconds": self.spread(part)._asdict()}
            for part in self.parts
        ]
        return {
            "trained": list(self.trained),
            "steps": len(self.steps),
            "steps_left_out": self.left_out,
            "cells": self.cells,
            "device": self.device,
            "seconds": self.step._asdict(),
            "parts": parts,
        }

    @property
    def table(self) -> str:
        """The same as Markdown: what is profiled in a line, then a row a group and a row a part."""
        rows = [("part of a training step", "share", "mean, ms", "quartiles, ms")]
        for group in dict.fromkeys(part.group for part in self.parts):
            own = [part for part in self.parts if part.group == group]
            rows.append(self._row(f"**{group}**", *own))
            rows += [self._row(f"· {part.name}", part) for part in own]
        rows.append(self._row("**the whole step**", *self.parts))
        return f"{self._words}\n\n{_aligned(rows)}"

    @property
    def _words(self) -> str:
        before = f", {self.left_out} before them left out" if self.left_out else ""
        number = "One step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        speed = f"{self.cells / self.step.mean:.3g} cells a second"
        trained = ", ".join(self.trained)
        return (
            f"{number} of {self.cells} cells on {self.device}{before}: {speed}. Trained: {trained}."
        )

    def _row(self, name: str, *parts: Part) -> tuple[str, str, str, str]:
        spread = self.spread(*parts)
        quartiles = f"{_milliseconds(spread.low)}–{_milliseconds(spread.high)}"
        return name, f"{100 * self.share(*parts):.1f} %", _milliseconds(spread.mean), quartiles


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns also stand below each other; numbers at their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = " | ".join("-" * (w - bool(n)) + ":" * bool(n) for n, w in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


Stage = tuple[str, ...]
"""The networks that take steps."""


class MarkedStep:
    """One step. A part lasts from the mark before it to its own: nothing is left out."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun = mark(device)
        self._parts: list[tuple[str | None, str, Any]] = []

    def passed(self, group: str, name: str) -> None:
        """A part is done; parts before it that belong to no group yet are of this one."""
        for place in range(len(self._parts) - 1, -1, -1):
            if self._parts[place][0] is not None:
                break
            self._parts[place] = (group, *self._parts[place][1:])
        self._parts.append((group, name, mark(self._device)))

    def passed_within(self, name: str) -> None:
        """A part is done of the group that is told next."""
        self._parts.append((None, name, mark(self._device)))

    @property
    def last(self) -> tuple[str | None, str] | None:
        """Group and name of the part that was done last."""
        return self._parts[-1][:2] if self._parts else None

    def seconds(self) -> dict[Part, float]:
        """The time of each part, once the device has done the step."""
        found: dict[Part, float] = {}
        before = self._begun
        for group, name, after in self._parts:
            part = Part(group or "", name)
            found[part] = found.get(part, 0.0) + seconds_between(before, after)
            before = after
        return found


class StepMarks:
    """Listens to `number` steps of each stage of the training of `task`.

    Where it does not listen, the task calls a function that does nothing, and nothing is hooked.
    finished: called when a stage has its steps. device: of the last step; the task itself goes back
    to the CPU after its training.
    """

    def __init__(
        self,
        task: SegmentationGuidedClassification,
        number: int,
        finished: Callable[[], object],
    ) -> None:
        self._task, self._number, self._finished = task, number, finished
        self._steps: dict[Stage, list[MarkedStep]] = {}
        self._hooks: list[RemovableHandle] = []
        self._stage: Stage = ()
        self.now: MarkedStep | None = None
        self.device = task.device

    def begin(self) -> None:
        """A step begins; `now` is it where its stage has not enough of them yet."""
        self.now = None
        self._stage, self.device = tuple(self._task.trained), self._task.device
        if len(self._steps.setdefault(self._stage, [])) < self._number:
            if self._task.passed is unheard:
                self._listen()
            self.now = MarkedStep(self.device)

    def end(self) -> None:
        """The step is over and counts."""
        if self.now is None:
            return
        steps = self._steps[self._stage]
        steps.append(self.now)
        self.now = None
        if len(steps) == self._number:
            self.close()
            self._finished()

    def close(self) -> None:
        """Listen no longer, until a step of another stage begins."""
        self.now, self._task.passed = None, unheard
        while self._hooks:
            self._hooks.pop().remove()

    def seconds(self) -> dict[Stage, list[dict[Part, float]]]:
        """The parts of the steps of each stage so far. Waits for the device."""
        wait(self.device)
        return {
            stage: [step.seconds() for step in steps]
            for stage, steps in self._steps.items()
            if steps
        }

    def _listen(self) -> None:
        self._task.passed = self._passed
        # Networks may be compiled, and their hooks with them. The loss is not: its hooks tell the
        # classifier's end, and its own two terms.
        loss = self._task.classification_loss
        if loss is None:
            return
        mixture, entropy = loss.gaussian_mixture, self._hook("L_out (eq. 5)")
        likelihood = self._hook("L_cla, likelihood (eqs 6, 7)")
        self._hooks.append(loss.register_forward_pre_hook(self._hook("output and features")))
        if mixture is None:
            self._hooks.append(loss.register_forward_hook(entropy))
        else:
            self._hooks.append(mixture.register_forward_pre_hook(entropy))
            self._hooks.append(loss.register_forward_hook(likelihood))

    def _passed(self, group: str, name: str) -> None:
        if self.now is not None:
            self.now.passed(group, name)

    def _hook(self, name: str) -> Callable[..., None]:
        def passed(module: nn.Module, *_: Any) -> None:
            if self.now is not None:
                self.now.passed_within(name)

        return passed


log = logging.getLogger(__name__)

STEPS = 50
"""Of each stage, where trainer.profile is true; each of the logged batches among them."""

WARM_UP = 5
"""Steps before those: libraries choose kernels, torch.compile compiles, caches fill."""

_FETCH = "train_dataloader_next"
_REST = ("around the networks", "the rest")
_CALLBACKS = ("around the networks", "callbacks")
# What Lightning announces within a step, by the hook's name.
_ANNOUNCED = {
    _FETCH: ("waiting for data", "cells read"),
    "batch_to_device": ("waiting for data", "to the device, normalised, augmented"),
    "on_train_batch_start": _CALLBACKS,
    "training_step": _REST,
    "on_train_batch_end": _CALLBACKS,
}


class StepProfiler(Profiler):
    """Profiles the first steps of each stage of a training; to be given to the Trainer.

    A step lasts from the moment its cells are asked for to where those of the next are. Lightning
    says what it does around the task's step, the task what it does within. On a GPU the times are
    those between CUDA events, so that nothing waits and what the host does ahead of the device
    costs nothing; a device that stands still counts as the part it waits in. Schedules, validation
    and checkpoints come once an epoch and are part of no step.

    number: of steps that count. cells: of a batch on this rank. run: where profile.json and
    profile.md go, as soon as a stage has its steps.
    """

    def __init__(
        self, task: SegmentationGuidedClassification, run: RunFolder, *, number: int, cells: int
    ) -> None:
        super().__init__()
        self._run, self._cells = run, cells
        self._marks = StepMarks(task, WARM_UP + number, self._write)
        self._over = False

    def callbacks(self) -> list[Callback]:
        """What the Trainer needs beside: on several ranks, the end of a backward of its own."""
        return [_Reduction(self._marks)] if distributed.world_size() > 1 else []

    def start(self, action_name: str) -> None:
        """Lightning begins something."""
        hook = action_name.rpartition(".")[2]
        step = self._marks.now
        if step is not None and (self._over or hook in _ANNOUNCED):
            if step.last not in (None, _ANNOUNCED.get(hook)):
                step.passed(*_REST)
            if self._over:
                self._marks.end()
        if hook == _FETCH:
            self._over = False
            self._marks.begin()

    def stop(self, action_name: str) -> None:
        """Lightning has done something."""
        owner, _, hook = action_name.rpartition(".")
        if self._marks.now is not None and hook in _ANNOUNCED and not self._over:
            self._marks.now.passed(*_ANNOUNCED[hook])
            # The task's own hook comes behind those of all callbacks.
            self._over = hook == "on_train_batch_end" and owner.startswith("[LightningModule]")

    def finish(self) -> None:
        """Training is over: keep what there is of a stage that was shorter; print everything."""
        self._marks.close()
        profiles = self._write()
        if not profiles:
            log.info("No step was trained in this start: there is nothing to profile.")
            return
        log.info("\n%s\n", "\n\n".join(profile.table for profile in profiles))
        log.info("The profile is in %s.", self._run.path / "profile.json")

    def _write(self) -> list[StepProfile]:
        found = self._profiles()
        if found:
            content = {"stages": [profile.as_dict() for profile in found]}
            atomic_write(self._run.path / "profile.json", json.dumps(content, indent=1) + "\n")
            tables = "\n\n".join(profile.table for profile in found)
            atomic_write(self._run.path / "profile.md", tables + "\n")
        return found

    def _profiles(self) -> list[StepProfile]:
        return [
            # Of a training that is shorter than its warm-up, the last step.
            StepProfile(
                trained=stage,
                steps=steps[WARM_UP:] or steps[-1:],
                cells=self._cells,
                device=_in_words(self._marks.device),
                left_out=min(WARM_UP, len(steps) - 1),
            )
            for stage, steps in self._marks.seconds().items()
        ]


class _Reduction(Callback):
    """Tells from a backward what is left of its reduction over the ranks when it is done.

    Most of the reduction lies beside the backward. What is seen here is what it does not hide, and
    the wait for slower ranks.
    """

    def __init__(self, marks: StepMarks) -> None:
        self._marks = marks

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        if self._marks.now is not None:
            # The first gradient of all; what is queued here runs before what DDP queues behind the
            # last one, which waits for the reduction.
            loss.register_hook(self._queue)  # type: ignore[no-untyped-call]

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._marks.now is not None:
            self._marks.now.passed_within("gradients over the ranks")

    def _queue(self, gradient: Tensor) -> None:
        engine: Any = torch.autograd.Variable._execution_engine
        engine.queue_callback(self._computed)

    def _computed(self) -> None:
        if self._marks.now is not None:
            self._marks.now.passed_within("backward")


def profiler_of(
    settings: Mapping[str, Any], run: RunFolder, task: SegmentationGuidedClassification
) -> StepProfiler | None:
    """What trainer.profile asks for; None where it is false, and on all ranks but the first."""
    # Runs from before the option have no key for it.
    wanted = settings.get("profile", False)
    if not wanted or distributed.rank() != 0:
        return None
    cells = settings["batch_size"] // (settings["devices"] * settings["nodes"])
    return StepProfiler(task, run, number=STEPS if wanted is True else wanted, cells=cells)


def _in_words(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"the CPU ({threads} thread{'s' * (threads > 1)})"
    return f"{name}, rank 0 of {distributed.world_size()}" if distributed.world_size() > 1 else name
