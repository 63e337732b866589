"""trainer.nonfinite: what happens at a loss that is NaN or infinite: stop, or skip the update."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from hep2gan.data.batch import Batch
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import write_json
from hep2gan.runs.checkpoints import SkippedUpdates
from hep2gan.training import distributed
from hep2gan.training.module import SegmentationGuidedClassification, log_row, raise_alarm

log = logging.getLogger(__name__)

NONFINITE_FILE = "nonfinite.json"
NONFINITE_ALARM = "nonfinite_loss"
_NO_BATCH = torch.iinfo(torch.int64).max


class _BatchTerms(NamedTuple):
    """The losses of a batch that have not been checked yet."""

    batch: int
    rows: Tensor
    terms: dict[str, Tensor]


class StopAtNonfinite(Callback):
    """Stop, on all ranks alike, when a total loss is not finite, and write down the batch's cells.

    Checks the losses every `every` batches, after an epoch's last and before anything is saved, so
    that the device is not waited for in between and no checkpoint holds the consequences. Writes
    nonfinite.json: epoch, batch, the ids of its cells and of those of the batch before it (whose
    gradients may be the cause), and the terms by rank.

    Args:
        folder: Folder of nonfinite.json.
        ids: Ids of the store's cells (N,).
        every: Batches between two checks.
    """

    def __init__(self, folder: Path, ids: npt.NDArray[np.str_], every: int) -> None:
        self._folder, self._ids, self._every = folder, ids, every
        self._batches: list[_BatchTerms] = []
        """The last that was checked, and those since."""

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keep the batch's terms, and check them when it is time."""
        done = batch_idx + 1
        self._batches.append(_BatchTerms(batch_idx, batch.rows, dict(outputs)))
        if done % self._every == 0 or done == trainer.num_training_batches:
            self._check(trainer)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Nothing is saved that has not been checked."""
        self._check(trainer)

    def _check(self, trainer: L.Trainer) -> None:
        first = _reduce_over_ranks(_first_nonfinite(self._batches), dist.ReduceOp.MIN)
        if first != _NO_BATCH:
            self._stop(trainer, first)
        self._batches = self._batches[-1:]

    def _stop(self, trainer: L.Trainer, number: int) -> None:
        epoch = trainer.current_epoch
        # Where a batch of the epoch before has the number of a later one, the later counts.
        by_number = {batch.batch: batch for batch in self._batches}
        terms = {name: float(value) for name, value in by_number[number].terms.items()}
        self._write(epoch, number, by_number, terms)
        nonfinite = [name for name, value in terms.items() if not math.isfinite(value)]
        terms_at_fault = ", ".join(nonfinite) or "on another rank"
        raise_alarm(
            trainer,
            NONFINITE_ALARM,
            f"the loss is not finite in batch {number} ({terms_at_fault}); the training stopped",
        )
        raise Hep2ganError(
            f"the loss is not finite in batch {number} of epoch {epoch} ({terms_at_fault})",
            f"a loss must stay finite; {self._folder / NONFINITE_FILE} names the batch's cells",
            "lower the learning rate (optimizer.*.lr), inspect these cells, or set"
            " trainer.nonfinite=skip; the same command resumes from the last checkpoint",
        )

    def _write(
        self, epoch: int, number: int, batches: dict[int, _BatchTerms], terms: dict[str, float]
    ) -> None:
        # As text, since JSON has neither NaN nor infinity.
        texts = {name: str(value) for name, value in terms.items()}
        ids, ids_before = (self._ids_of(batches.get(n)) for n in (number, number - 1))
        ranks = distributed.gather((ids, ids_before, texts))
        if distributed.rank() == 0:
            record = {
                "epoch": epoch,
                "batch": number,
                "ids": [cell for ids, _, _ in ranks for cell in ids],
                "before": [cell for _, ids, _ in ranks for cell in ids],
                "terms": [texts for _, _, texts in ranks],
            }
            write_json(self._folder / NONFINITE_FILE, record)
        distributed.barrier()

    def _ids_of(self, batch: _BatchTerms | None) -> list[str]:
        return [] if batch is None else [str(cell) for cell in self._ids[batch.rows.cpu().numpy()]]


def _first_nonfinite(batches: Sequence[_BatchTerms]) -> int:
    """Number of the first batch with a total that is not finite; one wait for the device."""
    totals = {
        batch.batch: torch.stack(of_batch).sum()
        for batch in batches
        if (of_batch := [value for name, value in batch.terms.items() if name.endswith("/total")])
    }
    if not totals:
        return _NO_BATCH
    finite = torch.stack([*totals.values()]).isfinite().tolist()
    return min((n for n, good in zip(totals, finite, strict=True) if not good), default=_NO_BATCH)


class SkipNonfinite(Callback):
    """Skip updates whose loss or gradients are not finite, on all ranks alike.

    The device is waited for at every update. Weights and optimizer state of that network stay as
    they are; the running statistics of all networks forget the batch. Must come before callbacks
    that read the networks after a batch.
    """

    def __init__(self) -> None:
        self.batch_is_finite = True
        self._skipped: dict[str, int] = {}
        self._finite_batches = 0
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._networks: dict[str, nn.Module] = {}
        self._scaled = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the module ask before each update."""
        assert isinstance(pl_module, SegmentationGuidedClassification)
        pl_module.should_step, self._networks = self.should_step, pl_module.networks
        self._scaled = getattr(trainer.precision_plugin, "scaler", None) is not None

    def on_train_batch_start(self, *_: Any) -> None:
        """Remember the buffers before the batch."""
        buffers = (b for network in self._networks.values() for b in network.buffers())
        self._buffers = [(buffer, buffer.clone()) for buffer in buffers]
        self.batch_is_finite = True

    def should_step(self, name: str, loss: Tensor, optimizer: Optimizer) -> bool:
        """Tell whether an update may be made; to be called after the backward pass.

        Args:
            name: Name of the network.
            loss: Its total loss, a scalar.
            optimizer: Its optimizer; the gradients are cleared if the update is skipped.

        Returns:
            Whether loss and gradients are finite, on all ranks.
        """
        nonfinite = ~loss.detach().isfinite().all()
        # The scaler of float16 handles overflows of the gradients itself.
        if not self._scaled:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            if gradients := [p.grad for p in parameters if p.grad is not None]:
                # The largest magnitude: a sum of squares would overflow first.
                norm = nn.utils.get_total_norm(gradients, math.inf)
                nonfinite = nonfinite | ~norm.isfinite()
        if not _reduce_over_ranks(int(nonfinite), dist.ReduceOp.MAX):
            return True
        optimizer.zero_grad()
        self._skipped[name] = self._skipped.get(name, 0) + 1
        self.batch_is_finite = False
        return False

    def on_train_batch_end(self, *_: Any) -> None:
        """Put the buffers back if an update was skipped."""
        if self.batch_is_finite:
            self._finite_batches += 1
        else:
            for buffer, before in self._buffers:
                buffer.copy_(before)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log health/skipped/<network>; raise Hep2ganError if no batch of the epoch was finite."""
        epoch, finite_batches = trainer.current_epoch, self._finite_batches
        log_row(
            trainer,
            {
                f"health/skipped/{name}": float(self._skipped.get(name, 0))
                for name in self._networks
            },
        )
        for name, number in self._skipped.items():
            text = f"skipped {pluralize(number, 'update')} of the {name}, not finite"
            log.warning("Epoch %d: %s.", epoch, text)
            raise_alarm(trainer, NONFINITE_ALARM, text)
        self._skipped, self._finite_batches = {}, 0
        if not finite_batches:
            raise Hep2ganError(
                f"no update of epoch {epoch} was finite",
                "training learns nothing from skipped updates",
                "lower the learning rate (optimizer.*.lr) or inspect the data",
            )

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a checkpoint within an epoch."""
        return dict(
            SkippedUpdates(skipped=dict(self._skipped), finite_batches=self._finite_batches)
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        state = cast(SkippedUpdates, state_dict)
        self._skipped, self._finite_batches = dict(state["skipped"]), state["finite_batches"]


def _reduce_over_ranks(number: int, operation: dist.ReduceOp.RedOpType) -> int:
    if distributed.world_size() == 1:
        return number
    reduced = torch.tensor(number)
    dist.all_reduce(reduced, operation, distributed.host_group)
    return int(reduced)
