import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from hep2gan.errors import Hep2ganError
from hep2gan.metrics import evaluation as module
from hep2gan.metrics.baselines import inscribed_ellipses, otsu_masks
from hep2gan.metrics.boundary import mean_boundary
from hep2gan.metrics.evaluation import MetricRow, compute_test_metrics, metrics_table
from hep2gan.runs.predictions import Predictions

CLASSES = ("Homogeneous", "Speckled", "Golgi")
CELLS, SIDE = 30, 32


def sample_predictions(seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    crop_size = random.integers(54, 112, size=(CELLS, 2))
    truth = inscribed_ellipses(crop_size, (SIDE, SIDE), margin=8).astype(np.uint8)
    noise = random.integers(-80, 80, size=truth.shape)
    mask = np.clip(np.where(truth, 190, 60) + noise, 0, 255).astype(np.uint8)
    label = np.arange(CELLS) % 3
    probabilities = random.random((2, CELLS, 3)) + 0.4 * np.eye(3)[label]
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    return Predictions(
        classes=CLASSES,
        id=np.array([f"{n:05d}" for n in range(CELLS)]),
        specimen=np.full(CELLS, -1),
        label=label,
        image=mask,
        truth=truth,
        crop_size=crop_size,
        mask=mask,
        probabilities=probabilities[0].astype(np.float32),
        probabilities_true_mask=probabilities[1].astype(np.float32),
        mean_mask=truth.mean(axis=0).astype(np.float32),
        train_counts=np.array([4, 9, 5]),
    )


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_keys_in_order():
    shape = ["dice", "dice_pooled", "jaccard", "jaccard_pooled", "boundary_f1", "hd95"]
    kind = ["accuracy", "precision", "recall", "f1", "mean_class_accuracy"]
    assert list(compute_test_metrics(sample_predictions())) == [
        "test/cells",
        *[f"test/{key}" for key in shape],
        *[f"test/class/{name}/dice" for name in CLASSES],
        *[f"baseline/ellipse_{key}" for key in shape],
        *[f"baseline/mean_mask_{key}" for key in shape],
        *[f"baseline/otsu_{key}" for key in shape[:4]],
        *[f"test/{key}" for key in [*kind, "auroc", "calibration_error"]],
        *[f"test/{key}" for key in ["calibration_error_scaled", "aurc", "accuracy_true_mask"]],
        *[f"test/class/{name}/recall" for name in CLASSES],
        *[f"baseline/majority_{key}" for key in kind],
    ]


def test_masks():
    p = sample_predictions()
    found = compute_test_metrics(p)
    foreground, truth = p.mask >= 128, p.truth == 1
    each = np.array([dice(a, b) for a, b in zip(foreground, truth, strict=True)])
    assert found["test/cells"] == CELLS
    assert found["test/dice"] == pytest.approx(each.mean(), abs=1e-10)
    assert found["test/dice_pooled"] == pytest.approx(dice(foreground, truth))
    assert found["test/jaccard"] == pytest.approx((each / (2 - each)).mean(), abs=1e-10)
    assert found["test/class/Speckled/dice"] == pytest.approx(each[1::3].mean(), abs=1e-10)
    edge = mean_boundary(foreground, truth, p.crop_size)
    assert (found["test/boundary_f1"], found["test/hd95"]) == edge


def test_classes():
    p = sample_predictions()
    found = compute_test_metrics(p)
    predicted = p.probabilities.argmax(axis=1)
    assert found["test/accuracy"] == (predicted == p.label).mean()
    assert found["test/f1"] == pytest.approx(f1_score(p.label, predicted, average="macro"))
    assert found["test/auroc"] == pytest.approx(
        np.mean([roc_auc_score(p.label == k, p.probabilities[:, k]) for k in range(3)]), abs=1e-6
    )
    true_mask = p.probabilities_true_mask.argmax(axis=1)
    assert found["test/accuracy_true_mask"] == (true_mask == p.label).mean()
    assert found["test/accuracy_true_mask"] != found["test/accuracy"]
    recalls = recall_score(p.label, predicted, average=None)
    assert [found[f"test/class/{name}/recall"] for name in CLASSES] == pytest.approx(recalls)


def test_calibration_error_by_hand():
    # Labels by chance: some bins are too sure, some not sure enough, and no gap cancels another.
    p = replace(sample_predictions(), label=np.random.default_rng(3).integers(3, size=CELLS))
    confidence = p.probabilities.max(axis=1).astype(np.float64)
    right = p.probabilities.argmax(axis=1) == p.label
    bins = np.ceil(confidence * 15)
    gaps = [
        (bins == b).mean() * abs(right[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    assert compute_test_metrics(p)["test/calibration_error"] == pytest.approx(sum(gaps), abs=1e-12)


def test_baselines():
    p = sample_predictions()
    found = compute_test_metrics(p)
    truth = p.truth == 1
    ellipse = inscribed_ellipses(p.crop_size, (SIDE, SIDE), margin=10)
    each = [dice(a, b) for a, b in zip(ellipse, truth, strict=True)]
    assert found["baseline/ellipse_dice"] == pytest.approx(np.mean(each), abs=1e-10)
    constant = [dice(truth.mean(axis=0) >= 0.5, b) for b in truth]
    assert found["baseline/mean_mask_dice"] == pytest.approx(np.mean(constant), abs=1e-10)
    threshold = [dice(a, b) for a, b in zip(otsu_masks(p.image), truth, strict=True)]
    assert found["baseline/otsu_dice"] == pytest.approx(np.mean(threshold), abs=1e-10)
    assert found["baseline/majority_accuracy"] == 1 / 3
    assert found["baseline/majority_mean_class_accuracy"] == pytest.approx(1 / 3)
    assert found["baseline/majority_f1"] == pytest.approx(0.5 / 3)
    # The truth was made with a margin of 8 px.
    assert compute_test_metrics(p, margin=8)["baseline/ellipse_dice"] == 1.0
    assert compute_test_metrics(p, tolerance=100)["test/boundary_f1"] == 1.0


def test_majority_is_of_the_training_part():
    p = replace(sample_predictions(), label=np.zeros(CELLS, dtype=np.int64))
    assert compute_test_metrics(p)["baseline/majority_accuracy"] == 0.0


def test_what_is_missing_is_absent():
    p = replace(sample_predictions(), mask=None, mean_mask=None)
    assert not any("dice" in key or "hd95" in key for key in compute_test_metrics(p))
    p = replace(sample_predictions(), probabilities=None, probabilities_true_mask=None)
    assert not any("accuracy" in key or "recall" in key for key in compute_test_metrics(p))
    p = replace(
        sample_predictions(), mean_mask=None, train_counts=None, probabilities_true_mask=None
    )
    found = compute_test_metrics(p)
    assert not any("mean_mask" in key or "majority" in key for key in found)
    assert "test/accuracy_true_mask" not in found
    assert "baseline/ellipse_dice" in found
    one = replace(sample_predictions(), label=np.zeros(CELLS, dtype=np.int64))
    assert "test/auroc" not in compute_test_metrics(one)
    assert "test/class/Golgi/dice" not in compute_test_metrics(one)
    assert "test/class/Golgi/recall" not in compute_test_metrics(one)


def test_auroc_averages_over_the_classes_that_occur():
    p = replace(sample_predictions(), label=np.arange(CELLS) % 2)
    expected = [roc_auc_score(p.label == k, p.probabilities[:, k]) for k in range(2)]
    assert compute_test_metrics(p)["test/auroc"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_values_are_finite_floats_even_when_all_is_empty():
    p = sample_predictions()
    p = replace(p, mask=np.zeros_like(p.mask), crop_size=np.full((CELLS, 2), 15))
    found = compute_test_metrics(p)
    assert all(type(value) is float and np.isfinite(value) for value in found.values())
    assert found["test/dice"] == found["baseline/ellipse_dice"] == 0.0
    assert found["test/hd95"] == pytest.approx(15 * 2**0.5)


def test_chunks_change_no_digit(monkeypatch):
    whole = compute_test_metrics(sample_predictions())
    monkeypatch.setattr(module, "CHUNK", 7)
    assert compute_test_metrics(sample_predictions()) == whole


def test_refuses_inconsistent_predictions():
    with pytest.raises(Hep2ganError, match="label"):
        compute_test_metrics(replace(sample_predictions(), label=np.zeros(3, dtype=np.int64)))


def test_table():
    metrics = {
        "test/dice": 0.96,
        "baseline/ellipse_dice": 0.945,
        "baseline/mean_mask_dice": 0.937,
        "baseline/otsu_dice": 0.777,
        "test/accuracy": 0.98,
        "test/auroc": 0.99,
        "test/accuracy_true_mask": 0.97,
        "baseline/majority_accuracy": 0.2,
        "leakage/shared_specimens": 3.0,
    }
    assert metrics_table(metrics) == [
        MetricRow("dice", 0.96, {"ellipse": 0.945, "mean_mask": 0.937, "otsu": 0.777}),
        MetricRow("accuracy", 0.98, {"majority": 0.2}),
        MetricRow("auroc", 0.99, {}),
        MetricRow("accuracy_true_mask", 0.97, {"majority": 0.2}),
    ]


def test_without_true_masks_only_classes_are_scored():
    whole = sample_predictions()
    bare = replace(whole, truth=None, mean_mask=None, probabilities_true_mask=None)
    metrics = compute_test_metrics(bare)
    assert metrics == {
        key: value
        for key, value in compute_test_metrics(whole).items()
        if key in metrics and key != "test/accuracy_true_mask"
    }
    assert metrics["test/accuracy"] > 0
    assert not [key for key in metrics if re.search("dice|jaccard|hd95|boundary|mask|ellipse", key)]
    assert compute_test_metrics(replace(bare, probabilities=None)) == {"test/cells": CELLS}


def test_scores_by_intensity_by_hand():
    """Of four intermediate cells two are read right, of three positive ones all."""
    label = np.array([0, 0, 1, 1, 0, 1, 2, 0])
    guess = np.array([0, 1, 1, 2, 0, 1, 2, 1])
    names = ["intermediate"] * 4 + ["positive"] * 3 + [""]
    whole = sample_predictions()
    eight = {
        name: getattr(whole, name)[:8]
        for name in ("id", "specimen", "image", "truth", "crop_size", "mask")
    }
    one = replace(
        whole,
        **eight,
        label=label,
        probabilities=np.eye(3, dtype=np.float32)[guess],
        probabilities_true_mask=None,
        intensity=np.array(names),
    )
    metrics = compute_test_metrics(one)
    found = {key: value for key, value in metrics.items() if key.startswith("test/intensity/")}
    # Recall 1/2 and 1/2; F1 2/3, 2/4 and, of a class that is only guessed, 0.
    assert found == pytest.approx(
        {
            "test/intensity/intermediate/cells": 4,
            "test/intensity/intermediate/accuracy": 1 / 2,
            "test/intensity/intermediate/mean_class_accuracy": 1 / 2,
            "test/intensity/intermediate/f1": (2 / 3 + 1 / 2 + 0) / 3,
            "test/intensity/intermediate/dice": one.dice[:4].mean(),
            "test/intensity/positive/cells": 3,
            "test/intensity/positive/accuracy": 1,
            "test/intensity/positive/mean_class_accuracy": 1,
            "test/intensity/positive/f1": 1,
            "test/intensity/positive/dice": one.dice[4:7].mean(),
        }
    )
    silent = replace(one, mask=None, intensity=None, pattern=np.array(["a/b"] * 8))
    found = compute_test_metrics(silent)
    assert found["test/pattern/a/b/accuracy"] == found["test/accuracy"] == 5 / 8
    assert "test/pattern/a/b/dice" not in found
