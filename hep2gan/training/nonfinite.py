"""A loss that is NaN or infinite: stop with the cells of its batch."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from hep2gan.data.cells import Batch
from hep2gan.errors import Hep2ganError
from hep2gan.training import distributed
from hep2gan.whole import write_whole

FILE = "nonfinite.json"


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
            f"a loss must stay finite; {self._folder / FILE} names the batch's cells",
            "lower the learning rate (optimizer.*.lr), look at these cells, or set"
            " trainer.nonfinite=skip; the same command goes on from the last checkpoint",
        )

    def _write(
        self, epoch: int, found: _Seen, before: _Seen | None, terms: dict[str, float]
    ) -> None:
        # As text, since JSON knows neither NaN nor infinity.
        told = {name: str(value) for name, value in terms.items()}
        parts = distributed.gathered((self._named(found), self._named(before), told))
        if distributed.rank() == 0:
            record = {
                "epoch": epoch,
                "batch": found.batch,
                "ids": [name for ids, _, _ in parts for name in ids],
                "before": [name for _, ids, _ in parts for name in ids],
                "terms": [told for _, _, told in parts],
            }
            write_whole(self._folder / FILE, json.dumps(record, indent=1) + "\n")
        distributed.wait_for_all()

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
    if distributed.world() == 1:
        return batch
    nowhere = torch.iinfo(torch.int64).max
    number = torch.tensor(nowhere if batch is None else batch)
    dist.all_reduce(number, dist.ReduceOp.MIN, distributed.host_group())
    return None if int(number) == nowhere else int(number)
