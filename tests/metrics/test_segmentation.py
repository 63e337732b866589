import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.segmentation import SegmentationMetrics


def sample_masks(images: int, seed: int = 0, side: int = 9):
    """Soft predictions and true masks that overlap by chance; one of them empty in both."""
    generator = torch.Generator().manual_seed(seed)
    probability = torch.rand(images, 1, side, side, generator=generator)
    truth = (torch.rand(images, 1, side, side, generator=generator) < 0.4).float()
    probability[0], truth[0] = 0.1, 0
    return probability, truth


CLASSES = ("Homogeneous", "Golgi", "Absent")


def scores(probability, truth, batch: int | None = None, label=None):
    metric = SegmentationMetrics(CLASSES)
    label = torch.zeros(len(truth), dtype=torch.int64) if label is None else label
    for start in range(0, len(truth), batch or len(truth)):
        rows = slice(start, start + (batch or len(truth)))
        metric.update(probability[rows], truth[rows], label[rows])
    return metric.compute()


def test_by_hand():
    # Image 1: |A| = 2, |B| = 3, |A∩B| = 1. Image 2: |A| = |B| = |A∩B| = 1.
    probability = torch.tensor([[[0.9, 0.5, 0.2, 0.1]], [[0.0, 0.0, 0.0, 1.0]]])
    truth = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 1]]])
    found = scores(probability, truth)
    overall = ["dice", "dice_pooled", "jaccard", "jaccard_pooled"]
    assert list(found) == [*overall, "dice/Homogeneous"]
    assert found["dice"] == pytest.approx((2 / 5 + 1) / 2, abs=1e-11)
    assert found["jaccard"] == pytest.approx((1 / 4 + 1) / 2, abs=1e-11)
    assert found["dice_pooled"] == 2 * 2 / (3 + 4)
    assert found["jaccard_pooled"] == 2 / 5


def test_dice_by_class_by_hand():
    # Golgi: Dice 2/5 and 1; Homogeneous: nothing in common.
    probability = torch.tensor([[[0.9, 0.5, 0.2, 0.1]], [[0.0, 0, 0, 1]], [[1.0, 0, 0, 0]]])
    truth = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 1]], [[0, 1, 0, 0]]])
    found = scores(probability, truth, label=torch.tensor([1, 1, 0]))
    assert found["dice/Golgi"] == pytest.approx((2 / 5 + 1) / 2, abs=1e-11)
    assert found["dice/Homogeneous"] == 0
    assert "dice/Absent" not in found
    assert found["dice"] == pytest.approx((2 / 5 + 1 + 0) / 3, abs=1e-11)


def test_against_sklearn():
    probability, truth = sample_masks(12)
    a, b = (probability >= 0.5).numpy().reshape(12, -1), truth.bool().numpy().reshape(12, -1)
    found = scores(probability, truth)
    dice = [f1_score(y, x, zero_division=1.0) for x, y in zip(a, b, strict=True)]
    jaccard = [jaccard_score(y, x, zero_division=1.0) for x, y in zip(a, b, strict=True)]
    assert found["dice"] == pytest.approx(np.mean(dice), abs=1e-11)
    assert found["jaccard"] == pytest.approx(np.mean(jaccard), abs=1e-11)
    assert found["dice_pooled"] == pytest.approx(f1_score(b.ravel(), a.ravel()), abs=1e-15)
    assert found["jaccard_pooled"] == pytest.approx(jaccard_score(b.ravel(), a.ravel()), abs=1e-15)


def test_pooled_jaccard_follows_from_pooled_dice():
    found = scores(*sample_masks(7, seed=3))
    assert found["jaccard_pooled"] == pytest.approx(
        found["dice_pooled"] / (2 - found["dice_pooled"]), abs=1e-15
    )


def test_background_does_not_count():
    probability, truth = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    probability[0, 0, 0] = truth[0, 9, 9] = 1
    assert set(scores(probability, truth).values()) == {0.0}


@pytest.mark.parametrize(("foreground", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_empty_truth(foreground, expected):
    found = scores(torch.full((2, 3, 3), foreground), torch.zeros(2, 3, 3))
    assert set(found.values()) == {expected}


def test_half_is_foreground():
    assert scores(torch.full((1, 2, 2), 0.5), torch.ones(1, 2, 2))["dice"] == 1
    assert scores(torch.full((1, 2, 2), 0.4999), torch.ones(1, 2, 2))["dice"] == 0


@pytest.mark.parametrize("batch", [1, 5, 16])
def test_batches_change_no_bit(batch):
    probability, truth = sample_masks(33)
    label = torch.arange(33) % 3
    whole = scores(probability, truth, label=label)
    assert scores(probability, truth, batch, label) == whole
    order = torch.randperm(33, generator=torch.Generator().manual_seed(1))
    assert scores(probability[order], truth[order], batch, label[order]) == whole


def test_shapes_and_types_of_masks():
    probability, truth = sample_masks(4)
    expected = scores(probability, truth)
    assert scores(probability[:, 0], truth[:, 0].to(torch.uint8)) == expected
    assert scores(probability >= 0.5, truth.bool()) == expected


def test_large_images_do_not_overflow():
    ones = torch.ones(1, 2048, 2048, dtype=torch.bool)
    assert set(scores(ones, ones).values()) == {1.0}


def test_survives_half_precision_and_reset():
    probability, truth = sample_masks(6)
    metric = SegmentationMetrics(CLASSES).half()
    metric.update(probability, truth, torch.zeros(6, dtype=torch.int64))
    assert metric.compute() == scores(probability, truth)
    metric.reset()
    metric.update(torch.ones(1, 2, 2), torch.ones(1, 2, 2), torch.tensor([1]))
    assert metric.compute()["dice_pooled"] == 1


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_refuses():
    with pytest.raises(Hep2ganError, match="no masks were scored"):
        SegmentationMetrics(CLASSES).compute()
    with pytest.raises(Hep2ganError, match="true masks"):
        scores(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(Hep2ganError, match="2 channels"):
        scores(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    with pytest.raises(Hep2ganError, match="uint8"):
        scores(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4))
