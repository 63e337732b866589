"""Marks at the borders of a training step's parts, for a few steps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from hep2gan.training.clocks import mark, seconds_between, wait
from hep2gan.training.module import SegmentationGuidedClassification, unheard
from hep2gan.training.step_profile import Part

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
