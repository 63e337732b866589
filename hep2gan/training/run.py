"""One run from a resolved configuration: split, fit or resume, test, DONE."""

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hep2gan.io import atomic_write, silence_libraries
from hep2gan.runs.checkpoints import (
    TrainingPosition,
    latest_readable,
    list_checkpoints,
    load_best_or_latest,
)
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import run_lock
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import provenance, write_provenance
from hep2gan.training import distributed
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.evaluation import evaluate_run, figure_files, format_summary
from hep2gan.training.loggers import build_logger, log_results, logger_session
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.setup import build_data, open_run_setup
from hep2gan.training.signals import RunStopped, SignalHandler
from hep2gan.training.trainer import batches_done, fit

log = logging.getLogger(__name__)
Config = Mapping[str, Any]


def train_run(config: Config, trusted: Sequence[str] = ()) -> dict[str, float]:
    """Train, test and record the run that `config` describes; resume it where it was left.

    A finished run is left alone and its metrics are returned. As one of several ranks, takes its
    share. Raises `RunStopped`, which ends the process with status 143 (130 after Ctrl-C), when a
    signal asked for it: the run goes on from there when it is started again.
    """
    silence_libraries()
    run = RunFolder.from_config(config)
    with SignalHandler().listening() as stop:
        distributed.init_process_group(config["trainer"]["accelerator"])
        distributed.redirect_worker_output(run.path)
        distributed.check_same_config(config)
        if distributed.world_size() > 1:
            log.info(
                "rank %d of %d trains %s", distributed.rank(), distributed.world_size(), run.path
            )
        # Asked first: a finished run may lie where nothing can be written.
        alone = distributed.rank() == 0 and not run.done
        with run_lock(run.path) if alone else nullcontext(), _telling_what_is_saved(run):
            metrics = _train(config, run, trusted, stop)
        # Not after an error: the others may never come.
        distributed.destroy_process_group()
    return metrics


@contextmanager
def _telling_what_is_saved(run: RunFolder) -> Iterator[None]:
    """Say after a stop what there is to go on from."""
    try:
        yield
    except RunStopped as stop:
        if distributed.rank() == 0:
            saved = next((path.name for path in list_checkpoints(run.checkpoints)), None)
            there = f"{saved} is saved in {run.checkpoints}" if saved else "nothing was trained yet"
            name = signal.Signals(stop.signum).name
            log.info("Stopped by %s: %s. The same command goes on from there.", name, there)
        raise


def _train(
    config: Config, run: RunFolder, trusted: Sequence[str], stop: SignalHandler
) -> dict[str, float]:
    if distributed.broadcast(run.done):
        run.check_config(config)
        log.info("%s is finished already.%s", run.path, format_summary(run.metrics()))
        return run.metrics()
    newest = distributed.broadcast(
        latest_readable(run.checkpoints) if distributed.rank() == 0 else None
    )
    with distributed.rank_zero_first():
        preparation = open_run_setup(config, run, newest, trusted)
    store, split, task = preparation.store, preparation.split, preparation.task
    assert store is not None
    assert split is not None
    assert task is not None
    data = build_data(config, store, split, TrainingPosition.of(newest))
    if newest:
        log.info("Resuming %s from %s", run.path, newest.name)
    return _fit_and_test(config, run, task, data, newest, stop)


def _fit_and_test(
    config: Config,
    run: RunFolder,
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    newest: Path | None,
    stop: SignalHandler,
) -> dict[str, float]:
    origin = provenance(config, data.store, data.split, task.networks)
    if distributed.rank() == 0:
        write_provenance(run.path / "provenance.json", origin)
    logger = build_logger(
        config, run.path, rank=distributed.rank(), start=batches_done(data), provenance=origin
    )
    with logger_session(logger):
        fit(config, run, task, data, logger, newest, stop)
        task.load_state_dict(load_best_or_latest(run.checkpoints)[1]["state_dict"])
        metrics = evaluate_run(task, data, run, config)
        predictions = Predictions.load(run.predictions_file) if logger else None
        log_results(logger, metrics, figure_files(run.figures), predictions)
    if distributed.rank() == 0:
        atomic_write(run.done_file, "")
    log.info("%s\n\n%s", format_summary(metrics), run.path)
    return metrics
