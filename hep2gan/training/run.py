"""One run from a resolved configuration: split, fit or resume, test, DONE."""

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hep2gan.io import quiet_libraries, write_whole
from hep2gan.runs.checkpoints import Position, checkpoints, newest_readable, read_chosen
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import held
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import provenance, write_provenance
from hep2gan.training import distributed
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.evaluation import evaluate_run, figure_files, summary
from hep2gan.training.loggers import build_logger, closing, log_results
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.setup import build_data, prepared
from hep2gan.training.signals import Stopped, StopRequest
from hep2gan.training.trainer import batches_done, fit

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
