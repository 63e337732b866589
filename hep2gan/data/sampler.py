"""Which cells come in which batch: shuffled or class-balanced epochs, split over the ranks."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from hep2gan.data.batch import BatchSeed, Request, to_device
from hep2gan.errors import Hep2ganError

Sampling = Literal["all", "balanced"]
RowOrder = npt.NDArray[np.int64]


class EpochBatchSampler(Sampler[Request]):
    """Requests of one epoch for one rank.

    Training shuffles and drops the last incomplete global batch. Rank r of w takes cells r, r + w,
    … of each global batch, so the k-th batches of all ranks together are the k-th batch of a single
    rank. The order is a pure function of (seed, epoch): no other state is needed to resume.

    Evaluation keeps the order and serves every row exactly once. Rank r takes whole batches r, r +
    w, …, so that a cell is always computed in a batch with the same cells: results are equal to the
    last bit for any number of ranks, which may get different numbers of batches.

    Args:
        rows: (M,) rows of the store.
        batch_size: Cells of a *global* batch in training, all ranks together; of a rank's batch in
            evaluation.
        seed: Seed of the order in training.
        rank: Number of this rank, from 0.
        world_size: Number of ranks.
        training: Whether to shuffle.
        start: (epoch, batch) at which an interrupted training resumes.
        label: (M,) classes of the rows, to train on every class equally often (see
            `class_balanced_order`); None trains on every row once.
        half: (M,) which half, 0 or 1, a row is of: batches are then of half 0 and 1 in turn, the
            same number of each; None mixes all rows.
        device: Device to which the rows of an epoch are copied at once, for cells that are on that
            device; not for loaders with worker processes, which cannot read them there.

    Raises:
        Hep2ganError: The batch size is below 1, not divisible by the number of ranks in training,
            or larger than the training part.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.int64],
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        training: bool,
        start: tuple[int, int] = (0, 0),
        label: npt.NDArray[np.int64] | None = None,
        half: npt.NDArray[np.int64] | None = None,
        device: torch.device | None = None,
    ) -> None:
        if batch_size < 1:
            raise Hep2ganError(f"Batch size is {batch_size}", "it must be 1 or more", "choose 16")
        if training and batch_size % world_size:
            raise Hep2ganError(
                f"Batch size {batch_size} is not divisible by {world_size} devices; choose a"
                f" multiple of {world_size}"
            )
        fewest = len(rows) if half is None else int(np.bincount(half, minlength=2).min())
        if training and fewest < batch_size:
            part = "training part" if half is None else "smaller half of the training part"
            raise Hep2ganError(
                f"The {part} has {fewest} cells, the batch size is {batch_size}",
                "an epoch needs at least one whole batch",
                f"choose a batch size of at most {fewest}, or more cells",
            )
        self.rows, self.batch_size, self.training = rows, batch_size, training
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, 0
        self.start, self.label, self.half = start, label, half
        self.device = device or torch.device("cpu")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration serves; Lightning calls this.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the batches of this rank in a whole epoch.

        Returns:
            The number, also when a training resumes within the epoch.
        """
        if self.training and self.half is not None:
            return 2 * int(np.bincount(self.half, minlength=2).min() // self.batch_size)
        if self.training:
            return len(self.rows) // self.batch_size
        batches = -(-len(self.rows) // self.batch_size)
        return len(range(self.rank, batches, self.world_size))

    def __iter__(self) -> Iterator[Request]:
        return self._training_batches() if self.training else self._evaluation_batches()

    def _training_batches(self) -> Iterator[Request]:
        epoch = self.epoch
        first = self.start[1] if epoch == self.start[0] else 0
        # The leading 1 keeps these numbers apart from the augmentation's.
        rng = np.random.default_rng([1, self.seed, epoch])
        order = self._order(rng)
        # Not copied: for a million rows that takes longer than the first batch.
        rows = to_device(torch.from_numpy(order), self.device)
        for batch in range(first, len(self)):
            chosen = rows[batch * self.batch_size : (batch + 1) * self.batch_size]
            seed = BatchSeed(self.seed, epoch, batch, self.rank, self.world_size, len(chosen))
            # A clone, so that a worker process of a loader is sent a batch, not the whole epoch.
            yield Request(chosen[self.rank :: self.world_size].clone(), seed)

    def _order(self, rng: np.random.Generator) -> RowOrder:
        if self.half is None:
            return self._shuffled(np.ones(len(self.rows), bool), rng)
        kept = len(self) // 2 * self.batch_size
        halves = [self._shuffled(self.half == half, rng)[:kept] for half in (0, 1)]
        return np.stack([rows.reshape(-1, self.batch_size) for rows in halves], 1).reshape(-1)

    def _shuffled(self, of: npt.NDArray[np.bool_], rng: np.random.Generator) -> RowOrder:
        if self.label is None:
            return rng.permutation(self.rows[of])
        return class_balanced_order(self.rows[of], self.label[of], rng)

    def _evaluation_batches(self) -> Iterator[Request]:
        rows = to_device(torch.from_numpy(self.rows), self.device)
        for begin in range(
            self.rank * self.batch_size, len(rows), self.world_size * self.batch_size
        ):
            yield Request(rows[begin : begin + self.batch_size].clone(), None)


def class_balanced_order(rows: RowOrder, label: RowOrder, rng: np.random.Generator) -> RowOrder:
    """Sample as many rows as there are, every class equally often, in random order.

    The numbers of cells per class differ by one at most, if M is not divisible by the number of
    classes. A class starts over in a new order after all its cells were used, so no cell is
    repeated before all others of its class were used; of large classes some cells are not used.

    Args:
        rows: (M,) rows of the store.
        label: (M,) classes of the rows.
        rng: Source of the random numbers.

    Returns:
        (M,) rows.
    """
    classes = np.unique(label)
    order = rng.permutation(np.resize(rng.permutation(classes), len(rows)))
    chosen = np.empty_like(rows)
    for k in classes:
        positions = order == k
        chosen[positions] = _cycle_shuffled(rows[label == k], int(positions.sum()), rng)
    return chosen


def _cycle_shuffled(rows: RowOrder, count: int, rng: np.random.Generator) -> RowOrder:
    """Take `count` of the rows, each once before any is repeated."""
    cycles = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(cycles)])[:count]
