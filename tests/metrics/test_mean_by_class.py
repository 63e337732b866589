import math

import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.segmentation import SegmentationMetrics, image_dice
from hep2gan.metrics.validation import MeanByClass, correct


def test_accuracy_by_hand():
    # Class 0: 3 cells, 2 right. Class 1: 1 cell, right. Class 2: none, though it is named once.
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.2, 0.7, 0]])
    label = torch.tensor([0, 0, 0, 1])
    metric = MeanByClass(3)
    metric.update(correct(probabilities, label), label)
    first, second, third = metric.compute()
    assert first == pytest.approx(2 / 3, abs=1e-11)
    assert second == 1
    assert math.isnan(third)


def test_dice_by_hand():
    # Class 1: Dice 2/5 and 1; class 0: nothing in common.
    probability = torch.tensor([[[0.9, 0.5, 0.2, 0.1]], [[0.0, 0, 0, 1]], [[1.0, 0, 0, 0]]])
    truth = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 1]], [[0, 1, 0, 0]]])
    metric = MeanByClass(2)
    metric.update(image_dice(probability, truth), torch.tensor([1, 1, 0]))
    assert metric.compute() == pytest.approx([0, (2 / 5 + 1) / 2], abs=1e-11)


def test_classes_weighted_by_their_cells_give_the_mean_over_all():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(30, 1, 9, 9, generator=generator)
    truth = (torch.rand(30, 1, 9, 9, generator=generator) < 0.4).float()
    label = torch.arange(30) % 4
    by_class, whole = MeanByClass(4), SegmentationMetrics()
    by_class.update(image_dice(probability, truth), label)
    whole.update(probability, truth)
    counts = torch.bincount(label).double()
    mean = float((torch.tensor(by_class.compute()).double() * counts).sum() / 30)
    assert mean == pytest.approx(float(whole.compute()["dice"]), abs=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_batches_change_no_bit(batch):
    generator = torch.Generator().manual_seed(1)
    value = torch.randint(0, 2**36, (50,), generator=generator)
    label = torch.randint(0, 3, (50,), generator=generator)
    whole, parts = MeanByClass(3), MeanByClass(3)
    whole.update(value, label)
    for start in range(0, 50, batch):
        parts.update(value[start : start + batch], label[start : start + batch])
    assert parts.compute() == whole.compute()
    parts.reset()
    parts.update(value[:1], label[:1])
    assert parts.compute()[int(label[0])] == int(value[0]) / 2**36


@pytest.mark.parametrize("value", [torch.ones(2), torch.ones(3).long(), torch.ones(2, 1).long()])
def test_refuses(value):
    with pytest.raises(Hep2ganError, match="values are"):
        MeanByClass(2).update(value, torch.tensor([0, 1]))
