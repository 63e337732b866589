"""What validation logs by class and of the mixture, computed again by hand."""

import pytest
import torch

from hep2gan.metrics.validation import ValidationMetrics
from hep2gan.models.guidance import MaskGuidance
from hep2gan.models.output import ModelOutput
from hep2gan.training.evaluation import mixture_log_likelihoods
from tests.helpers import tiny
from tests.training.test_module import Rows, fit_and_validate

CLASSES = ("Homogeneous", "Golgi", "Absent")


def details_of(task):
    loss = task.classification_loss
    return ValidationMetrics(
        CLASSES,
        segments=task.generator is not None,
        classifies=task.classifier is not None,
        mixture=loss.gaussian_mixture if loss else None,
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
    task.details = details_of(task)
    batches = [two_classes(seed) for seed in (4, 5)]
    fit_and_validate(task, [two_classes(1)], batches, logger)
    (row,) = [row for _, row in logger.rows if "val/dice" in row]
    hand = expected(task, batches)
    named = {key: value for key, value in row.items() if key in hand}
    assert named == pytest.approx(hand, rel=1e-5)
    assert not [key for key in row if "Absent" in key]
    # A second epoch starts from nothing.
    assert task.details.dice.cells.sum() == 0


@pytest.mark.parametrize(
    ("parts", "prefixes"),
    [
        ({"classify": False}, {"val/dice"}),
        ({"segment": False, "guidance": MaskGuidance("none")}, {"val/accuracy", "gm/val"}),
        ({"mixture": False}, {"val/dice", "val/accuracy"}),
    ],
)
def test_methods_with_fewer_parts_log_less(parts, prefixes):
    task = tiny.task(**parts).eval()
    details = details_of(task)
    batch = tiny.batch()
    details.update(task(batch.image, batch.mask), batch)
    assert {name.rpartition("/")[0] for name in details.flush()} == prefixes


def test_details_add_nothing_to_the_checkpoint_or_the_optimizers():
    task = tiny.task()
    names = list(task.state_dict())
    task.details = details_of(task)
    assert list(task.state_dict()) == names
    assert not list(task.details.parameters())


def test_the_test_part_is_measured_as_the_validation_part_is():
    task = tiny.task().eval()
    details, batch = details_of(task), tiny.batch()
    outputs: ModelOutput = task(batch.image, batch.mask)
    details.update(outputs, batch)
    found = mixture_log_likelihoods(
        task.classification_loss.gaussian_mixture, outputs.features.detach(), batch.label
    )
    flushed = details.flush()
    assert found == {
        f"gm/test/{n}": flushed[f"gm/val/{n}"] for n in ("own_distance", "other_distance")
    }
