"""Batches of cells: which rows come when, and gathering them at once."""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from hep2gan.data.batch import BatchSeed, Request, to_device
from hep2gan.errors import Hep2ganError

Sampling = Literal["all", "balanced"]
RowOrder = npt.NDArray[np.int64]


def check_sampling(sampling: str) -> None:
    """Raise Hep2ganError for a sampling that is not known."""
    if sampling not in get_args(Sampling):
        options = " or ".join(get_args(Sampling))
        raise Hep2ganError(f"sampling is {sampling!r}", f"choose {options}")


def shuffled_order(rows: RowOrder, rng: np.random.Generator) -> RowOrder:
    """Every one of (M,) rows once, in random order."""
    return rng.permutation(rows)


def class_balanced_order(rows: RowOrder, label: RowOrder, rng: np.random.Generator) -> RowOrder:
    """As many rows as were given, (M,), every class equally often, in random order.

    label: (M,) classes of the rows. The numbers of cells differ by one at most, where M does not
    divide by the classes. A class starts over in a new order when all its cells were used, so that
    none comes twice before all others of its class came once; of large classes some do not come.
    """
    classes = np.unique(label)
    order = rng.permutation(np.resize(rng.permutation(classes), len(rows)))
    chosen = np.empty_like(rows)
    for k in classes:
        places = order == k
        chosen[places] = _in_turns(rows[label == k], int(places.sum()), rng)
    return chosen


def _in_turns(rows: RowOrder, count: int, rng: np.random.Generator) -> RowOrder:
    """`count` of the rows, each once before any comes again."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]


class EpochBatchSampler(Sampler[Request]):
    """Requests of one epoch for one rank.

    rows: (M,) rows of the store. batch_size: cells of a *global* batch in training, all ranks
    together. Rank r of w takes cells r, r + w, … of each global batch, so the ranks' k-th batches
    together are the k-th batch of one rank. Training shuffles and drops the last incomplete global
    batch; its order is a pure function of (seed, epoch), so nothing else need be kept to resume.
    start: (epoch, batch) to begin that epoch with, when it was left in its middle. label: (M,)
    classes of the rows, to train on all equally often (see `class_balanced_order`); None trains on
    every row once. device: where the rows of an epoch are sent at once, for cells that lie there; a
    loader's own processes cannot take them from there.

    Evaluation keeps the order and serves every row exactly once. Rank r takes batches r, r + w, …
    whole, so that a cell is always computed in the same company: results are the same to the last
    bit for any number of ranks, which may get unequal numbers of batches.

    Raises Hep2ganError when the batch size does not divide by the ranks in training, or when no
    whole batch can be made.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.int64],
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        training: bool,
        start: tuple[int, int] = (0, 0),
        label: npt.NDArray[np.int64] | None = None,
        device: torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise Hep2ganError(f"Batch size is {batch_size}", "it must be 1 or more", "choose 16")
        if training and batch_size % world:
            raise Hep2ganError(
                f"Batch size {batch_size} is not divisible by {world} devices; choose a multiple"
                f" of {world}"
            )
        if training and len(rows) < batch_size:
            raise Hep2ganError(
                f"The training part has {len(rows)} cells, the batch size is {batch_size}",
                "an epoch needs at least one whole batch",
                f"choose a batch size of at most {len(rows)}, or more cells",
            )
        self.rows, self.batch_size, self.training = rows, batch_size, training
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        self.start, self.label = start, label
        self.device = device or torch.device("cpu")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        if self.training:
            return len(self.rows) // self.batch_size
        batches = -(-len(self.rows) // self.batch_size)
        return len(range(self.rank, batches, self.world))

    def __iter__(self) -> Iterator[Request]:
        return self._training() if self.training else self._evaluation()

    def _training(self) -> Iterator[Request]:
        epoch = self.epoch
        first = self.start[1] if epoch == self.start[0] else 0
        rows = self._sent(self._order(epoch))
        for batch in range(first, len(self)):
            chosen = rows[batch * self.batch_size : (batch + 1) * self.batch_size]
            # A clone, so that a loader's process is sent a batch and not the whole epoch.
            mine = chosen[self.rank :: self.world].clone()
            yield Request(
                mine, BatchSeed(self.seed, epoch, batch, self.rank, self.world, len(chosen))
            )

    def _evaluation(self) -> Iterator[Request]:
        rows = self._sent(self.rows)
        for begin in range(self.rank * self.batch_size, len(rows), self.world * self.batch_size):
            yield Request(rows[begin : begin + self.batch_size].clone(), None)

    def _sent(self, rows: npt.NDArray[np.int64]) -> Tensor:
        # Not copied: of a million rows that takes longer than the first batch.
        return to_device(torch.from_numpy(rows), self.device)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        # The leading 1 keeps these numbers apart from the augmentation's.
        rng = np.random.default_rng([1, self.seed, epoch])
        if self.label is None:
            return shuffled_order(self.rows, rng)
        return class_balanced_order(self.rows, self.label, rng)
