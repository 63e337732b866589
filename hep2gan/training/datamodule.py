"""Cells for Lightning: a store and a split become normalised, augmented batches on the device."""

from collections.abc import Sequence
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from hep2gan.data.batch import Batch, CellDataset, DeviceCells, RawBatch, Request, RequestDataset
from hep2gan.data.sampler import EpochBatchSampler, Sampling
from hep2gan.data.splits import Split, halve
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.functional import AugmentationParams
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.runs.checkpoints import TRAINING_START, TrainingPosition
from hep2gan.training.waits import WatchedLoader


class CellDataModule(L.LightningDataModule):
    """Batches of the three parts of a split; use with Trainer(use_distributed_sampler=False).

    Cells travel as uint8 and become float32 on the device, where they are normalised and, while
    training, augmented.

    Args:
        store: The packed cells.
        split: Their split.
        batch_size: Cells of a training batch over all devices together, so that the number of
            devices changes nothing but speed.
        eval_batch_size: Cells of a batch of evaluation on each device; the training size if None.
        seed: Seed of order and augmentation, which are pure functions of (seed, epoch): a resumed
            run continues as if it had never been stopped.
        normalisation: How grey levels reach the networks; the default normalisation if None.
        augmentation: What varies during training; the default augmentation if None.
        num_workers: Loader processes; 0 is fastest, since the store is memory-mapped.
        cache_on_device: Keep the store on the device, as uint8, where no worker is needed.
        start: Where training starts, also within an epoch.
        limit_train_batches: The Trainer's limit of batches an epoch, None for all.
        sampling: "all" trains on every cell once an epoch, "balanced" on every class equally often.
        channels_last: Whether images and masks are in that memory format.
        halves: Whether training batches are of one half of the cells and of the other in turn.

    Raises:
        Hep2ganError: Gamma jitter of z-scores; when training starts, a batch size that the devices
            do not divide or the training part does not fill.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        *,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        seed: int = 0,
        normalisation: Normalisation | None = None,
        augmentation: Augmentation | None = None,
        num_workers: int = 0,
        cache_on_device: bool = False,
        start: TrainingPosition = TRAINING_START,
        limit_train_batches: int | None = None,
        sampling: Sampling = "all",
        channels_last: bool = False,
        halves: bool = False,
    ) -> None:
        super().__init__()
        self.half = halve(store, split.train, seed) if halves else None
        self.store, self.split, self.seed = store, split, seed
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.normalisation = normalisation or Normalisation()
        self.augmentation = augmentation or Augmentation()
        self.augmentation.check(self.normalisation.bounded)
        self.num_workers, self.cache_on_device = num_workers, cache_on_device
        self.sampling = sampling
        self.start, self.limit_train_batches = start, limit_train_batches
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self._cells: DeviceCells | None = None

    @property
    def batches(self) -> int:
        """Batches of an epoch of training."""
        batches = len(self.split.train) // self.batch_size
        return (
            batches if self.limit_train_batches is None else min(batches, self.limit_train_batches)
        )

    @property
    def batches_done(self) -> int:
        """Batches of training before this start, over all epochs: the number of the next one."""
        return self.start.epochs * self.batches + self.start.batches

    def setup(self, stage: str) -> None:
        """Check the batch sizes before anything expensive starts.

        Args:
            stage: Lightning's stage; only "fit" is checked.

        Raises:
            Hep2ganError: A device would get no batch, or the batch size cannot be divided among the
                devices.
        """
        if stage == "fit":
            self._batches(self.split.train, training=True)
            ranks = self.trainer.world_size if self.trainer else 1
            check_batches_per_rank(
                "validation", len(self.split.validation), self.eval_batch_size, ranks
            )
            # Now, and not when the training is over.
            check_batches_per_rank("test", len(self.split.test), self.eval_batch_size, ranks)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew every epoch; the last incomplete batch is dropped."""
        return self._loader(self.split.train, training=True)

    def val_dataloader(self) -> Sequence[DataLoader[Any]]:
        """The validation part, each cell once; no loader when there is none."""
        return [self._loader(self.split.validation)] if len(self.split.validation) else []

    def test_dataloader(self) -> DataLoader[Any]:
        """The test part, each cell once, in the order of the store."""
        return self._loader(self.split.test)

    predict_dataloader = test_dataloader

    def transfer_batch_to_device(
        self, batch: RawBatch | Request, device: torch.device, dataloader_idx: int
    ) -> RawBatch | Request:
        """Move a batch to a GPU as Lightning does; on the CPU, skip its search for tensors.

        Args:
            batch: A batch of the loader.
            device: The target device.
            dataloader_idx: Number of the loader.

        Returns:
            The batch on the device.
        """
        if device.type == "cpu":
            return batch
        return cast(
            RawBatch | Request, super().transfer_batch_to_device(batch, device, dataloader_idx)
        )

    def on_after_batch_transfer(self, batch: RawBatch | Request, dataloader_idx: int) -> Batch:
        """Gather (if the store is on the device), normalise and, while training, augment a batch.

        Args:
            batch: Stored cells, or the rows of cells to gather.
            dataloader_idx: Number of the loader.

        Returns:
            Images and masks (B, 1, H, W) in float32 with their labels, on the device.
        """
        raw = (
            self._resident(batch.rows.device).gather(batch) if isinstance(batch, Request) else batch
        )
        batch_seed = raw.batch_seed if self.trainer is None or self.trainer.training else None
        stored, mask = raw.image, raw.mask
        # Flipped as bytes, of which there are a quarter as many.
        if batch_seed is not None:
            params = AugmentationParams.sample(batch_seed, stored.device)
            stored, mask = self.augmentation.flip(stored, mask, params)
        image = self.normalisation(stored, raw.levels)
        mask = None if mask is None else mask.unsqueeze(1).float()
        if batch_seed is not None:
            image, mask = self.augmentation.augment(
                image, mask, batch_seed, params, bounded=self.normalisation.bounded
            )
        image = image.to(memory_format=self.format)
        mask = None if mask is None else mask.to(memory_format=self.format)
        return Batch(image, mask, raw.label, raw.rows)

    def _loader(self, rows: npt.NDArray[np.int64], training: bool = False) -> DataLoader[Any]:
        dataset: Dataset[Any] = (
            RequestDataset() if self.cache_on_device else CellDataset(self.store)
        )
        workers = 0 if self.cache_on_device else self.num_workers
        return WatchedLoader(
            dataset,
            # A sampler of whole batches; Lightning calls its set_epoch before every epoch.
            sampler=self._batches(rows, training),
            batch_size=None,
            # Tensors already, each batch whole.
            collate_fn=_identity,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._device.type == "cuda" and not self.cache_on_device,
            # Its own: from torch's, a resumed run would draw a seed at another moment.
            generator=torch.Generator(),
        )

    def _batches(self, rows: npt.NDArray[np.int64], training: bool) -> EpochBatchSampler:
        trainer = self.trainer
        balanced = training and self.sampling == "balanced"
        return EpochBatchSampler(
            rows,
            self.batch_size if training else self.eval_batch_size,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            training=training,
            start=self.start,
            label=np.asarray(self.store.label)[rows] if balanced else None,
            half=self.half if training else None,
            device=self._device if self.cache_on_device else None,
        )

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _resident(self, device: torch.device) -> DeviceCells:
        """The store on `device`, copied there at first use."""
        if self._cells is None or self._cells.device != device:
            with torch.inference_mode(False):
                self._cells = DeviceCells(self.store, device)
        return self._cells


def _identity(batch: Any) -> Any:
    return batch


def check_batches_per_rank(part: str, cells: int, batch_size: int, ranks: int) -> None:
    """Check that every rank gets a batch of a part that has cells.

    Args:
        part: Name of the part, for the message.
        cells: Its number of cells.
        batch_size: Cells of a batch.
        ranks: Number of ranks.

    Raises:
        Hep2ganError: There are fewer batches than ranks.
    """
    batches = -(-cells // batch_size)
    # A rank without any would miss the collective that joins the ranks' results.
    if 0 < batches < ranks:
        raise Hep2ganError(
            f"the {part} part has {pluralize(cells, 'cell')},"
            f" {pluralize(batches, 'batch', 'batches')}"
            f" of {batch_size}, for {ranks} devices",
            "each device needs a batch of its own",
            f"set trainer.eval_batch_size={max(1, cells // ranks)} or lower",
        )
