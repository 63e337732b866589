"""The Lightning trainer of a run: its loggers, its callbacks in their order, its precision."""

import sys
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.profilers import Profiler

from hep2gan.config import TrainConfig, TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder
from hep2gan.training.callbacks.checkpoint import (
    AtomicCheckpointIO,
    EpochCheckpoint,
    SeedEachBatch,
    StoreGuard,
)
from hep2gan.training.callbacks.cuda_graph import ReplayStep
from hep2gan.training.callbacks.metrics import LogLosses
from hep2gan.training.callbacks.networks import CompileNetworks, ExponentialMovingAverage
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.devices import to_channels_last, use_tf32
from hep2gan.training.loggers import logger_names
from hep2gan.training.loggers.local import ConsoleLogger, CsvLogger
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.nonfinite import SkipNonfinite, StopAtNonfinite
from hep2gan.training.profiler import build_profiler
from hep2gan.training.setup import RunSetup, choosing_metric
from hep2gan.training.signals import SignalHandler
from hep2gan.training.strategy import devices_and_strategy, disable_lightning_signal_handlers


def progress_bars() -> list[Callback]:
    """Return a bar on a terminal, none elsewhere."""
    return [RichProgressBar()] if sys.stdout.isatty() else []


def fit(setup: RunSetup, loggers: Sequence[Any], stop: SignalHandler) -> None:
    """Train the networks of `setup`, from its checkpoint on; write metrics.csv and checkpoints.

    Args:
        setup: The run.
        loggers: Other loggers beside metrics.csv.
        stop: Receives the signals that end the training early.

    Raises:
        RunStopped: A signal asked for it; everything is saved.
        Hep2ganError: The training cannot continue, for instance after a loss that is not finite.
    """
    config, run, task, data = setup.config, setup.run, setup.task, setup.data
    settings = config.trainer
    prepare_networks(task, settings)
    curves = CsvLogger(run.curves_file, data.batches_done)
    profiler = build_profiler(settings, run, task)
    # A line an epoch where there is no bar.
    lines = [] if progress_bars() else [ConsoleLogger(config.total_epochs)]
    trainer = build_trainer(
        settings,
        [curves, *loggers, *lines],
        build_callbacks(config, run, data, stop),
        len(data.split.validation) > 0,
        profiler,
        config.total_epochs,
    )
    disable_lightning_signal_handlers(trainer)
    with stop.deferred():
        trainer.fit(task, data, ckpt_path=setup.checkpoint, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if profiler:
        profiler.finish()


def build_named_callbacks(config: TrainConfig) -> list[Callback]:
    """Build the callbacks that the configuration names; those set to null are left out.

    Args:
        config: The configuration of a run.

    Returns:
        The callbacks, in the order of the configuration.

    Raises:
        Hep2ganError: A class cannot be built, or is no Lightning callback.
    """
    callbacks = []
    for name, component in config.callbacks.items():
        if component is None:
            continue
        key, fix = f"callbacks.{name}", f"set callbacks.{name}=null, or name another class"
        try:
            callback = component.build()
        except Exception as error:
            raise Hep2ganError(f"{key} cannot be built ({error})", "", fix) from error
        if not isinstance(callback, Callback):
            raise Hep2ganError(f"{key} is {component.target}", "no Lightning callback", fix)
        callbacks.append(callback)
    return callbacks


def build_callbacks(
    config: TrainConfig, run: RunFolder, data: CellDataModule, stop: SignalHandler
) -> list[Callback]:
    """Build all that a training does besides its steps, in this order.

    Args:
        config: The configuration of a run.
        run: The run's folder.
        data: Its batches.
        stop: Receives the signals that end the training early.

    Returns:
        The callbacks for Lightning's trainer.

    Raises:
        Hep2ganError: A callback of the configuration cannot be built.
    """
    settings = config.trainer
    monitor = choosing_metric(config, data.split)
    skipping = SkipNonfinite() if settings.nonfinite == "skip" else None
    return [
        EpochCheckpoint(run.checkpoints, monitor, stop),
        SeedEachBatch(config.seed),
        StoreGuard(data.store),
        skipping or StopAtNonfinite(run.path, data.store.id, settings.log_every_n_steps),
        *build_named_callbacks(config),
        LogLosses(settings.log_every_n_steps, skipping),
        *([CompileNetworks(settings.compile)] if settings.compile else []),
        *([ReplayStep()] if settings.cuda_graph else []),
        *([ExponentialMovingAverage(config.training.ema)] if config.training.ema else []),
        *_pictures(config, run, data),
    ]


def _pictures(config: TrainConfig, run: RunFolder, data: CellDataModule) -> list[Callback]:
    if not shows_pictures(config):
        return []
    # Here, so that other trainings start without the libraries that plot.
    from hep2gan.training.callbacks.pictures import EpochPictures

    return [EpochPictures(run.path, data, config.logger.pictures_every)]


def shows_pictures(config: TrainConfig) -> bool:
    """Tell whether a training shows outlines of a few cells while it goes on.

    Args:
        config: The configuration of a run.

    Returns:
        Whether it has a generator, and a logger that takes pictures.
    """
    wanted = config.logger.pictures_every > 0 and logger_names(config.logger)
    return config.model.segment and bool(wanted)


def prepare_networks(task: SegmentationGuidedClassification, settings: TrainerSettings) -> None:
    """Set the precision of float32 products and the memory format of weights.

    Args:
        task: The networks, which are changed in place.
        settings: The group `trainer` of the configuration.
    """
    use_tf32(settings.tf32)
    # Deterministic operations fill new memory before they write to it, at 2 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if settings.channels_last:
        to_channels_last(task.networks.values())


def build_trainer(
    settings: TrainerSettings,
    loggers: list[Any],
    callbacks: list[Callback],
    validates: bool,
    profiler: Profiler | None = None,
    epochs: int | None = None,
) -> L.Trainer:
    """Build a Lightning trainer that leaves order, checkpoints and logging intervals to us.

    Args:
        settings: The group `trainer` of the configuration.
        loggers: Lightning loggers.
        callbacks: Callbacks in their order, without a progress bar.
        validates: Whether there is a validation part.
        profiler: Records the steps; None for no profile.
        epochs: Epochs of the training, all stages together; None for `max_epochs`.

    Returns:
        The trainer.
    """
    bars = progress_bars()
    return L.Trainer(
        **devices_and_strategy(settings, AtomicCheckpointIO()),
        precision=settings.precision,
        max_epochs=epochs or settings.max_epochs,
        limit_train_batches=settings.limit_train_batches,
        limit_val_batches=None if validates else 0,
        check_val_every_n_epoch=settings.check_val_every_n_epoch,
        num_sanity_val_steps=0,
        logger=loggers,
        log_every_n_steps=1,
        callbacks=[*callbacks, *bars],
        profiler=profiler,
        enable_progress_bar=bool(bars),
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn" if settings.deterministic else False,
    )
