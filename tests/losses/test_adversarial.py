"""Eq. 1 and its relatives, by hand and against torch's own cross-entropy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from tests.helpers.schema import refusal_of_argument

REAL = torch.tensor([[2.0, -1.0], [0.5, 0.0]], dtype=torch.float64).reshape(2, 1, 1, 2)
FAKE = torch.tensor([[-3.0, 1.0], [0.25, -0.5]], dtype=torch.float64).reshape(2, 1, 1, 2)
logits = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


def bce(z, target):
    p = z.sigmoid()
    return F.binary_cross_entropy(p, torch.full_like(p, target))


@pytest.mark.parametrize("mode", ["vanilla", "saturating"])
def test_discriminator_is_the_halved_cross_entropy_of_eq_1(mode):
    terms = AdversarialLoss(mode).discriminator(REAL, FAKE)
    assert list(terms) == ["real", "fake", "total"]
    torch.testing.assert_close(terms["real"], bce(REAL, 1.0))
    torch.testing.assert_close(terms["fake"], bce(FAKE, 0.0))
    torch.testing.assert_close(terms["total"], (bce(REAL, 1.0) + bce(FAKE, 0.0)) / 2)
    # max over D of log D(x, y) + log(1 - D(x, G(x))) is the minimum of twice our total.
    value = REAL.sigmoid().log().mean() + (1 - FAKE.sigmoid()).log().mean()
    torch.testing.assert_close(-value / 2, terms["total"])


def test_undecided_discriminator_by_hand():
    zero = torch.zeros(3, 1, 2, 2)
    vanilla = AdversarialLoss("vanilla")
    assert vanilla.discriminator(zero, zero)["total"].item() == pytest.approx(math.log(2))
    assert vanilla.generator_loss(zero).item() == pytest.approx(math.log(2))
    assert AdversarialLoss("saturating").generator_loss(zero).item() == pytest.approx(-math.log(2))


def test_generator_losses_by_formula():
    p = FAKE.sigmoid()
    expected = {
        "vanilla": -p.log().mean(),
        "saturating": (1 - p).log().mean(),
        "lsgan": ((FAKE - 1) ** 2).mean(),
        "hinge": -FAKE.mean(),
    }
    for mode, value in expected.items():
        torch.testing.assert_close(AdversarialLoss(mode).generator_loss(FAKE), value)


def test_lsgan_and_hinge_discriminators_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.5])
    lsgan = AdversarialLoss("lsgan").discriminator(real, fake)
    assert lsgan["real"].item() == pytest.approx((1.0 + 0.25) / 2)
    assert lsgan["fake"].item() == pytest.approx((4.0 + 0.25) / 2)
    assert lsgan["total"].item() == pytest.approx(0.5 * (0.625 + 2.125))
    hinge = AdversarialLoss("hinge").discriminator(real, fake)
    assert hinge["real"].item() == pytest.approx((0.0 + 0.5) / 2)
    assert hinge["fake"].item() == pytest.approx((0.0 + 1.5) / 2)
    assert hinge["total"].item() == pytest.approx(0.5 * (0.25 + 0.75))


def test_smoothing_moves_the_real_target_only():
    for mode in ("vanilla", "saturating"):
        smooth = AdversarialLoss(mode, label_smoothing=0.1).discriminator(REAL, FAKE)
        torch.testing.assert_close(smooth["real"], bce(REAL, 0.9))
        torch.testing.assert_close(smooth["fake"], bce(FAKE, 0.0))
    smooth = AdversarialLoss("lsgan", label_smoothing=0.1)
    torch.testing.assert_close(smooth.discriminator(REAL, FAKE)["real"], ((REAL - 0.9) ** 2).mean())
    # The generator is after an unsmoothed "real".
    torch.testing.assert_close(smooth.generator_loss(FAKE), ((FAKE - 1) ** 2).mean())


@pytest.mark.parametrize("mode", ["vanilla", "saturating", "lsgan", "hinge"])
def test_every_generator_gains_by_higher_logits_on_undecided_patches(mode):
    z = torch.zeros(4, requires_grad=True)
    AdversarialLoss(mode).generator_loss(z).backward()
    assert (z.grad < 0).all()


def test_the_literal_minimax_saturates_where_the_usual_form_does_not():
    """Where D is sure of a fake, eq. 1 to the letter has no gradient left (Goodfellow 2014)."""
    slopes = {}
    for mode in ("vanilla", "saturating"):
        z = torch.tensor([-12.0], dtype=torch.float64, requires_grad=True)
        AdversarialLoss(mode).generator_loss(z).backward()
        slopes[mode] = z.grad.item()
    assert slopes["vanilla"] == pytest.approx(-1.0, abs=1e-4)
    assert slopes["saturating"] == pytest.approx(-1 / (1 + math.exp(12.0)))


@pytest.mark.parametrize("mode", ["vanilla", "saturating", "lsgan", "hinge"])
@given(real=logits, fake=logits)
def test_total_of_the_discriminator_is_half_the_sum_and_not_negative(mode, real, fake):
    terms = AdversarialLoss(mode).discriminator(torch.tensor(real), torch.tensor(fake))
    assert terms["total"] >= 0
    torch.testing.assert_close(terms["total"], 0.5 * (terms["real"] + terms["fake"]))


@pytest.mark.parametrize("mode", ["vanilla", "saturating", "lsgan", "hinge"])
def test_float32_under_autocast_and_with_extreme_logits(mode):
    loss = AdversarialLoss(mode)
    half = torch.tensor([[1.2345, -90.0]]).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = [*loss.discriminator(half, half).values(), loss.generator_loss(half)]
    for value in values:
        assert value.dtype == torch.float32
        assert value.isfinite()
    same = [
        *loss.discriminator(half.float(), half.float()).values(),
        loss.generator_loss(half.float()),
    ]
    torch.testing.assert_close(values, same, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["vanilla", "saturating", "lsgan", "hinge"])
def test_gradcheck(mode):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    loss = AdversarialLoss(mode)
    assert torch.autograd.gradcheck(lambda *pair: loss.discriminator(*pair)["total"], (real, fake))
    assert torch.autograd.gradcheck(loss.generator_loss, (fake,))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("mode", "wgan", "one of vanilla, saturating, lsgan, hinge"),
        ("label_smoothing", -0.1, "0 or more and below 0.5"),
        ("label_smoothing", 0.5, "0 or more and below 0.5"),
        ("label_smoothing", math.nan, "finite number"),
    ],
)
def test_wrong_settings_are_refused(key, value, rule):
    target = "hep2gan.losses.adversarial.AdversarialLoss"
    assert rule in refusal_of_argument(target, "loss.adversarial", key, value)


def test_smoothing_with_hinge_is_refused():
    with pytest.raises(Hep2ganError, match="hinge has no targets to smooth"):
        AdversarialLoss("hinge", label_smoothing=0.1)
