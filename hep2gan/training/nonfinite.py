"""A loss that is NaN or infinite: stop with the cells of its batch."""

import json
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from hep2gan.io import atomic_write
from hep2gan.training import distributed

NONFINITE_FILE = "nonfinite.json"


class _Seen(NamedTuple):
    """A batch whose losses nobody has looked at yet."""

    batch: int
    rows: Tensor
    terms: dict[str, Tensor]

    @property
    def totals(self) -> list[Tensor]:
        return [value for name, value in self.terms.items() if name.endswith("/total")]


class StopAtNonfinite(Callback):
    """Stop, on all ranks alike, when a total is not finite, and write down whose cells they were.

    Looks at the losses every `every` batches, after an epoch's last and before anything is saved,
    so that the device is not waited for in between and no checkpoint holds what came of it. Writes
    nonfinite.json into `folder`: epoch, batch, the ids of its cells and of those of the batch
    before it (whose gradients may be the cause), and the terms by rank. ids: (N,) of the store.
    """

    def __init__(self, folder: Path, ids: npt.NDArray[np.str_], every: int) -> None:
        self._folder, self._ids, self._every = folder, ids, every
        self._before: _Seen | None = None
        self._unseen: list[_Seen] = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keep the batch's terms, and look at them when it is time."""
        done = batch_idx + 1
        self._unseen.append(_Seen(done - 1, batch.rows, dict(outputs)))
        if done % self._every == 0 or done == trainer.num_training_batches:
            self._look(trainer.current_epoch)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Nothing is saved that has not been looked at."""
        self._look(trainer.current_epoch)

    def _look(self, epoch: int) -> None:
        first = _first_of_any_rank(_first_bad(self._unseen))
        if first is not None:
            self._stop(epoch, first)
        if self._unseen:
            self._before = self._unseen[-1]
        self._unseen = []

    def _stop(self, epoch: int, batch: int) -> None:
        kept = [self._before] if self._before else []
        by_number = {seen.batch: seen for seen in (*kept, *self._unseen)}
        found = by_number[batch]
        terms = {name: float(value) for name, value in found.terms.items()}
        self._write(epoch, found, by_number.get(batch - 1), terms)
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        raise Hep2ganError(
            f"the loss is not finite in batch {batch} of epoch {epoch}"
            f" ({', '.join(bad) or 'on another rank'})",
            f"a loss must stay finite; {self._folder / NONFINITE_FILE} names the batch's cells",
            "lower the learning rate (optimizer.*.lr), look at these cells, or set"
            " trainer.nonfinite=skip; the same command goes on from the last checkpoint",
        )

    def _write(
        self, epoch: int, found: _Seen, before: _Seen | None, terms: dict[str, float]
    ) -> None:
        # As text, since JSON knows neither NaN nor infinity.
        told = {name: str(value) for name, value in terms.items()}
        parts = distributed.gather((self._named(found), self._named(before), told))
        if distributed.rank() == 0:
            record = {
                "epoch": epoch,
                "batch": found.batch,
                "ids": [name for ids, _, _ in parts for name in ids],
                "before": [name for _, ids, _ in parts for name in ids],
                "terms": [told for _, _, told in parts],
            }
            atomic_write(self._folder / NONFINITE_FILE, json.dumps(record, indent=1) + "\n")
        distributed.barrier()

    def _named(self, seen: _Seen | None) -> list[str]:
        return [] if seen is None else [str(name) for name in self._ids[seen.rows.cpu().numpy()]]


def _first_bad(batches: Sequence[_Seen]) -> int | None:
    """Number of the first batch with a total that is not finite; one wait for the device."""
    totals = [torch.stack(seen.totals).sum() for seen in batches if seen.totals]
    if not totals:
        return None
    numbers = [seen.batch for seen in batches if seen.totals]
    finite = torch.stack(totals).isfinite().tolist()
    return next((n for n, good in zip(numbers, finite, strict=True) if not good), None)


def _first_of_any_rank(batch: int | None) -> int | None:
    if distributed.world_size() == 1:
        return batch
    nowhere = torch.iinfo(torch.int64).max
    number = torch.tensor(nowhere if batch is None else batch)
    dist.all_reduce(number, dist.ReduceOp.MIN, distributed.host_group())
    return None if int(number) == nowhere else int(number)


log = logging.getLogger(__name__)
"""At a loss that is not finite: see `nonfinite` and this module."""


class SkipNonfinite:
    """Leave out updates whose total or gradients are not finite, on all ranks alike.

    The device is waited for at every update. Weights and optimizer state of that network stay as
    they are; the running statistics of all networks forget the batch.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, int] = {}
        self.batches = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._in_batch = False

    def begin(self, networks: Iterable[nn.Module]) -> None:
        """Remember the buffers before a batch."""
        self._kept = [(b, b.clone()) for network in networks for b in network.buffers()]
        self._in_batch = False

    def allows(self, name: str, loss: Tensor, optimizer: Optimizer, *, scaled: bool) -> bool:
        """Whether the update may be made; call after the backward pass.

        scaled: gradients are scaled for float16, whose scaler looks after their overflows itself.
        """
        bad = ~loss.detach().isfinite().all()
        if not scaled:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            if gradients := [p.grad for p in parameters if p.grad is not None]:
                # The largest magnitude: a sum of squares would overflow first.
                bad = bad | ~nn.utils.get_total_norm(gradients, math.inf).isfinite()
        if not _on_any_rank(bool(bad)):
            return True
        optimizer.zero_grad()
        self.skipped[name] = self.skipped.get(name, 0) + 1
        self._in_batch = True
        return False

    def end(self) -> bool:
        """Whether the batch counts; puts the buffers back where it does not."""
        if self._in_batch:
            self.batches += 1
            for buffer, before in self._kept:
                buffer.copy_(before)
        return not self._in_batch

    def flush(self, epoch: int, networks: Iterable[str]) -> dict[str, float]:
        """alarm/skipped/<network>: skipped updates of the epoch; starts anew."""
        found, self.skipped, self.batches = self.skipped, {}, 0
        for name, number in found.items():
            log.warning(
                "Epoch %d: skipped %s of the %s, not finite.",
                epoch,
                pluralize(number, "update"),
                name,
            )
        return {f"alarm/skipped/{name}": float(found.get(name, 0)) for name in networks}

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a checkpoint within an epoch."""
        return {"skipped": dict(self.skipped), "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self.batches = dict(state["skipped"]), state["batches"]


def _on_any_rank(bad: bool) -> bool:
    if distributed.world_size() == 1:
        return bad
    flag = torch.tensor(int(bad))
    dist.all_reduce(flag, dist.ReduceOp.MAX, distributed.host_group())
    return bool(flag)
