import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.validation import CAP, MeanDistances


def test_by_hand():
    # Own: 1 and 4. Nearest other: 2 (of 9 and 2) and 0.25 (of 0.25 and 16).
    metric = MeanDistances()
    metric.update(torch.tensor([[1.0, 9, 2], [0.25, 4, 16]]), torch.tensor([0, 1]))
    assert metric.compute() == {"own_distance": 2.5, "other_distance": 1.125}


def test_batches_change_no_bit():
    generator = torch.Generator().manual_seed(0)
    distances = 300 * torch.rand(40, 5, generator=generator)
    label = torch.arange(40) % 5
    whole, parts = MeanDistances(), MeanDistances()
    whole.update(distances, label)
    for row in torch.randperm(40, generator=generator).tolist():
        parts.update(distances[row : row + 1], label[row : row + 1])
    assert parts.compute() == whole.compute()
    assert whole.compute()["own_distance"] == pytest.approx(
        float(distances[torch.arange(40), label].mean()), rel=1e-6
    )


@pytest.mark.parametrize("wild", [torch.inf, torch.nan, 1e30])
def test_what_is_not_finite_counts_as_the_cap(wild):
    metric = MeanDistances()
    metric.update(torch.tensor([[wild, 1.0], [1.0, wild]]), torch.tensor([0, 0]))
    assert metric.compute() == {"own_distance": (CAP + 1) / 2, "other_distance": (1 + CAP) / 2}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_refuses():
    with pytest.raises(Hep2ganError, match="no features"):
        MeanDistances().compute()
    for distances in (torch.ones(2, 1), torch.ones(3, 2), torch.ones(2)):
        with pytest.raises(Hep2ganError, match="distances are"):
            MeanDistances().update(distances, torch.tensor([0, 0]))
