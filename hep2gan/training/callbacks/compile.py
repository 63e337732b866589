"""torch.compile of each network, while it trains."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from hep2gan.config import CompileMode, uses_cuda_graphs
from hep2gan.training.module import SegmentationGuidedClassification


class CompileNetworks(Callback):
    """Compile the networks in place, which leaves the names in checkpoints as they are.

    Only training is compiled: its batches have one shape. Validation and test see the networks as
    they are written, so that a test by `hep2gan-evaluate` computes the same.

    Under CUDA graphs a network's outputs lie in memory that its next replay overwrites. A batch is
    announced as one step, in which nothing is overwritten: G's mask stays while D and the
    classifier run, and D's two batches are two nodes of one tree of graphs. What outlives the
    batch (terms of the losses, weights, statistics, averages) is no output of a network; gradients
    are, and each update forgets the old ones before its backward.

    Args:
        mode: true, or one of torch's modes with CUDA graphs.
        backend: of torch.compile.
    """

    def __init__(self, mode: CompileMode, backend: str = "inductor") -> None:
        self._mode, self._backend = mode, backend
        self._compiled: dict[nn.Module, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare the networks; torch compiles each when it first runs."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        for network in pl_module.networks.values():
            network.compile(
                mode=self._mode if isinstance(self._mode, str) else None,
                backend=self._backend,
                dynamic=False,
                # Else networks share the number of graphs that torch keeps, eight, since all start
                # in the same function of nn.Module.
                isolate_recompiles=True,
            )
            self._compiled[network] = network._compiled_call_impl

    def on_train_batch_start(self, *_: Any) -> None:
        """Announce a step to CUDA graphs."""
        if uses_cuda_graphs(self._mode):
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate without compilation."""
        self._use(compiled=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Continue training the compiled networks."""
        self._use(compiled=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the networks without compilation."""
        self._use(compiled=False)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Do so also where training ends early."""
        self._use(compiled=False)

    def _use(self, *, compiled: bool) -> None:
        for network, call in self._compiled.items():
            network._compiled_call_impl = call if compiled else None
