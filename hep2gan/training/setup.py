"""What a run needs to start: its store, split and networks, opened and built from its settings."""

from functools import cached_property
from pathlib import Path

import lightning as L
import numpy as np

from hep2gan.config import NETWORKS, TrainConfig
from hep2gan.data.prepare import open_store
from hep2gan.data.splits import Split, make_split
from hep2gan.data.store.store import Store
from hep2gan.metrics.validation import monitor_name
from hep2gan.runs.checkpoints import TRAINING_START, TrainingPosition
from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed
from hep2gan.training.build import build_task
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.initial_weights import InitialWeights, SourceRun
from hep2gan.training.module import SegmentationGuidedClassification


class RunSetup:
    """A run's settings, and the data and networks that they describe.

    `store`, `split`, `data` and `task` are opened or built when they are first used, and raise
    Hep2ganError where they cannot be. `preflight` uses them all and collects the errors.

    Args:
        config: The resolved configuration.
        run: The run's folder.
        checkpoint: The checkpoint to resume from; None for a new run.
        dry_run: No training follows: no pretrained weights are loaded, and the store is read whole.
        eval_batches: Batches of validation and test at most; None for all cells.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: RunFolder,
        checkpoint: Path | None = None,
        *,
        dry_run: bool = False,
        eval_batches: int | None = None,
    ) -> None:
        self.config, self.run, self.checkpoint = config, run, checkpoint
        self.dry_run, self.eval_batches = dry_run, eval_batches
        self.load_weights = checkpoint is None and not dry_run

    def is_open(self, part: str) -> bool:
        """Tell whether a part was opened or built already.

        Args:
            part: "store", "split", "data" or "task".

        Returns:
            True once it was used without an error.
        """
        return part in vars(self)

    @cached_property
    def store(self) -> Store:
        """The packed cells; synthetic ones are generated and packed at first use."""
        return open_store(
            self.config.source,
            self.config.target,
            check=distributed.rank() == 0,
            force_check=self.dry_run,
        )

    @cached_property
    def split(self) -> Split:
        """The split that the run was started with; a new run makes it."""
        if (self.run.path / "split.csv").exists():
            return Split.load(self.run.path, self.store)
        split = make_split(self.store, self.config.split)
        if self.eval_batches is None:
            return split
        return split.shorten(self.eval_batches * self.config.trainer.eval_batch_size)

    @property
    def monitor(self) -> str | None:
        """The validation metric that chooses the epoch; None without a validation part."""
        return choosing_metric(self.config, self.split)

    @cached_property
    def data(self) -> CellDataModule:
        """The batches, from where the checkpoint left off."""
        return build_data(self.config, self.store, self.split, TrainingPosition.of(self.checkpoint))

    @cached_property
    def initial_weights(self) -> InitialWeights | None:
        """What a new run takes from the one that `init_from` names; a resumed run takes nothing."""
        config = self.config
        if config.init_from is None or self.checkpoint or config.model.baseline:
            return None
        source = SourceRun.open(config.init_from)
        return InitialWeights.plan(source, config, self.store.classes, self.store.size)

    @cached_property
    def task(self) -> SegmentationGuidedClassification:
        """The networks and their losses; a forest has none."""
        if not self.dry_run:
            L.seed_everything(self.config.seed, verbose=False)
        classes = self.store.classes
        initial = self.initial_weights if self.load_weights else None
        taken = initial.networks if initial else ()
        task = build_task(
            self.config,
            classes=classes,
            size=self.store.size,
            train_counts=np.bincount(
                self.store.label[self.split.train], minlength=len(classes)
            ).tolist(),
            load_weights=[n for n in NETWORKS if n not in taken] if self.load_weights else (),
        )
        if initial:
            initial.fill(task)
        return task


def choosing_metric(config: TrainConfig, split: Split) -> str | None:
    """Name the validation metric that chooses the epoch.

    Args:
        config: The configuration of a run.
        split: Its split.

    Returns:
        The metric; None without a validation part, where the last epoch counts, as in the paper,
        and for a forest.
    """
    has_epochs = config.model.baseline is None
    return monitor_name(config.model.classify) if has_epochs and len(split.validation) else None


def build_data(
    config: TrainConfig, store: Store, split: Split, start: TrainingPosition = TRAINING_START
) -> CellDataModule:
    """Build the batches that `config` describes.

    Args:
        config: The configuration of a run.
        store: The packed cells.
        split: Their split.
        start: Where training starts.

    Returns:
        The data module for Lightning's trainer.

    Raises:
        Hep2ganError: The augmentation does not fit the normalisation.
    """
    trainer = config.trainer
    return CellDataModule(
        store,
        split,
        batch_size=trainer.batch_size,
        eval_batch_size=trainer.eval_batch_size,
        seed=config.seed,
        normalisation=config.normalisation,
        augmentation=config.augmentation.build(),
        num_workers=trainer.num_workers,
        cache_on_device=trainer.cache_on_device,
        start=start,
        limit_train_batches=trainer.limit_train_batches,
        sampling=config.training.sampling,
        channels_last=trainer.channels_last,
        halves=config.model.guidance.source == "cross_fitted",
    )
