"""Scores of the validation part, computed again by hand."""

import pytest
import torch

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.validation import CAP, MeanDistances, ValidationMetrics
from hep2gan.models.guidance import MaskGuidance
from hep2gan.training.evaluation import mixture_distances
from tests.helpers import tiny
from tests.training.test_module import Rows, fit_and_validate

CLASSES = ("Homogeneous", "Golgi", "Absent")


def metrics_of(task):
    loss = task.classification_loss
    mixture = loss.gaussian_mixture if loss else None
    return ValidationMetrics(
        CLASSES,
        segments=task.generator is not None,
        classifies=task.classifier is not None,
        mixture_distances=mixture.distances if mixture else None,
    )


def update(metrics, outputs, batch):
    metrics.update(
        outputs.mask, outputs.probabilities, outputs.features, truth=batch.mask, label=batch.label
    )


def expected(task, batches):
    """Dice, accuracy and squared distances of all cells, by plain arithmetic."""
    task.eval()
    values = {}
    image, truth, label, _ = (torch.cat(part) for part in zip(*batches, strict=True))
    with torch.no_grad():
        outputs = task(image, truth)
    a, b = outputs.mask >= 0.5, truth > 0
    dice = 2 * (a & b).sum((1, 2, 3)) / (a.sum((1, 2, 3)) + b.sum((1, 2, 3)))
    right = (outputs.probabilities.argmax(1) == label).float()
    means = task.classification_loss.gaussian_mixture.means.detach()
    distance = torch.cdist(outputs.features, means).square()
    own = distance[torch.arange(len(label)), label]
    distance[torch.arange(len(label)), label] = torch.inf
    values["val/dice"], values["val/accuracy"] = dice.mean(), right.mean()
    values["gm/val/own_distance"] = own.mean()
    values["gm/val/other_distance"] = distance.min(1).values.mean()
    for number, name in enumerate(CLASSES):
        if (label == number).any():
            values[f"val/dice/{name}"] = dice[label == number].mean()
            values[f"val/accuracy/{name}"] = right[label == number].mean()
    return {name: float(value) for name, value in values.items()}


def two_classes(seed):
    batch = tiny.batch(seed=seed)
    return batch._replace(label=batch.label % 2)


def test_validation_logs_classes_and_distances():
    task, logger = tiny.task(), Rows()
    task.metrics = metrics_of(task)
    batches = [two_classes(seed) for seed in (4, 5)]
    fit_and_validate(task, [two_classes(1)], batches, logger)
    (row,) = [row for _, row in logger.rows if "val/dice" in row]
    hand = expected(task, batches)
    named = {key: value for key, value in row.items() if key in hand}
    assert named == pytest.approx(hand, rel=1e-5)
    assert not [key for key in row if "Absent" in key]
    # A second epoch starts from nothing.
    assert task.metrics.segmentation.images.sum() == 0


@pytest.mark.parametrize(
    ("parts", "prefixes"),
    [
        ({"classify": False}, {"val", "val/dice"}),
        (
            {"segment": False, "guidance": MaskGuidance(source="none")},
            {"val", "val/accuracy", "gm/val"},
        ),
        ({"mixture": False}, {"val", "val/dice", "val/accuracy"}),
    ],
)
def test_methods_with_fewer_parts_log_less(parts, prefixes):
    task = tiny.task(**parts).eval()
    metrics, batch = metrics_of(task), tiny.batch()
    update(metrics, task(batch.image, batch.mask), batch)
    assert {name.rpartition("/")[0] for name in metrics.flush()} == prefixes


def test_metrics_add_nothing_to_the_checkpoint_or_the_optimizers():
    task = tiny.task()
    assert not [name for name in task.state_dict() if name.startswith("metrics")]
    assert not list(task.metrics.parameters())


def test_the_test_part_is_measured_as_the_validation_part_is():
    task = tiny.task().eval()
    metrics, batch = metrics_of(task), tiny.batch()
    outputs = task(batch.image, batch.mask)
    update(metrics, outputs, batch)
    found = mixture_distances(task.mixture.distances(outputs.features).detach(), batch.label)
    flushed = metrics.flush()
    assert found == {
        f"gm/test/{n}": flushed[f"gm/val/{n}"] for n in ("own_distance", "other_distance")
    }


def test_mean_distances_by_hand():
    # Own: 1 and 4. Nearest other: 2 (of 9 and 2) and 0.25 (of 0.25 and 16).
    metric = MeanDistances()
    metric.update(torch.tensor([[1.0, 9, 2], [0.25, 4, 16]]), torch.tensor([0, 1]))
    assert metric.compute() == {"own_distance": 2.5, "other_distance": 1.125}


def test_batches_change_no_bit_of_a_mean_distance():
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
def test_a_distance_that_is_not_finite_counts_as_the_cap(wild):
    metric = MeanDistances()
    metric.update(torch.tensor([[wild, 1.0], [1.0, wild]]), torch.tensor([0, 0]))
    assert metric.compute() == {"own_distance": (CAP + 1) / 2, "other_distance": (1 + CAP) / 2}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_mean_distances_refuse():
    with pytest.raises(Hep2ganError, match="no features"):
        MeanDistances().compute()
    for distances in (torch.ones(2, 1), torch.ones(3, 2), torch.ones(2)):
        with pytest.raises(Hep2ganError, match="distances are"):
            MeanDistances().update(distances, torch.tensor([0, 0]))
