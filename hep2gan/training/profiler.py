"""trainer.profile: what a training step spends its time on, in the paper's words."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler
from torch import Tensor

from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.step_marks import StepMarks
from hep2gan.training.step_profile import StepProfile
from hep2gan.whole import write_whole

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
        return [_Reduction(self._marks)] if distributed.world() > 1 else []

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
            write_whole(self._run.path / "profile.json", json.dumps(content, indent=1) + "\n")
            tables = "\n\n".join(profile.table for profile in found)
            write_whole(self._run.path / "profile.md", tables + "\n")
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
    return f"{name}, rank 0 of {distributed.world()}" if distributed.world() > 1 else name
