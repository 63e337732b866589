"""What is done to the networks while they train: a moving average of weights, torch.compile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hep2gan.config import CompileMode, uses_cuda_graphs
from hep2gan.runs.checkpoints import Checkpoint
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.torch_versions import compile_each

# Evaluation does not use the discriminator.
_AVERAGED = ("generator.", "classifier.", "classification_loss.")


class ExponentialMovingAverage(Callback):
    """Average G, the classifier and the mixture: a ← decay · a + (1 − decay) · w after each batch.

    The average starts at the weights after the first batch and covers about 1 / (1 − decay)
    batches. It includes the statistics of batch normalisation. Validation uses it, and checkpoints
    hold it as their `state_dict`, so that every command that opens a run evaluates it; the weights
    that training continues from are stored beside it (`trained_weights`). On several ranks the
    statistics are averaged over them like the module's own.

    Lightning's EMAWeightAveraging leaves the average on the CPU where training is on a GPU, copies
    the discriminator too, and does not handle ranks whose statistics differ.

    Args:
        decay: Weight of the former average, above 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        self._update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average: dict[str, Tensor] = {}
        self._current: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Collect references to the live tensors, which are on their device now."""
        self._current = averaged_weights(pl_module)
        self._average = {
            name: tensor.to(self._current[name].device) for name, tensor in self._average.items()
        }

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Update the average; checkpoint callbacks come after this one."""
        if self._average:
            self._update(list(self._average.values()), list(self._current.values()), 0)
        else:
            self._average = {name: tensor.clone() for name, tensor in self._current.items()}

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average, whose statistics checkpoint callbacks then average over ranks."""
        self._swap()

    on_validation_end = on_validation_start
    """Swapped back, training continues from the weights."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Average the statistics over ranks, also where there is no validation."""
        if distributed.world_size() > 1:
            self._swap()
            distributed.sync_batch_norm_statistics(pl_module)
            self._swap()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Let the networks be the average within this block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # In place: optimizers, DDP and compiled networks refer to the tensors themselves.
        for name, average in self._average.items():
            weights = self._current[name].clone()
            self._current[name].copy_(average)
            average.copy_(weights)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average into the state_dict, the weights beside it; called on all ranks."""
        content = cast(Checkpoint, checkpoint)
        state = content["state_dict"]
        content["trained_weights"] = {name: state[name] for name in self._average}
        state.update(self._average)
        # Within an epoch each rank has statistics of its own.
        content["average_statistics"] = distributed.gather(
            {
                name: self._average[name].cpu()
                for name in distributed.running_statistics(pl_module)
                if name in self._average
            }
        )

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the average, and give the module the weights; Lightning gave it the average."""
        content = cast(Checkpoint, checkpoint)
        weights, ranks = content["trained_weights"], content["average_statistics"]
        self._average = {name: content["state_dict"][name].clone() for name in weights}
        if len(ranks) == distributed.world_size():
            self._average.update(ranks[distributed.rank()])
        pl_module.load_state_dict(weights, strict=False)


def averaged_weights(module: L.LightningModule) -> dict[str, Tensor]:
    """Collect the live tensors that are averaged.

    Args:
        module: The module that is trained.

    Returns:
        The tensors by their names in the state_dict.
    """
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if name.startswith(_AVERAGED) and tensor.is_floating_point()
    }


class CompileNetworks(Callback):
    """Compile the networks in place, which leaves the names in checkpoints as they are.

    Only training is compiled: its batches have one shape. Validation and test use the networks
    without compilation, so that a test by `hep2gan-evaluate` computes the same.

    Under CUDA graphs a network's outputs lie in memory that its next replay overwrites. A batch is
    announced as one step, in which nothing is overwritten: G's mask stays while D and the
    classifier run, and D's two batches are two nodes of one tree of graphs. What outlives the batch
    (terms of the losses, weights, statistics, averages) is no output of a network; gradients are,
    and each update clears the old ones before its backward.

    Args:
        mode: True, or one of torch's modes with CUDA graphs.
        backend: The backend of torch.compile.
    """

    def __init__(self, mode: CompileMode, backend: str = "inductor") -> None:
        self._mode, self._backend = mode, backend
        self._compiled: dict[nn.Module, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare the networks; torch compiles each when it first runs."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        networks = pl_module.networks.values()
        mode = self._mode if isinstance(self._mode, str) else None
        compile_each(networks, mode=mode, backend=self._backend, dynamic=False)
        self._compiled = {network: network._compiled_call_impl for network in networks}

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

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Use the networks without compilation within this block."""
        self._use(compiled=False)
        try:
            yield
        finally:
            self._use(compiled=True)

    on_train_end = on_validation_start
    """Leave the networks without compilation."""

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Do so also where training ends early."""
        self._use(compiled=False)

    def _use(self, *, compiled: bool) -> None:
        for network, call in self._compiled.items():
            network._compiled_call_impl = call if compiled else None
