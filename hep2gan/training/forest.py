"""A run without networks: texture features and a random forest, in the folder of any other run."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write, progress_bar, silence_libraries
from hep2gan.models.baselines.forest import ForestSettings, class_probabilities
from hep2gan.models.output import ModelOutput
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import run_lock
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import provenance, write_provenance
from hep2gan.training.evaluation import (
    build_predictions,
    check_test_cells,
    figure_files,
    format_summary,
    write_results,
)
from hep2gan.training.loggers import build_logger, log_results, logger_session
from hep2gan.training.setup import open_run_setup

log = logging.getLogger(__name__)
Config = Mapping[str, Any]


def train_forest(config: Config) -> dict[str, float]:
    """Grow, test and record the forest that `config` describes; an unfinished one is grown anew.

    A finished run is left alone and its metrics are returned. Of several ranks the first does it
    alone. No forest is kept: the same cells and seed grow the same one again.
    """
    if not is_first_rank():
        return {}
    silence_libraries()
    run = RunFolder.from_config(config)
    if run.done:
        run.check_config(config)
        log.info("%s is finished already.%s", run.path, format_summary(run.metrics()))
        return run.metrics()
    with run_lock(run.path):
        return _train(config, run)


def _train(config: Config, run: RunFolder) -> dict[str, float]:
    preparation = open_run_setup(config, run, None)
    store, split = preparation.store, preparation.split
    assert store is not None
    assert split is not None
    origin = provenance(config, store, split, {})
    write_provenance(run.path / "provenance.json", origin)
    logger = build_logger(config, run.path, provenance=origin)
    with logger_session(logger):
        metrics = fit_and_test(config, run, store, split)
        predictions = Predictions.load(run.predictions_file) if logger else None
        log_results(logger, metrics, figure_files(run.figures), predictions)
    atomic_write(run.done_file, "")
    log.info("%s\n\n%s", format_summary(metrics), run.path)
    return metrics


def is_first_rank() -> bool:
    """Whether this process is the only one of the run, or the first of those torchrun started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def fit_and_test(
    config: Config, run: RunFolder, store: Store, split: Split, *, figures: bool = True
) -> dict[str, float]:
    """Grow the forest on the training part; write predictions, metrics and figures of the test."""
    check_test_cells(split)
    settings = ForestSettings(**config["forest"])
    train, test = split.train, split.test
    features = settings.extract(_images(store, np.concatenate([train, test])))
    known, new = features[: len(train)], features[len(train) :]
    log.info("Growing %d trees on %d features", settings.trees, features.shape[1])
    forest = settings.fit(known, store.label[train], config["seed"], torch.get_num_threads())
    voted = torch.from_numpy(class_probabilities(forest, new, len(store.classes)))
    outputs = ModelOutput(None, voted, None, torch.from_numpy(new))
    predictions = build_predictions(torch.from_numpy(test), outputs, store, split)
    return write_results(predictions, store, split, run, config["data"], figures=figures)


def _images(store: Store, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float32]]:
    with progress_bar("describing") as bar:
        for done, row in enumerate(rows):
            yield store.crop(int(row))
            bar(done + 1, len(rows))


def evaluate_forest(
    run: RunFolder, checkpoint: str | None, store: str | None, figures: bool
) -> dict[str, float]:
    """Grow the forest of a run again and test it again.

    store: another place of the packed cells; None for that of the training. Raises Hep2ganError
    for a checkpoint, which forests have none of, and when the run or its store cannot be read.
    """
    if checkpoint:
        raise Hep2ganError(
            f"{run.path} is a forest, checkpoint is {checkpoint}",
            "a forest has no checkpoints: it is grown again from the cells",
            "leave checkpoint out",
        )
    cells = Store.open(Path(store) if store else run.store_info().path)
    split = Split.load(run.path, cells)
    return fit_and_test(run.config(), run, cells, split, figures=figures)
