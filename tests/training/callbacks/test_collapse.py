"""Trainings that learn nothing: one warning in the log, a metric in every epoch."""

import pytest
import torch
from torch import nn

from hep2gan.losses.classification import GaussianMixtureLoss
from hep2gan.metrics.segmentation import ConstantMasks
from hep2gan.models.guidance import MaskGuidance
from hep2gan.training.callbacks.collapse import CollapseMonitor, share_at_bound
from hep2gan.training.evaluation import constant_masks
from tests.helpers import tiny
from tests.integration.test_metrics_two_processes import predictions
from tests.training.test_module import Rows, fit, fit_and_validate


@pytest.mark.parametrize(
    ("masks", "what"),
    [
        ([[0, 0], [0, 0]], "empty"),
        ([[1, 1], [1, 1]], "full"),
        ([[0, 1], [0, 1]], "the same"),
        ([[0, 1], [1, 0]], None),
        ([[0, 0], [0, 1]], None),
        ([[1, 1]], None),
    ],
)
def test_masks_that_are_all_alike(masks, what):
    variety = ConstantMasks()
    for mask in masks:
        variety.update(torch.tensor(mask, dtype=torch.bool).view(1, 1, 1, 2))
    assert variety.compute() == what


class Decided(nn.Module):
    """A discriminator that knows: the true masks of tiny batches are binary, the others soft."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, image, mask):
        soft = (mask * (1 - mask)).flatten(1).amax(1)
        return torch.where(soft == 0, self.scale, -self.scale).view(-1, 1, 1, 1)


class Alarmed(Rows):
    def __init__(self):
        super().__init__()
        self.alarms = []

    def log_alarm(self, kind, text):
        self.alarms.append((kind, text))


def rows(logger, name):
    return [row[name] for _, row in logger.rows if name in row]


def test_a_discriminator_that_has_won_is_warned_of_once(caplog):
    task, logger = tiny.task(), Rows()
    fit(task, [tiny.batch()], epochs=2, callbacks=[CollapseMonitor()], logger=logger)
    assert rows(logger, "health/discriminator_won") == [0, 0]
    task = tiny.task()
    task.discriminator = task.optimized_modules["discriminator"] = Decided()
    logger = Alarmed()
    fit(task, [tiny.batch()], epochs=3, callbacks=[CollapseMonitor()], logger=logger)
    assert rows(logger, "health/discriminator_won") == [1, 1, 1]
    assert caplog.text.count("the discriminator has won (true masks 1.000") == 1
    ((kind, text),) = logger.alarms
    assert kind == "discriminator_won"
    assert text.startswith("Epoch 0: the discriminator has won")


def test_variances_at_their_bound_are_counted(caplog):
    loss = GaussianMixtureLoss(2, 5, covariance="diagonal")
    assert share_at_bound(loss) == 0
    with torch.no_grad():
        loss.free_log_variance[0, :3] = -100.0
    assert share_at_bound(loss) == pytest.approx(0.3)
    assert share_at_bound(GaussianMixtureLoss(2, 5)) == 0
    task, logger = tiny.task(), Rows()
    mixture = GaussianMixtureLoss(tiny.CLASSES, 5, covariance="isotropic")
    task.classification_loss.gaussian_mixture = mixture
    with torch.no_grad():
        mixture.free_log_variance.fill_(50.0)
    fit(task, [tiny.batch()], epochs=2, callbacks=[CollapseMonitor()], logger=logger)
    assert rows(logger, "health/variance_at_bound") == [1, 1]
    assert caplog.text.count("100% of the mixture's log-variances") == 1


@pytest.mark.parametrize(("bias", "what"), [(50.0, "full"), (-50.0, "empty"), (None, None)])
def test_a_collapsed_generator_is_warned_of(bias, what, caplog):
    task, logger = tiny.task(), Rows()
    # One pixel of the image decides one of the mask; without weight, the bias decides all.
    generator = task.generator = task.optimized_modules["generator"] = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        generator.weight.fill_(500.0 if bias is None else 0.0)
        generator.bias.fill_(-250.0 if bias is None else bias)
    parts = [tiny.batch(seed=s) for s in range(2)]
    fit_and_validate(task, parts, parts, logger, callbacks=[CollapseMonitor()])
    assert rows(logger, "health/constant_masks") == [float(what is not None)]
    assert (f"validation part is {what}" in caplog.text) == (what is not None)
    assert not generator._forward_hooks


def test_methods_without_gan_or_mixture_have_no_health_metrics():
    logger = Rows()
    task = tiny.task(segment=False, mixture=False, guidance=MaskGuidance(source="none"))
    fit(task, [tiny.batch()], callbacks=[CollapseMonitor()], logger=logger)
    assert not [name for _, row in logger.rows for name in row if name.startswith("health/")]


def test_constant_masks_of_the_test_are_warned_of(caplog):
    found = predictions()
    assert constant_masks(found) == {"test/constant_masks": 0.0}
    found.mask[:] = found.mask[:1]
    assert constant_masks(found, 3) == {"test/constant_masks": 1.0}
    words = "mask of the test is the same: the generator has not learned to segment in 3 epochs."
    assert words in caplog.text
    object.__setattr__(found, "mask", None)
    assert constant_masks(found) == {}
