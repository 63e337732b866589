import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_recall

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.classification import ClassificationMetrics, one_vs_rest_auroc

NAMES = ("Hom", "Spe", "Nuc", "Cen", "Num", "Gol")
OVERALL = ("accuracy", "precision", "recall", "f1", "mean_class_accuracy")


def sample_scores(cells: int = 200, classes: int = 6, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (cells,), generator=generator)
    logits = torch.randn(cells, classes, generator=generator)
    logits[torch.arange(cells), label] += 1.2
    return logits.softmax(dim=1), label


def one_hot(predicted, classes):
    """Class scores whose largest is the named class."""
    return torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()


def test_by_hand():
    # True 0: 3 cells, 2 right, one taken for 1. True 1: 1 cell, right.
    metric = ClassificationMetrics(NAMES[:2])
    metric.update(one_hot([0, 0, 1, 1], 2), torch.tensor([0, 0, 0, 1]))
    found = metric.compute()
    assert list(found) == [*OVERALL, "accuracy/Hom", "accuracy/Spe"]
    assert found["accuracy"] == 3 / 4
    assert found["precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["mean_class_accuracy"] == found["recall"]
    assert (found["accuracy/Hom"], found["accuracy/Spe"]) == (2 / 3, 1)


@pytest.mark.parametrize("batch", [7, 200])
def test_against_sklearn(batch):
    probabilities, label = sample_scores()
    metric = ClassificationMetrics(NAMES[:6])
    for start in range(0, 200, batch):
        metric.update(probabilities[start : start + batch], label[start : start + batch])
    predicted = probabilities.argmax(dim=1)
    precision, recall, f1, _ = precision_recall_fscore_support(label, predicted, average="macro")
    expected = {
        "accuracy": float((predicted == label).double().mean()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "mean_class_accuracy": balanced_accuracy_score(label, predicted),
    }
    recalls = recall_score(label, predicted, average=None)
    expected |= {f"accuracy/{name}": r for name, r in zip(NAMES, recalls, strict=True)}
    assert metric.compute() == pytest.approx(expected, abs=1e-14)
    assert np.array_equal(metric.confusion, confusion_matrix(label, predicted))


def test_f1_is_the_mean_of_class_f1_not_the_harmonic_mean():
    metric = ClassificationMetrics(NAMES[:2])
    metric.update(one_hot([0, 0, 1, 1], 2), torch.tensor([0, 0, 0, 1]))
    found = metric.compute()
    p, r = found["precision"], found["recall"]
    assert found["f1"] != pytest.approx(2 * p * r / (p + r), abs=1e-3)


def test_class_absent_from_the_truth():
    # Class 2 is predicted once, class 3 neither occurs nor is predicted.
    predicted, label = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
    metric = ClassificationMetrics(NAMES[:4])
    metric.update(one_hot(predicted.tolist(), 4), label)
    found = metric.compute()
    assert found["mean_class_accuracy"] == (1 + 1 / 2) / 2
    assert [name for name in found if "/" in name] == ["accuracy/Hom", "accuracy/Spe"]
    assert found["recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found["recall"] == pytest.approx(float(multiclass_recall(predicted, label, 4)))
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, predicted, average="macro", zero_division=0
    )
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(
        (precision, recall, f1)
    )


def test_logits_and_probabilities_agree():
    probabilities, label = sample_scores()
    one, other = ClassificationMetrics(NAMES[:6]), ClassificationMetrics(NAMES[:6])
    one.update(probabilities, label)
    other.update(probabilities.log() * 3 - 7, label)
    assert one.compute() == other.compute()


def test_accuracy_has_all_its_digits():
    metric = ClassificationMetrics(NAMES[:2])
    metric.update(one_hot([0] * 1335 + [1] * 25, 2), torch.zeros(1360, dtype=torch.int64))
    assert metric.compute()["accuracy"] == 1335 / 1360


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_refuses():
    metric = ClassificationMetrics(NAMES[:3])
    with pytest.raises(Hep2ganError, match="no cells were classified"):
        metric.compute()
    with pytest.raises(Hep2ganError, match=r"\(B, K\) = \(2, 3\)"):
        metric.update(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises((ValueError, RuntimeError)):
        metric.update(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_auroc_against_sklearn():
    probabilities, label = sample_scores()
    each = [roc_auc_score(label == k, probabilities[:, k]) for k in range(6)]
    assert one_vs_rest_auroc(probabilities, label).numpy() == pytest.approx(each, abs=1e-6)


def test_auroc_by_hand():
    # Of the 2 x 2 pairs (positive, negative), one is a tie and one in the wrong order.
    positive = torch.tensor([0.9, 0.4, 0.4, 0.1])
    probabilities = torch.stack([1 - positive, positive], dim=1)
    found = one_vs_rest_auroc(probabilities, torch.tensor([1, 0, 1, 0]))
    assert found.tolist() == pytest.approx([3.5 / 4, 3.5 / 4])


def test_auroc_of_absent_classes_is_undefined():
    probabilities, label = sample_scores(classes=3)
    two = one_vs_rest_auroc(probabilities[label < 2], label[label < 2])
    assert torch.isnan(two).tolist() == [False, False, True]
    assert torch.isnan(one_vs_rest_auroc(probabilities[label == 1], label[label == 1])).all()


def test_auroc_does_not_take_rounded_probabilities_for_logits():
    # Squashed through a sigmoid, 1e-9 and 2e-9 would tie.
    positive = torch.tensor([1e-9, 2e-9, 1 + 1e-6])
    probabilities = torch.stack([1 - positive, positive], dim=1)
    assert one_vs_rest_auroc(probabilities, torch.tensor([0, 1, 1]))[1] == 1
