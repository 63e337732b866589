"""One run from its settings: check and open everything, fit or resume, test, record, DONE."""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from hep2gan.config import TrainConfig
from hep2gan.data.leakage import measure_leakage
from hep2gan.data.splits import PARTS
from hep2gan.data.store.store import Store
from hep2gan.io import atomic_write, silence_libraries, write_json
from hep2gan.metrics.validation import monitor_name
from hep2gan.runs.checkpoints import latest_readable, list_checkpoints, load_best_or_latest
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import run_lock
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import (
    EVALUATION_PRECISION,
    provenance,
    read_provenance,
    write_provenance,
)
from hep2gan.training import distributed
from hep2gan.training.build import parameter_counts
from hep2gan.training.devices import use_threads
from hep2gan.training.evaluation import evaluate_run, format_summary
from hep2gan.training.extension import extend_run
from hep2gan.training.forest import fit_and_test_forest
from hep2gan.training.loggers import (
    Dashboard,
    build_loggers,
    logger_session,
    missing_loggers,
    require_logger,
)
from hep2gan.training.loggers.identity import describe_run
from hep2gan.training.loggers.weights import log_weights
from hep2gan.training.preflight import preflight
from hep2gan.training.setup import RunSetup
from hep2gan.training.signals import RunStopped, SignalHandler
from hep2gan.training.trainer import fit
from hep2gan.training.waits import explain_lost_processes

log = logging.getLogger(__name__)


def train_run(
    config: TrainConfig, run: RunFolder, eval_batches: int | None = None
) -> dict[str, float]:
    """Train, test and record the run that `config` describes; resume it where it stopped.

    A finished run is not changed. One of several ranks does its share; a forest is left to the
    first of them.

    Args:
        config: The configuration of the run.
        run: The folder that it names.
        eval_batches: Batches of validation and test at most, to try the code; None for all cells.

    Returns:
        The flat metrics of the test; empty on ranks that have no share in a forest.

    Raises:
        RunStopped: A signal asked for it; ends the process with status 143 (130 after Ctrl-C). The
            run resumes when it is started again.
        Hep2ganError: The run cannot be started; lists everything that is wrong.
    """
    if config.model.baseline and not distributed.is_first_process():
        return {}
    silence_libraries()
    use_threads(config.trainer.threads)
    with explain_lost_processes(), SignalHandler().listening(watched=True) as stop:
        if not config.model.baseline:
            distributed.init_process_group(config.trainer)
        distributed.redirect_worker_output(run.path)
        distributed.check_same_config(config.to_plain())
        rank, ranks = distributed.rank(), distributed.world_size()
        if ranks > 1:
            log.info("rank %d of %d trains %s", rank, ranks, run.path)
        # Asked first: a finished run may lie where nothing can be written.
        is_done = run.done_with(config.to_plain())
        writes = rank == 0 and not (is_done and not missing_loggers(config.logger, run.path))
        with run_lock(run.path) if writes else nullcontext(), _log_what_is_saved(run):
            metrics = _train(config, run, stop, eval_batches)
        # Not after an error: the others may never come.
        distributed.destroy_process_group()
    return metrics


@contextmanager
def _log_what_is_saved(run: RunFolder) -> Iterator[None]:
    """Log after a stop what the run can resume from."""
    try:
        yield
    except RunStopped as stop:
        if distributed.rank() == 0:
            newest = next((path.name for path in list_checkpoints(run.checkpoints)), None)
            saved = f"{newest} is saved in {run.checkpoints}" if newest else "nothing is saved yet"
            log.info(
                "Stopped by %s: %s. The same command resumes the run.",
                signal.Signals(stop.signum).name,
                saved,
            )
        raise


def _train(
    config: TrainConfig, run: RunFolder, stop: SignalHandler, eval_batches: int | None
) -> dict[str, float]:
    if distributed.broadcast(run.done_with(config.to_plain())):
        run.check_config(config.to_plain())
        log.info("%s is finished already.%s", run.path, format_summary(run.metrics()))
        if distributed.rank() == 0:
            log_finished_run(config, run)
        return run.metrics()
    newest = latest_readable(run.checkpoints) if distributed.rank() == 0 else None
    newest = distributed.broadcast(newest)
    setup = RunSetup(config, run, newest, eval_batches=eval_batches)
    with distributed.rank_zero_first():
        open_run(setup)
    if setup.checkpoint:
        log.info("Resuming %s from %s", run.path, setup.checkpoint.name)
    metrics = _fit_and_test(setup, stop)
    if distributed.rank() == 0:
        atomic_write(run.done_file, "")
    log.info("%s\n\n%s", format_summary(metrics), run.path)
    return metrics


def open_run(setup: RunSetup) -> None:
    """Check and open what a run needs; rank 0 records config, store and split in its folder.

    Args:
        setup: The run.

    Raises:
        Hep2ganError: The run cannot start; lists everything that is wrong. Nothing is recorded
            then.
    """
    run = setup.run
    if distributed.rank() == 0:
        report = preflight(setup)
        report.require(str(run.path))
        for note in report.notes:
            log.warning("%s.", note[:1].upper() + note[1:])
        if run.changes_length(setup.config.to_plain()):
            log.info(extend_run(run, setup.config.trainer.max_epochs))
        run.save_config(setup.config.to_plain())
        if setup.initial_weights:
            log.info(setup.initial_weights.table())
        store = {"path": str(setup.store.path)} | _describe_store(setup.store)
        source = setup.config.source
        crops = setup.store.crop_geometry(source.crop_margin, source.crop_margin_fraction)
        store["crops"] = crops._asdict()
        write_json(run.store_file, store)
        if not (run.path / "split.csv").exists():
            setup.split.save(run.path, setup.store)
    log.info(
        "%d cells for training, %d for validation, %d for the test",
        *(len(getattr(setup.split, part)) for part in PARTS),
    )
    for sentence in measure_leakage(setup.store, setup.split).warnings():
        log.warning(sentence)


def _describe_store(store: Store) -> dict[str, Any]:
    """Describe the data that a run was trained on, independent of where it is stored."""
    return {
        "fingerprint": store.fingerprint,
        "size": store.size,
        "cells": len(store),
        "classes": list(store.classes),
        "target": store.target,
    }


def _origin_of_weights(setup: RunSetup) -> Any:
    """What a run took from another one, which a resumed run has on record."""
    if setup.initial_weights:
        return setup.initial_weights.record()
    return (read_provenance(setup.run.provenance_file).get("training") or {}).get("init_from")


def _fit_and_test(setup: RunSetup, stop: SignalHandler) -> dict[str, float]:
    """Fit and test the method, with the dashboard's run open meanwhile."""
    config, run, rank = setup.config, setup.run, distributed.rank()
    split, networks = setup.split, {} if config.model.baseline else setup.task.networks
    origin = provenance(
        data={"name": config.source.name} | _describe_store(setup.store),
        split={"kind": config.split.kind, "seed": config.split.seed}
        | {part: len(getattr(split, part)) for part in PARTS},
        parameters=parameter_counts(networks),
        training={
            "max_epochs": None if config.model.baseline else config.trainer.max_epochs,
            "init_from": _origin_of_weights(setup),
            "precision": None if config.model.baseline else config.trainer.precision,
        },
        evaluation={"precision": EVALUATION_PRECISION},
    )
    if rank == 0:
        write_provenance(run.path / "provenance.json", origin)
    start = setup.data.batches_done
    loggers = build_loggers(
        config, run.path, rank=rank, start=start, provenance=origin, monitor=setup.monitor
    )
    with logger_session(loggers):
        if config.model.baseline:
            metrics = fit_and_test_forest(config, run, setup.store, split)
        else:
            metrics = _train_networks(setup, loggers, stop)
        _log_outcome(config, run, loggers, metrics, origin)
    return metrics


def _train_networks(
    setup: RunSetup, loggers: Sequence[Dashboard], stop: SignalHandler
) -> dict[str, float]:
    """Train the networks, then test those of the best epoch, or of the last."""
    fit(setup, loggers, stop)
    tested, checkpoint = load_best_or_latest(setup.run.checkpoints)
    setup.task.load_state_dict(checkpoint["state_dict"])
    return evaluate_run(setup.task, setup.data, setup.run, setup.config, checkpoint=tested)


def _log_outcome(
    config: TrainConfig,
    run: RunFolder,
    loggers: Sequence[Dashboard],
    metrics: Mapping[str, float],
    origin: Mapping[str, Any],
) -> None:
    """Give the loggers what the test found, and the weights."""
    if not loggers:
        return
    figures = {path.stem: path for path in sorted(run.figures.glob("*.png"))}
    predictions = Predictions.load(run.predictions_file)
    for logger in loggers:
        logger.log_results(metrics, figures=figures, predictions=predictions)
        if metrics.get("test/constant_masks"):
            logger.log_alarm("constant_test_masks", "Every generated mask of the test is alike.")
    log_weights(config.logger, run, loggers, describe_run(config, origin), metrics)


def log_finished_run(config: TrainConfig, run: RunFolder) -> None:
    """Log a finished run to the loggers that do not hold it yet, from what its folder holds.

    Args:
        config: The configuration of this start, which names the loggers.
        run: The run's folder.

    Raises:
        Hep2ganError: A logger cannot start, or a file of the run is damaged.
    """
    names = missing_loggers(config.logger, run.path)
    if not names:
        return
    log.info("Logging its course and results to %s.", " and ".join(names))
    run.refuse_links()
    require_logger(config.logger)
    origin = read_provenance(run.provenance_file)
    validates = int((origin.get("split") or {}).get("validation") or 0) > 0
    has_monitor = validates and config.model.baseline is None
    monitor = monitor_name(config.model.classify) if has_monitor else None
    loggers = build_loggers(
        config, run.path, start=sys.maxsize, provenance=origin, monitor=monitor, late=True
    )
    with logger_session(loggers):
        _log_outcome(config, run, loggers, run.metrics(), origin)
