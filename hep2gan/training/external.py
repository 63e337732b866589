"""Test a finished run on all cells of another labelled set, into external/NAME of its folder."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hep2gan.config import TrainConfig
from hep2gan.data.external import ExternalSet, external_set
from hep2gan.data.prepare import open_store, open_store_of_run, pack_store
from hep2gan.data.readers.source import DataSource
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_folder, file_lock
from hep2gan.models.output import ModelOutput
from hep2gan.runs.external import ExternalTest
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions
from hep2gan.training.evaluation import (
    build_predictions,
    concatenate_in_order,
    predict_test_cells,
    write_results,
)
from hep2gan.training.forest import forest_outputs
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.setup import build_data

log = logging.getLogger(__name__)

Predict = Callable[[Store, Split], tuple[Tensor, ModelOutput]]
"""Returns the rows of the test part and the outputs for them."""
WriteBeside = Callable[[Path], None]
"""Writes further results into the folder of a test."""

_RULE = (
    "The score is of the tested cells alone. A prediction is the most probable of all classes of "
    "the run: one into a class that the set lacks is wrong."
)


def check_finished(run: RunFolder) -> None:
    """Check that a run is finished.

    Args:
        run: The run.

    Raises:
        Hep2ganError: It is not.
    """
    if not run.done:
        raise Hep2ganError(
            f"run {run.path} is not finished",
            "a test on another set is of a finished run, which holds DONE",
            "start the same hep2gan-train again, which goes on with it",
        )


def open_training(run: RunFolder, place: str | None) -> tuple[Store, Split]:
    """Open the cells that a run was trained on.

    Args:
        run: The run.
        place: Another place of its store; None for where it was then.

    Returns:
        The store and the split of the run.

    Raises:
        Hep2ganError: The store is missing, damaged or another one.
    """
    store = open_store_of_run(run, place)
    return store, Split.load(run.path, store)


def find_training(run: RunFolder, place: str | None) -> tuple[Store, Split] | None:
    """Open the cells that a run was trained on, if they are still there; else warn.

    Args:
        run: The run.
        place: Another place of its store, which must be there then; None for where it was.

    Returns:
        As `open_training`; None if the store is gone.

    Raises:
        Hep2ganError: There is no store of the run at `place`, or the store is damaged.
    """
    if place or run.store_info().path.exists():
        return open_training(run, place)
    log.warning(
        "Cells that are in training as well cannot be found: there is no store at %s. Name it with "
        "store=FOLDER to look for them.",
        run.store_info().path.absolute(),
    )
    return None


def network_predictor(task: SegmentationGuidedClassification, config: TrainConfig) -> Predict:
    """Classify cells with trained networks.

    Args:
        task: The networks.
        config: The run's configuration, for a single device.

    Returns:
        Function from a store and a split to the outputs for its test part.
    """
    # Workers would open the store again, with its own classes.
    trainer = config.trainer.model_copy(update={"num_workers": 0})
    here = config.model_copy(update={"trainer": trainer})
    return lambda store, split: concatenate_in_order(
        predict_test_cells(task, build_data(here, store, split), here)
    )


def forest_predictor(config: TrainConfig, store: Store, split: Split) -> Predict:
    """Classify cells with the forest of a run, which is grown again.

    Args:
        config: The run's configuration.
        store: The run's store.
        split: The run's split.

    Returns:
        As `network_predictor`.
    """
    return lambda other, tested: (
        torch.from_numpy(tested.test),
        forest_outputs(config, (store, split.train), (other, tested.test)),
    )


def open_external(source: DataSource, run: RunFolder, workers: int | None = None) -> Store:
    """Open another set at the image size of a run; it is packed first if its raw cells are named.

    Args:
        source: Settings of the set.
        run: The run.
        workers: Processes that pack; None for one per core.

    Returns:
        The store.

    Raises:
        Hep2ganError: It is the run's own set or of another size; as `pack_store` and `open_store`.
    """
    info = run.store_info()
    if source.size != info.size:
        raise Hep2ganError(
            f"data.size is {source.size}, {run.path} has images of {info.size} px",
            "networks are tested at the size that they were trained with",
            "leave data.size out",
        )
    if Path(source.store).resolve() == info.path.resolve():
        raise Hep2ganError(
            f"{source.store} is the store that {run.path} was trained on",
            "a set to test on has a store of its own",
            f"leave data.store and data.name out; hep2gan-evaluate {run.path} tests on the run's"
            " own test cells",
        )
    # A set that is packed already from the same files is opened at once.
    raw = source.is_generated or source.root not in (None, "???")
    store = pack_store(source, workers) if raw else open_store(source)
    if store.fingerprint == run.split_summary().get("settings", {}).get("fingerprint"):
        raise Hep2ganError(
            f"{store.path} holds the cells that {run.path} was trained on",
            "a test on another set needs other cells",
            f"name another set; hep2gan-evaluate {run.path} tests on the run's own test cells",
        )
    return store.for_target(info.target)


def evaluate_external(
    run: RunFolder,
    source: DataSource,
    store: Store,
    name: str,
    predict: Predict,
    *,
    classes: Mapping[str, str] | None = None,
    training: tuple[Store, Split] | None = None,
    checkpoint: str | None = None,
    figures: bool = True,
    beside: Callable[[ExternalSet, Predictions], WriteBeside] | None = None,
) -> tuple[ExternalSet, dict[str, float]]:
    """Test a run on all cells of another set and write external/NAME, completely or not at all.

    Args:
        run: A finished run.
        source: Settings of the set.
        store: The set, as from `open_external`.
        name: Name of the test; the same set under this name is tested anew.
        predict: Classifies the test part of a split of a store.
        classes: Classes of the set with the run's classes that they are, where names do not match.
        training: Store and split of the run, to find cells that are in both; None if not available.
        checkpoint: Name of the checkpoint file; None for a forest.
        figures: Whether figures are plotted.
        beside: Tests more of the set, and returns what writes that beside the rest; None for the
            cells alone.

    Returns:
        What was tested, and the flat metrics.

    Raises:
        Hep2ganError: No class has a partner, no cell is left, or the name is that of a test on
            another set.
    """
    folder = run.external / name
    if folder.exists() and (before := ExternalTest.load(folder)).fingerprint != store.fingerprint:
        raise Hep2ganError(
            f"{folder} is a test on other cells ({before.store}, {before.tested:,} cells)",
            "a name stands for one set",
            f"choose another as=NAME, or delete {folder}",
        )
    own = Predictions.load(run.predictions_file)
    used = None
    if training is not None:
        own_store, own_split = training
        used = own_store, np.concatenate([own_split.train, own_split.validation])
    cells = external_set(store, own.classes, classes, used)
    none = np.empty(0, np.int64)
    split = Split(none, none, cells.rows, {})
    rows, outputs = predict(cells.store, split)
    predictions = replace(
        build_predictions(rows, outputs, cells.store, split),
        mean_mask=own.mean_mask,
        train_counts=own.train_counts,
    )
    extra: dict[str, float] = {}
    if cells.identical is not None:
        extra["leakage/identical_cells_left_out"] = float(len(cells.identical))
    facts = ExternalTest(
        store=str(store.path),
        data=source.name,
        fingerprint=store.fingerprint,
        synthetic=source.is_generated,
        checkpoint=checkpoint,
        cells=len(store),
        tested=len(rows),
        classes=cells.classes,
        left_out=cells.left_out,
        absent=list(cells.absent),
        identical=None if cells.identical is None else list(cells.identical),
        rule=_RULE,
    )
    write_beside = beside(cells, predictions) if beside else None
    run.external.mkdir(exist_ok=True)
    with file_lock(folder), atomic_folder(folder) as staged:
        metrics = write_results(
            predictions, RunFolder(staged), source, figures=figures, extra=extra
        )
        if write_beside:
            write_beside(staged)
        facts.save(staged)
    return cells, metrics
