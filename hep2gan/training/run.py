"""One run from a resolved configuration: split, fit or resume, test, DONE."""

import json
import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler

from hep2gan.cli.launch.hydra import monitor_name
from hep2gan.data.leakage import leakage
from hep2gan.data.split_files import Split
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.quiet import quiet_libraries
from hep2gan.runs.checkpoints import BEGINNING, Position, checkpoints, newest_readable, read_chosen
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import held
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import provenance, write_provenance
from hep2gan.training import distributed
from hep2gan.training.callbacks.checkpoint import (
    EpochCheckpoint,
    SeedEachBatch,
    WholeCheckpoints,
    progress_bars,
)
from hep2gan.training.callbacks.collapse import Alarms
from hep2gan.training.callbacks.compile import Compiled
from hep2gan.training.callbacks.ema import WeightAverage
from hep2gan.training.callbacks.store_guard import StoreWatch
from hep2gan.training.callbacks.throughput import Gauges
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.devices import channels_last, use_tf32
from hep2gan.training.evaluation import evaluate_run, figure_files, summary
from hep2gan.training.loggers import build_logger, closing, log_results
from hep2gan.training.loggers.console import EpochLines
from hep2gan.training.loggers.csv import MetricsFile
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.nonfinite import StopAtNonfinite
from hep2gan.training.profiler import profiler_of
from hep2gan.training.setup import Preparation
from hep2gan.training.signals import Stopped, StopRequest
from hep2gan.training.strategy import devices_and_strategy, leave_signals_alone
from hep2gan.whole import write_whole

log = logging.getLogger(__name__)
Config = Mapping[str, Any]


def train_run(config: Config, trusted: Sequence[str] = ()) -> dict[str, float]:
    """Train, test and record the run that `config` describes; resume it where it was left.

    A finished run is left alone and its metrics are returned. As one of several ranks, takes its
    share. Raises `Stopped`, which ends the process with status 143 (130 after Ctrl-C), when a
    signal asked for it: the run goes on from there when it is started again.
    """
    quiet_libraries()
    run = RunFolder.of(config)
    with StopRequest().listening() as stop:
        distributed.join(config["trainer"]["accelerator"])
        distributed.redirect_others(run.path)
        distributed.check_same(config)
        if distributed.world() > 1:
            log.info("rank %d of %d trains %s", distributed.rank(), distributed.world(), run.path)
        # Asked first: a finished run may lie where nothing can be written.
        alone = distributed.rank() == 0 and not run.done
        with held(run.path) if alone else nullcontext(), _telling_what_is_saved(run):
            metrics = _train(config, run, trusted, stop)
        # Not after an error: the others may never come.
        distributed.leave()
    return metrics


@contextmanager
def _telling_what_is_saved(run: RunFolder) -> Iterator[None]:
    """Say after a stop what there is to go on from."""
    try:
        yield
    except Stopped as stop:
        if distributed.rank() == 0:
            saved = next((path.name for path in checkpoints(run.checkpoints)), None)
            there = f"{saved} is saved in {run.checkpoints}" if saved else "nothing was trained yet"
            name = signal.Signals(stop.signum).name
            log.info("Stopped by %s: %s. The same command goes on from there.", name, there)
        raise


def _train(
    config: Config, run: RunFolder, trusted: Sequence[str], stop: StopRequest
) -> dict[str, float]:
    if distributed.shared(run.done):
        run.check_config(config)
        log.info("%s is finished already.%s", run.path, summary(run.metrics()))
        return run.metrics()
    newest = distributed.shared(
        newest_readable(run.checkpoints) if distributed.rank() == 0 else None
    )
    with distributed.first_rank_first():
        preparation = prepared(config, run, newest, trusted)
    store, split, task = preparation.store, preparation.split, preparation.task
    assert store is not None
    assert split is not None
    assert task is not None
    data = build_data(config, store, split, Position.of(newest))
    if newest:
        log.info("Resuming %s from %s", run.path, newest.name)
    return _fit_and_test(config, run, task, data, newest, stop)


def prepared(
    config: Config, run: RunFolder, newest: Path | None, trusted: Sequence[str] = ()
) -> Preparation:
    """Open and build what the run needs; rank 0 looks at everything first and writes it down.

    Raises Hep2ganError that lists all that is wrong.
    """
    preparation = Preparation(config, run, newest, trusted, starts=True)
    first = distributed.rank() == 0
    preparation.examine() if first else preparation.open()
    preparation.checklist.require(str(run.path))
    store, split = preparation.store, preparation.split
    assert store is not None
    assert split is not None
    if first:
        for _, state, text in preparation.checklist.results:
            if state == "note":
                log.warning("%s.", text[:1].upper() + text[1:])
        run.save_config(config)
        write_whole(run.store_file, json.dumps(describe_store(store), indent=1) + "\n")
    _keep_split(split, store, run)
    return preparation


def describe_store(store: Store) -> dict[str, Any]:
    """What a run must remember of its store: classes, size, fingerprint and place."""
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "size": store.size,
        "cells": len(store),
        "classes": list(store.classes),
    }


def _keep_split(split: Split, store: Store, run: RunFolder) -> None:
    """Write the split down at a run's first start; say what it leaks."""
    if not (run.path / "split.csv").exists():
        split.save(run.path, store)
    log.info(
        "%d cells for training, %d for validation, %d for the test",
        len(split.train),
        len(split.validation),
        len(split.test),
    )
    for sentence in leakage(store, split).sentences():
        log.warning(sentence)


def build_data(
    config: Config, store: Store, split: Split, start: Position = BEGINNING
) -> CellDataModule:
    """The batches that `config` describes, from `start` on."""
    trainer = config["trainer"]
    return CellDataModule(
        store,
        split,
        batch_size=trainer["batch_size"],
        eval_batch_size=trainer["eval_batch_size"],
        seed=config["seed"],
        normalisation=Normalisation(**config["normalisation"]),
        augmentation=Augmentation(**config["augmentation"]),
        workers=trainer["workers"],
        resident=trainer["resident"],
        start=start,
        limit_batches=trainer["limit_batches"],
        # Runs from before the option have no key for it.
        sampling=config.get("sampling", "all"),
        channels_last=trainer["channels_last"],
    )


def _fit_and_test(
    config: Config,
    run: RunFolder,
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    newest: Path | None,
    stop: StopRequest,
) -> dict[str, float]:
    origin = provenance(config, data.store, data.split, task.networks)
    if distributed.rank() == 0:
        write_provenance(run.path / "provenance.json", origin)
    logger = build_logger(
        config, run.path, rank=distributed.rank(), start=batches_done(data), provenance=origin
    )
    with closing(logger):
        fit(config, run, task, data, logger, newest, stop)
        task.load_state_dict(read_chosen(run.checkpoints)[1]["state_dict"])
        metrics = evaluate_run(task, data, run, config)
        predictions = Predictions.load(run.predictions_file) if logger else None
        log_results(logger, metrics, figure_files(run.figures), predictions)
    if distributed.rank() == 0:
        write_whole(run.done_file, "")
    log.info("%s\n\n%s", summary(metrics), run.path)
    return metrics


def batches_done(data: CellDataModule) -> int:
    """Batches of training before this start, over all epochs: the next one's number."""
    return data.start.epochs * data.batches + data.start.batches


def monitor_of(config: Config, split: Split) -> str | None:
    """The validation metric that chooses the epoch; None without a validation part (the paper)."""
    if len(split.validation) == 0:
        return None
    return monitor_name(config)


def fit(
    config: Config,
    run: RunFolder,
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    logger: Any,
    newest: Path | None,
    stop: StopRequest,
) -> None:
    """Train `task`, from the checkpoint `newest` on; metrics.csv and checkpoints go to `run`.

    logger: another one beside metrics.csv. Raises what `train_run` raises.
    """
    settings = config["trainer"]
    prepare_networks(task, settings)
    curves = MetricsFile(run.curves_file, batches_done(data))
    profiler = profiler_of(settings, run, task)
    trainer = build_trainer(
        settings,
        [curves, *([logger] if logger else []), *epoch_lines(settings["max_epochs"])],
        [*callbacks_of(config, run, data, stop), *(profiler.callbacks() if profiler else [])],
        len(data.split.validation) > 0,
        profiler,
    )
    leave_signals_alone(trainer)
    with stop.deferred():
        trainer.fit(task, data, ckpt_path=newest, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if profiler:
        profiler.finish()


def epoch_lines(epochs: int) -> list[EpochLines]:
    """A line an epoch where no bar shows how far it is."""
    return [] if progress_bars() else [EpochLines(epochs)]


def callbacks_of(
    config: Config, run: RunFolder, data: CellDataModule, stop: StopRequest
) -> list[Callback]:
    """All that a training does besides its steps, in this order."""
    settings = config["trainer"]
    stops = settings.get("nonfinite", "stop") == "stop"
    losses = StopAtNonfinite(run.path, data.store.id, settings["log_every"])
    return [
        EpochCheckpoint(run.checkpoints, monitor_of(config, data.split), stop),
        SeedEachBatch(config["seed"]),
        StoreWatch(data.store),
        Alarms(),
        *([losses] if stops else []),
        Gauges(),
        *([Compiled(settings["compile"])] if settings["compile"] else []),
        *([WeightAverage(config["ema"])] if config["ema"] else []),
    ]


def prepare_networks(task: SegmentationGuidedClassification, settings: Config) -> None:
    """Choose the precision of products and the memory format of weights."""
    use_tf32(settings["tf32"])
    # Deterministic operations fill new memory before they write to it, at 2 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if settings["channels_last"]:
        channels_last(task.networks.values())


def build_trainer(
    settings: Config,
    loggers: list[Any],
    callbacks: list[Callback],
    validates: bool,
    profiler: Profiler | None = None,
) -> L.Trainer:
    """A Lightning trainer that leaves order, checkpoints and logging intervals to us."""
    bars = progress_bars()
    return L.Trainer(
        **devices_and_strategy(settings, WholeCheckpoints()),
        precision=settings["precision"],
        max_epochs=settings["max_epochs"],
        limit_train_batches=settings["limit_batches"],
        limit_val_batches=None if validates else 0,
        check_val_every_n_epoch=settings["validate_every"],
        num_sanity_val_steps=0,
        logger=loggers,
        log_every_n_steps=1,
        callbacks=[*callbacks, *bars],
        profiler=profiler,
        enable_progress_bar=bool(bars),
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn" if settings["deterministic"] else False,
    )
