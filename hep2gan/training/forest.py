"""The method without networks: texture features and a random forest."""

import logging
from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from hep2gan.config import TrainConfig
from hep2gan.data.leakage import measure_leakage
from hep2gan.data.prepare import open_store_of_run
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import progress_bar
from hep2gan.models.baselines.forest import class_probabilities
from hep2gan.models.output import ModelOutput
from hep2gan.runs.folder import RunFolder
from hep2gan.training.evaluation import (
    build_predictions,
    check_test_cells,
    save_trust,
    write_results,
)

log = logging.getLogger(__name__)


def fit_and_test_forest(
    config: TrainConfig, run: RunFolder, store: Store, split: Split, *, figures: bool = True
) -> dict[str, float]:
    """Grow a forest on the training part; write predictions, metrics and figures of the test part.

    No forest is kept: the same cells and seed grow the same one again.

    Args:
        config: The run's configuration.
        run: The folder that is written to.
        store: The packed cells.
        split: Their split.
        figures: Whether figures are plotted.

    Returns:
        The flat metrics.

    Raises:
        Hep2ganError: There are no test cells.
    """
    check_test_cells(split)
    outputs = forest_outputs(config, (store, split.train), (store, split.test))
    predictions = build_predictions(torch.from_numpy(split.test), outputs, store, split)
    leakage = measure_leakage(store, split).metrics()
    metrics = write_results(predictions, run, config.source, figures=figures, extra=leakage)
    save_trust(predictions, run, None)
    return metrics


def forest_outputs(
    config: TrainConfig,
    training: tuple[Store, npt.NDArray[np.int64]],
    tested: tuple[Store, npt.NDArray[np.int64]],
) -> ModelOutput:
    """Grow a forest on some cells and classify others.

    Args:
        config: The run's configuration.
        training: Packed cells, and the rows to grow the forest on.
        tested: Packed cells, and the rows to classify.

    Returns:
        Probabilities and features of the classified cells.

    Raises:
        Hep2ganError: The method has no forest.
    """
    settings = config.model.baseline
    if settings is None:
        raise Hep2ganError(f"{config.name} has no forest", "", "set model.baseline")
    (store, train), (other, rows) = training, tested
    features = settings.extract(chain(_images(store, train), _images(other, rows)))
    train_features, test_features = features[: len(train)], features[len(train) :]
    log.info("Growing %d trees on %d features", settings.trees, features.shape[1])
    forest = settings.fit(train_features, store.label[train], config.seed, torch.get_num_threads())
    votes = torch.from_numpy(class_probabilities(forest, test_features, len(store.classes)))
    return ModelOutput(None, votes, None, torch.from_numpy(test_features))


def _images(store: Store, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.float32]]:
    with progress_bar("describing") as bar:
        for number, row in enumerate(rows, 1):
            yield store.crop(int(row))
            bar(number, len(rows))


def evaluate_forest(
    run: RunFolder,
    config: TrainConfig,
    checkpoint: str | None,
    store: str | None,
    figures: bool,
) -> dict[str, float]:
    """Grow the forest of a run again and test it again.

    Args:
        run: A finished run.
        config: Its configuration.
        checkpoint: None; a forest has no checkpoints.
        store: Another place of the packed cells; None for that of the training.
        figures: Whether figures are plotted.

    Returns:
        The flat metrics.

    Raises:
        Hep2ganError: A checkpoint is given, or the run or its store cannot be read.
    """
    refuse_checkpoint(run, checkpoint)
    cells = open_store_of_run(run, store)
    return fit_and_test_forest(config, run, cells, Split.load(run.path, cells), figures=figures)


def refuse_checkpoint(run: RunFolder, checkpoint: str | None) -> None:
    """Check that no checkpoint is given with a forest.

    Args:
        run: The run of a forest.
        checkpoint: The checkpoint that the command names, or None.

    Raises:
        Hep2ganError: There is one.
    """
    if checkpoint:
        raise Hep2ganError(
            f"{run.path} is a forest, checkpoint is {checkpoint}",
            "a forest has no checkpoints: it is grown again from the cells",
            "leave checkpoint out",
        )
