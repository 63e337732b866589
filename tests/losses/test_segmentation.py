"""Eqs 2 and 3, and BCE + Dice."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hep2gan.config import LossSettings
from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.segmentation import BceDiceLoss, GeneratorLoss, L1Loss
from hep2gan.settings import Component, component_errors
from tests.helpers.schema import refusal_of_argument, refusal_of_setting

P = torch.tensor([0.9, 0.2, 0.6, 0.5, 0.1, 0.3, 0.8, 1.0]).reshape(2, 1, 2, 2)
Z = torch.logit(P).clamp(max=30.0)
Y = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]).reshape(2, 1, 2, 2)


def test_l1_by_hand():
    errors = [0.1, 0.2, 0.4, 0.5, 0.1, 0.3, 0.8, 0.0]
    terms = L1Loss()(Z, Y)
    assert list(terms) == ["l1"]
    assert terms["l1"].item() == pytest.approx(sum(errors) / 8)


def test_l1_slope_is_one_over_the_number_of_pixels():
    z = Z.clone().requires_grad_()
    L1Loss()(z, Y)["l1"].backward()
    torch.testing.assert_close(z.grad, torch.sign(P - Y) * P * (1 - P) / 8)


def test_bce_and_dice_by_hand():
    terms = BceDiceLoss(smooth=0.5)(Z, Y)
    surprise = [0.9, 0.8, 0.6, 0.5, 0.9, 0.7, 0.2, 1.0]
    assert terms["bce"].item() == pytest.approx(-sum(map(math.log, surprise)) / 8, rel=1e-5)
    # Image 1: Σpt 1.5, Σp 2.2, Σt 2. Image 2: Σpt 1, Σp 2.2, Σt 1.
    dice = [(3.0 + 0.5) / (4.2 + 0.5), (2.0 + 0.5) / (3.2 + 0.5)]
    assert terms["dice"].item() == pytest.approx(1 - sum(dice) / 2)
    weighted = BceDiceLoss(bce_weight=3.0, dice_weight=0.25, smooth=0.5)(Z, Y)
    torch.testing.assert_close(weighted["bce"], 3 * terms["bce"])
    torch.testing.assert_close(weighted["dice"], 0.25 * terms["dice"])


def test_bce_equals_that_of_the_probabilities():
    z = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    y = (torch.rand_like(z) > 0.5).double()
    expected = F.binary_cross_entropy(z.sigmoid(), y)
    torch.testing.assert_close(BceDiceLoss()(z, y)["bce"], expected)


@pytest.mark.parametrize("logit", [17.0, 20.0, 60.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_surely_wrong_pixel_still_has_a_gradient(logit, dtype):
    # In float32 the probability of 17 rounds to 1, and from there no gradient leads back.
    z = torch.tensor([logit, -logit], dtype=dtype).reshape(1, 1, 1, 2).requires_grad_()
    y = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    BceDiceLoss()(z, y)["bce"].backward()
    assert z.grad.flatten().tolist() == pytest.approx([0.5, -0.5])


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_perfect_mask_costs_nothing(pixels):
    y = torch.tensor(pixels, dtype=torch.float32).reshape(1, 1, 2, 2)
    for loss in (L1Loss(), BceDiceLoss()):
        assert sum(loss(60 * y - 30, y).values()).item() == pytest.approx(0.0, abs=1e-6)


def test_generator_loss_is_eq_3_with_the_papers_weights():
    judged = torch.tensor([0.3, -2.0]).reshape(2, 1, 1, 1)
    adversarial = AdversarialLoss()
    terms = GeneratorLoss(adversarial=adversarial)(judged, Z, Y)
    assert list(terms) == ["adversarial", "l1", "total"]
    gan = -judged.sigmoid().log().mean()
    torch.testing.assert_close(terms["adversarial"], gan)
    torch.testing.assert_close(terms["l1"], (P - Y).abs().mean())
    torch.testing.assert_close(terms["total"], 0.5 * gan + 10 * (P - Y).abs().mean())


def test_generator_loss_with_other_parts_and_without_discriminator():
    judged = torch.tensor([0.3, -2.0]).reshape(2, 1, 1, 1)
    loss = GeneratorLoss(2.0, 3.0, AdversarialLoss("hinge"), BceDiceLoss())
    terms = loss(judged, Z, Y)
    assert list(terms) == ["adversarial", "bce", "dice", "total"]
    torch.testing.assert_close(terms["adversarial"], -judged.mean())
    expected = 2 * terms["adversarial"] + 3 * (terms["bce"] + terms["dice"])
    torch.testing.assert_close(terms["total"], expected)
    alone = GeneratorLoss(beta=4.0)(None, Z, Y)
    assert list(alone) == ["l1", "total"]
    torch.testing.assert_close(alone["total"], 4 * alone["l1"])


def test_gradcheck():
    z = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    judged = torch.randn(2, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    for pixel in (L1Loss(), BceDiceLoss()):
        loss = GeneratorLoss(adversarial=AdversarialLoss(), pixel=pixel)
        total = lambda j, x, loss=loss: loss(j, x, Y.double())["total"]  # noqa: E731
        assert torch.autograd.gradcheck(total, (judged, z))


@pytest.mark.parametrize("pixel", [L1Loss(), BceDiceLoss()])
def test_float32_under_autocast(pixel):
    half, loss = Z.bfloat16(), GeneratorLoss(adversarial=AdversarialLoss(), pixel=pixel)
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss(half[:, :, :1, :1], half, Y.bfloat16())
    assert {value.dtype for value in terms.values()} == {torch.float32}
    torch.testing.assert_close(terms, loss(half[:, :, :1, :1].float(), half.float(), Y))


@pytest.mark.parametrize("key", ["bce_weight", "dice_weight", "smooth"])
@pytest.mark.parametrize("value", [-2, math.nan])
def test_wrong_settings_are_refused(key, value):
    target = "hep2gan.losses.segmentation.BceDiceLoss"
    assert "0 or more" in refusal_of_argument(target, "loss.pixel", key, value)


@pytest.mark.parametrize("key", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_wrong_weights_are_refused(key, value):
    assert "0 or more" in refusal_of_setting(LossSettings, key, value)


def test_l1_has_no_settings():
    l1 = Component.model_validate({"_target_": "hep2gan.losses.segmentation.L1Loss", "smooth": 1})
    assert list(component_errors(l1, "loss.pixel")) == ["loss.pixel.smooth"]


def test_wrong_input_is_refused():
    for loss in (L1Loss(), BceDiceLoss()):
        with pytest.raises(Hep2ganError, match=r"both must be the same \(B, 1, H, W\)"):
            loss(P, Y[:1])
        with pytest.raises(
            Hep2ganError, match=r"torch.uint8: must be floating point, true ones in \[0, 1\]"
        ):
            loss(P, Y.byte())
    with pytest.raises(Hep2ganError, match="no discriminator's logits"):
        GeneratorLoss(adversarial=AdversarialLoss())(None, P, Y)
    with pytest.raises(Hep2ganError, match="no adversarial loss"):
        GeneratorLoss()(P, P, Y)
