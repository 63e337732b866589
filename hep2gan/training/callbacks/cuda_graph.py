"""trainer.cuda_graph: the training step is replayed as one CUDA graph, where it can be recorded."""

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback

from hep2gan.errors import bullet_list
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification, update_always
from hep2gan.training.step_graph import (
    WARM_UP,
    WARM_UP_OF_DDP,
    CudaRecorder,
    Recorder,
    StepGraph,
    can_be_recorded,
    plain_values,
)

log = logging.getLogger(__name__)

# What Lightning calls within a step: a replay calls nothing.
_HOOKS_WITHIN_A_STEP = (
    *("on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_before_zero_grad"),
)


class ReplayStep(Callback):
    """Record the training step as one CUDA graph, and replay it; train as usual where it cannot be.

    All that watches a step stands around it as before: the terms of its losses are copied out of
    the graph's memory after each replay, the moving average and the checks read them and the
    weights, a stop is asked for between two steps, and a start within an epoch records anew.

    Attributes:
        graph: The recorded step; None where it cannot be recorded.

    Args:
        recorder: What records; None for the GPU of the training.
    """

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder
        self.graph: StepGraph | None = None
        self._updates_before = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the module's step, where it can be recorded."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        if reasons := list(self._reasons_against(trainer, pl_module)):
            _warn(reasons)
            return
        # Said by Adam in the steps before the recording.
        warnings.filterwarnings("ignore", message=".*capturable=True.*", category=UserWarning)
        optimizers = trainer.optimizers
        self.graph = StepGraph(
            pl_module.update_networks,
            pl_module.step_kind,
            lambda: plain_values(pl_module, optimizers),
            self._recorder or CudaRecorder(trainer.strategy.root_device),
            warm_up=WARM_UP if distributed.world_size() == 1 else WARM_UP_OF_DDP,
            on_waits=_warn_of_waits,
        )
        pl_module.run_step = self.graph

    def _reasons_against(
        self, trainer: L.Trainer, module: SegmentationGuidedClassification
    ) -> Iterator[str]:
        if self._recorder is None and trainer.strategy.root_device.type != "cuda":
            yield f"it runs on the {trainer.strategy.root_device.type.upper()}"
        if distributed.world_size() > 1 and dist.get_backend() != "nccl":
            yield f"{dist.get_backend()} adds up the gradients of the ranks on their hosts"
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            yield "trainer.precision=16-mixed looks at gradients before each update"
        if module.should_step is not update_always:
            yield "trainer.nonfinite=skip looks at losses and gradients before each update"
        if type(module).training_step is not SegmentationGuidedClassification.training_step:
            yield f"{type(module).__name__} has a training_step of its own"
        yield from (
            f"{type(optimizer).__name__} keeps a part of its state on the host"
            for optimizer in trainer.optimizers
            if self._recorder is None and not can_be_recorded(optimizer)
        )
        yield from (
            f"{type(part).__name__}.{hook} is called within the step"
            for part in (module, *trainer.callbacks)  # type: ignore[attr-defined]
            for hook in _HOOKS_WITHIN_A_STEP
            if getattr(type(part), hook) is not getattr(L.LightningModule, hook)
            and getattr(type(part), hook) is not getattr(Callback, hook)
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learning rates, margins and stages change here."""
        if self.graph is not None:
            self.graph.begin_epoch()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note how many updates Lightning has counted."""
        self._updates_before = _updates(trainer).total.completed

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Count the updates of a replay, which Lightning does not see, in its global_step."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        progress = _updates(trainer)
        seen = progress.total.completed - self._updates_before
        for _update in range(len(pl_module.trained) - seen if self.graph else 0):
            progress.increment_ready()
            progress.increment_completed()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the module its own step back, and the memory of the graphs free."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        pl_module.run_step = pl_module.update_networks
        if self.graph is not None:
            self.graph.forget()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Do so also where training ends early."""
        self.on_train_end(trainer, pl_module)


def _updates(trainer: L.Trainer) -> Any:
    return trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress


def _warn(reasons: list[str]) -> None:
    log.warning(
        "The training step is not recorded as a CUDA graph (trainer.cuda_graph=true):\n%s\n"
        "It is trained as usual.",
        bullet_list(reasons),
    )


def _warn_of_waits(places: list[str]) -> None:
    _warn([f"it waits for the GPU in {place}" for place in places])
