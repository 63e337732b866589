"""The test of a run: predictions on disk, metrics beside the trivial baselines, figures."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor

from hep2gan.config import TrainConfig
from hep2gan.data.leakage import measure_leakage
from hep2gan.data.readers.source import DataSource
from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import silence_libraries
from hep2gan.metrics.baselines import BASELINES
from hep2gan.metrics.evaluation import compute_test_metrics, metrics_table
from hep2gan.metrics.segmentation import ConstantMasks
from hep2gan.metrics.validation import MeanDistances
from hep2gan.models.output import ModelOutput
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import SUBGROUPS, Predictions
from hep2gan.statistics.trust import fit_trust
from hep2gan.training import distributed
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.devices import channels_last_inference, full_float32
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.strategy import devices_and_strategy
from hep2gan.training.trainer import progress_bars

log = logging.getLogger(__name__)


def evaluate_run(
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    run: RunFolder,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    figures: bool = True,
) -> dict[str, float]:
    """Test `task` on the test part; write predictions.npz, metrics.json, trust.json and figures/.

    Several ranks share the work, and rank 0 writes; the results do not depend on their number.

    Args:
        task: The trained networks.
        data: The cells.
        run: The folder that is written to.
        config: The run's configuration, for devices and the margin of its crops.
        checkpoint: The checkpoint file that `task` has the weights of; None without one.
        figures: Whether figures are plotted.

    Returns:
        The flat metrics, on every rank.

    Raises:
        Hep2ganError: There are no test cells.
    """
    store, split = data.store, data.split
    batches = predict_test_cells(task, data, config)
    validation = _predict_validation(task, data, config)
    metrics: dict[str, float] = {}
    if distributed.rank() == 0:
        rows, outputs = concatenate_in_order(batches)
        distances = class_distances(task, outputs)
        predictions = replace(
            build_predictions(rows, outputs, store, split),
            distances=_array(distances),
            **_validation_arrays(task, validation, store),
        )
        extra = measure_leakage(store, split).metrics()
        if distances is not None:
            extra |= mixture_distances(distances, torch.from_numpy(predictions.label))
        metrics = write_results(predictions, run, config.source, figures=figures, extra=extra)
        save_trust(predictions, run, checkpoint)
    return cast(dict[str, float], distributed.broadcast(metrics))


def save_trust(predictions: Predictions, run: RunFolder, checkpoint: Path | None) -> None:
    """Write trust.json, or remove one of before where the method does not classify.

    Args:
        predictions: Predictions for the run's own test cells.
        run: The folder that is written to.
        checkpoint: The checkpoint file that was tested; None for a forest.
    """
    tested = None if checkpoint is None else run.name_checkpoint(checkpoint)
    trust = fit_trust(predictions, tested)
    if trust is None:
        run.trust_file.unlink(missing_ok=True)
    else:
        trust.save(run.trust_file)


def _predict_validation(
    task: SegmentationGuidedClassification, data: CellDataModule, config: TrainConfig
) -> list[tuple[Tensor, ModelOutput]]:
    """Run a classifier on the validation part as on the test part; empty without either."""
    if task.classifier is None or not len(data.split.validation):
        return []
    tested = data.split
    data.split = Split(tested.train, tested.test, tested.validation, {})
    try:
        return predict_test_cells(task, data, config)
    finally:
        data.split = tested


def _validation_arrays(
    task: SegmentationGuidedClassification,
    batches: list[tuple[Tensor, ModelOutput]],
    store: Store,
) -> dict[str, Any]:
    """The arrays of `Predictions` that are of the validation part."""
    if not batches:
        return {}
    rows, outputs = concatenate_in_order(batches)
    return {
        "validation_specimen": np.asarray(store.specimen[rows.numpy()], np.int64),
        "validation_label": np.asarray(store.label[rows.numpy()], np.int64),
        "validation_probabilities": _array(outputs.probabilities),
        "validation_distances": _array(class_distances(task, outputs)),
    }


@torch.inference_mode()
def class_distances(task: SegmentationGuidedClassification, outputs: ModelOutput) -> Tensor | None:
    """Compute the squared distances of features to the means of the mixture.

    Args:
        task: The trained networks.
        outputs: Their outputs for N cells.

    Returns:
        (N, K) on the CPU; None without a mixture.
    """
    mixture, features = task.mixture, outputs.features
    if mixture is None or features is None:
        return None
    return mixture.distances(features.float().to(mixture.means.device)).cpu()


def predict_test_cells(
    task: SegmentationGuidedClassification, data: CellDataModule, config: TrainConfig
) -> list[tuple[Tensor, ModelOutput]]:
    """Run the networks on the test part, in float32; several ranks share the work.

    Args:
        task: The trained networks, which become float32.
        data: The cells.
        config: The run's configuration, for devices.

    Returns:
        Rows of the store and the outputs for them, of each batch of all ranks.

    Raises:
        Hep2ganError: There are no test cells.
    """
    check_test_cells(data.split)
    if not data.store.has_masks:
        task.guidance.require_no_truth()
    silence_libraries()
    settings = config.trainer
    outputs_by_batch: list[tuple[Tensor, ModelOutput]] = []
    collect = LambdaCallback(
        on_test_batch_end=lambda trainer, module, outputs, *_: outputs_by_batch.append(
            (outputs["rows"], outputs["outputs"])
        )
    )
    trainer = L.Trainer(
        **devices_and_strategy(settings),
        # Whatever the training's was: a test tells what hep2gan-predict and an export will say.
        precision="32-true",
        logger=False,
        callbacks=[collect, *(bars := progress_bars())],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bars),
        use_distributed_sampler=False,
        inference_mode=True,
    )
    task.float()
    with (
        full_float32(),
        channels_last_inference(task.networks.values(), trainer.strategy.root_device),
    ):
        trainer.test(task, data, verbose=False)
    return list(chain.from_iterable(distributed.gather(outputs_by_batch)))


def concatenate_in_order(batches: list[tuple[Tensor, ModelOutput]]) -> tuple[Tensor, ModelOutput]:
    """Join batches of any ranks in the order of the store.

    Args:
        batches: Rows of the store and the outputs for them, of each batch.

    Returns:
        Rows of the store (N,), ascending, and the outputs for them.
    """
    rows = torch.cat([rows for rows, _ in batches])
    order = rows.argsort()
    columns = zip(*(outputs for _, outputs in batches), strict=True)
    return rows[order], ModelOutput(
        *(None if column[0] is None else torch.cat(column)[order] for column in columns)
    )


def mixture_distances(distances: Tensor, label: Tensor) -> dict[str, float]:
    """Compute gm/test/own_distance and gm/test/other_distance.

    Args:
        distances: Squared distances of the test cells to the means (N, K).
        label: Their classes (N,).

    Returns:
        The two metrics by name; empty for a single class.
    """
    if distances.shape[1] < 2:
        return {}
    metric = MeanDistances(sync_on_compute=False)
    metric.update(distances, label)
    return {f"gm/test/{name}": value for name, value in metric.compute().items()}


def check_test_cells(split: Split) -> None:
    """Check that a split has test cells.

    Args:
        split: The split.

    Raises:
        Hep2ganError: The test part is empty.
    """
    if len(split.test) == 0:
        raise Hep2ganError("the split has no test cells", "", "set split.test_fraction above 0")


def write_results(
    predictions: Predictions,
    run: RunFolder,
    source: DataSource,
    *,
    figures: bool = True,
    extra: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Write predictions.npz, metrics.json and figures/ of a test.

    Args:
        predictions: Predictions for the test cells.
        run: The folder that is written to.
        source: Settings of the data, for the margin of its crops.
        figures: Whether figures are plotted.
        extra: Metrics that the predictions alone do not give.

    Returns:
        The flat metrics.
    """
    margin = np.array([source.crop_margin, source.crop_margin_fraction])
    predictions = replace(predictions, crop_margin=margin)
    predictions.save(run.predictions_file)
    metrics = compute_test_metrics(
        predictions, margin=source.crop_margin, margin_share=source.crop_margin_fraction
    )
    epochs = run.max_epochs() if run.config_file.is_file() else None
    metrics |= constant_masks(predictions, epochs)
    metrics |= accuracy_interval(predictions)
    metrics |= extra or {}
    run.save_metrics(metrics)
    if figures:
        # Here, so that a training starts without the libraries that plot.
        from hep2gan.reports.figures.catalogue import write_figures

        write_figures(predictions, run.figures, run.curves_file)
    return metrics


def constant_masks(predictions: Predictions, epochs: int | None = None) -> dict[str, float]:
    """Measure whether all generated masks are empty, full or the same, and warn if they are.

    Args:
        predictions: Predictions for the test part.
        epochs: Epochs of the training, for the warning; None if they are not known.

    Returns:
        test/constant_masks: 1 where they are, else 0; empty without masks.
    """
    if predictions.mask is None:
        return {}
    variety = ConstantMasks(sync_on_compute=False)
    variety.update(torch.from_numpy(predictions.foreground).unsqueeze(1))
    constant = variety.compute()
    if constant is not None:
        log.warning(
            "Every generated mask of the test is %s: the generator has not learned to segment%s."
            " Train more epochs; if that changes nothing, lower optimizer.generator.lr or"
            " loss.alpha.",
            constant,
            f" in {pluralize(epochs, 'epoch')}" if epochs else "",
        )
    return {"test/constant_masks": float(constant is not None)}


def build_predictions(
    rows: Tensor, outputs: ModelOutput, store: Store, split: Split
) -> Predictions:
    """Join the outputs for `rows` with what the store holds of them.

    Args:
        rows: Rows of the store (N,).
        outputs: Outputs of the networks, or of a forest, for these rows.
        store: The packed cells.
        split: Their split, for the mean mask and the class counts of the training part.

    Returns:
        The predictions, ready to be saved.

    Raises:
        Hep2ganError: A file of the store was truncated since it was opened.
    """
    index = rows.numpy()
    store.check_not_truncated()
    masks = outputs.mask
    train = split.train
    return Predictions(
        classes=store.classes,
        id=np.asarray(store.id[index]),
        specimen=np.asarray(store.specimen[index], dtype=np.int64),
        label=np.asarray(store.label[index], dtype=np.int64),
        image=np.asarray(store.image[index]),
        truth=None if store.mask is None else np.asarray(store.mask[index]),
        crop_size=np.asarray(store.crop_size[index], dtype=np.int64),
        mask=None if masks is None else (masks[:, 0] * 255).round().to(torch.uint8).numpy(),
        probabilities=_array(outputs.probabilities),
        probabilities_true_mask=_array(outputs.probabilities_true_mask),
        features=_array(outputs.features),
        mean_mask=mean_mask(store, train),
        intensity=store.intensity_names(index),
        pattern=store.pattern_names(index),
        block=None if (block := split.blocks(store)) is None else block[index],
        train_counts=np.bincount(store.label[train], minlength=len(store.classes)).astype(np.int64),
        train_specimens=_known_specimens(store, train),
    )


def _known_specimens(store: Store, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """The specimens of these cells; None where any is unknown, or there are no cells."""
    found = np.unique(np.asarray(store.specimen[rows], np.int64))
    return found if len(found) and found[0] >= 0 else None


def _array(tensor: Tensor | None) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None":
    return None if tensor is None else tensor.float().numpy()


def mean_mask(store: Store, rows: np.ndarray) -> np.ndarray | None:
    """Average masks, read in blocks so that memory does not grow with their number.

    Args:
        store: The packed cells.
        rows: Rows of the store (N,).

    Returns:
        Share of masks that cover each pixel, float32 (H, W); None without masks.

    Raises:
        Hep2ganError: A file of the store was truncated since it was opened.
    """
    if store.mask is None:
        return None
    total = np.zeros((store.size, store.size), np.int64)
    for start in range(0, len(rows), 1024):
        store.check_not_truncated()
        total += store.mask[rows[start : start + 1024]].sum(axis=0, dtype=np.int64)
    return (total / max(len(rows), 1)).astype(np.float32)


def accuracy_interval(predictions: Predictions) -> dict[str, float]:
    """Compute 95 % intervals of accuracy and mean class accuracy.

    Args:
        predictions: Predictions for the test cells.

    Returns:
        `test/accuracy_specimens_low` and `_high` where specimens are known, else `_blocks_` where
        blocks of ids were kept together; `test/accuracy_cells_low` and `_high`, which is Wilson's
        and takes cells for independent; the same of `mean_class_accuracy`; `test/specimens` or
        `test/blocks`, their number. What the units do not determine is absent. Empty where there is
        no accuracy.
    """
    # Here, so that a training starts without them.
    from hep2gan.reports.results import TestCells
    from hep2gan.reports.tables.estimates import make_estimates

    cells = TestCells.from_predictions(predictions, outlines=False)
    estimates = make_estimates([cells])
    if "accuracy" not in estimates:
        return {}
    count = float(len(np.unique(cells.units(cells.unit))))
    counts = {} if cells.unit == "cell" else {f"test/{cells.unit}s": count}
    return counts | {
        f"test/{measure}_{unit}s_{end}": value
        for measure in ("accuracy", "mean_class_accuracy")
        for unit, interval in estimates[measure].intervals.items()
        if interval is not None
        for end, value in interval._asdict().items()
    }


def format_summary(metrics: Mapping[str, float]) -> str:
    """Format the results as a table: each metric beside the trivial baselines on the same cells.

    Args:
        metrics: The flat metrics of the test.

    Returns:
        The table as text of several lines.
    """
    lines = ["", f"{'on the test cells':<28}{'run':>8}   trivial baselines on the same cells"]
    for row in metrics_table(metrics):
        if label := _label(row.metric):
            beside = [f"{BASELINES[name]} {value:.3f}" for name, value in row.baselines.items()]
            lines.append(f"{label:<28}{row.value:>8.3f}   {', '.join(beside)}".rstrip())
    return "\n".join(lines)


def _label(metric: str) -> str:
    subgroup = metric.partition("/")[2].removesuffix("/accuracy")
    is_of_subgroup = metric in (f"{kind}/{subgroup}/accuracy" for kind in SUBGROUPS)
    return f"accuracy, {subgroup}" if is_of_subgroup else _LABELS.get(metric, "")


_LABELS = {
    "dice": "Dice",
    "dice_pooled": "Dice, pooled",
    "jaccard": "Jaccard",
    "jaccard_pooled": "Jaccard, pooled",
    "boundary_f1": "boundary F1",
    "hd95": "95 % Hausdorff distance, px",
    "accuracy": "accuracy",
    "accuracy_true_mask": "accuracy with true masks",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mean_class_accuracy": "mean class accuracy",
    "auroc": "AUROC",
}
