"""Eqs 5 and 7."""

import math

import pytest
import torch
from torch.nn import functional as F

from hep2gan.config import LossSettings
from hep2gan.errors import Hep2ganError
from hep2gan.losses.classification import (
    ClassificationLoss,
    GaussianMixtureLoss,
    GaussianMixtureSettings,
)
from tests.helpers.schema import refusal_of_setting

K, D, N = 3, 4, 5


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(N, K, dtype=torch.float64, generator=g)
    features = torch.randn(N, D, dtype=torch.float64, generator=g)
    return logits, features, torch.tensor([0, 2, 1, 2, 0])


def test_cross_entropy_by_formula(batch):
    logits, _, labels = batch
    terms = ClassificationLoss()(*batch)
    assert list(terms) == ["cross_entropy", "total"]
    q = logits.exp() / logits.exp().sum(1, keepdim=True)
    expected = -(F.one_hot(labels, K) * q.log()).sum() / N
    torch.testing.assert_close(terms["cross_entropy"], expected)
    torch.testing.assert_close(terms["total"], expected)
    halved = ClassificationLoss(cross_entropy_weight=0.5)(*batch)
    torch.testing.assert_close(halved["total"], 0.5 * expected)


def test_label_smoothing_by_formula(batch):
    logits, _, labels = batch
    target = 0.9 * F.one_hot(labels, K) + 0.1 / K
    expected = -(target * logits.log_softmax(1)).sum() / N
    torch.testing.assert_close(ClassificationLoss(label_smoothing=0.1)(*batch)["total"], expected)


def test_total_is_eq_7_with_the_papers_weights(batch):
    gm = GaussianMixtureLoss(K, D).double()
    terms = ClassificationLoss(gaussian_mixture=gm)(*batch)
    assert list(terms) == ["cross_entropy", "gaussian_mixture", "likelihood", "total"]
    ce, cla, likelihood, total = terms.values()
    torch.testing.assert_close(total, ce + cla + 0.01 * likelihood)
    alone = gm(*batch[1:])
    torch.testing.assert_close((cla, likelihood), tuple(alone.values()))


def test_total_with_other_weights(batch):
    gm = GaussianMixtureLoss(K, D).double()
    ce, cla, likelihood, total = ClassificationLoss(2.0, 3.0, 0.5, gm)(*batch).values()
    torch.testing.assert_close(total, 2 * ce + 3 * cla + 0.5 * likelihood)


def test_the_mixtures_parameters_are_the_losses(batch):
    gm = GaussianMixtureLoss(K, D, "diagonal")
    loss = ClassificationLoss(gaussian_mixture=gm)
    assert list(loss.parameters()) == list(gm.parameters())
    loss(*batch)["total"].backward()
    assert all(p.grad is not None and p.grad.any() for p in loss.parameters())
    assert list(ClassificationLoss().parameters()) == []


def test_set_epoch_reaches_the_margin():
    gm = GaussianMixtureLoss(K, D, margin=[0.1, 0.3], margin_epochs=2)
    ClassificationLoss(gaussian_mixture=gm).set_epoch(1)
    assert gm.margin == pytest.approx(0.2)
    ClassificationLoss().set_epoch(1)


def test_float32_under_autocast(batch):
    logits, features, labels = batch
    loss = ClassificationLoss(gaussian_mixture=GaussianMixtureLoss(K, D))
    half = logits.bfloat16(), features.bfloat16(), labels
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss(*half)
    assert {value.dtype for value in terms.values()} == {torch.float32}
    torch.testing.assert_close(terms, loss(half[0].float(), half[1].float(), labels))


@pytest.mark.parametrize(
    ("kind", "key", "value", "rule"),
    [
        (LossSettings, "label_smoothing", 1.0, "0 or more and below 1"),
        (LossSettings, "label_smoothing", -0.1, "0 or more and below 1"),
        (GaussianMixtureSettings, "gamma", -1, "0 or more"),
        (GaussianMixtureSettings, "gamma", math.nan, "finite number"),
        (GaussianMixtureSettings, "weight", -1, "0 or more"),
    ],
)
def test_wrong_settings_are_refused(kind, key, value, rule):
    assert rule in refusal_of_setting(kind, key, value)


def test_wrong_input_is_refused(batch):
    logits, features, labels = batch
    gm = GaussianMixtureLoss(K, D)
    with pytest.raises(Hep2ganError, match="together with the Gaussian-mixture loss"):
        ClassificationLoss(gaussian_mixture=gm, label_smoothing=0.1)
    with pytest.raises(Hep2ganError, match=r"must be \(B, K\) and int64 \(B,\)"):
        ClassificationLoss()(logits, features, labels[:2])
    with pytest.raises(Hep2ganError, match=r"labels torch\.float64"):
        ClassificationLoss()(logits, features, labels.double())
    for wrong, shown in ((labels + 1, "1 to 3"), (labels - 1, "-1 to 1")):
        with pytest.raises(Hep2ganError, match=f"labels run from {shown}: .* 3 classes, 0 to 2"):
            ClassificationLoss()(logits, features, wrong)
