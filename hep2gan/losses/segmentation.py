"""Pixel losses (eq. 2), the generator's whole loss (eq. 3), and the true masks that D sees."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.adversarial import AdversarialLoss
from hep2gan.losses.autocast import to_float32, without_autocast
from hep2gan.settings import NonNegative, Settings


class L1Loss(nn.Module):
    """Mean absolute error between generated and true mask, ‖y - σ(G(x))‖₁ of eq. 2 per pixel."""

    def __init__(self) -> None:
        super().__init__()  # Without a constructor of its own, it would accept any argument.

    def forward(self, logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Compute the term `l1`.

        Args:
            logits: G's mask logits (B, 1, H, W).
            truth: True masks in [0, 1], (B, 1, H, W).

        Returns:
            The scalar `l1`.

        Raises:
            Hep2ganError: If shapes differ or masks are not floating point.
        """
        _check_masks(logits, truth)
        with without_autocast(logits):
            return {"l1": (to_float32(truth) - to_float32(logits).sigmoid()).abs().mean()}


class BceDiceLoss(nn.Module):
    """Binary cross-entropy plus soft Dice loss, in place of eq. 2.

    The cross-entropy is taken from logits: through probabilities in float32 a wrong pixel of logit
    17 or more would have no gradient. Dice of an image is (2 Σ p t + smooth) / (Σ p + Σ t + smooth)
    with p = σ(G(x)); the loss is its mean distance from 1 over the batch (Milletari et al. 2016,
    without squares).

    Args:
        bce_weight: Weight of the cross-entropy.
        dice_weight: Weight of the Dice loss.
        smooth: Added to numerator and denominator, so that the Dice of empty masks is 1.
    """

    def __init__(
        self,
        bce_weight: NonNegative = 1.0,
        dice_weight: NonNegative = 1.0,
        smooth: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.bce_weight, self.dice_weight, self.smooth = bce_weight, dice_weight, smooth

    def forward(self, logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Compute the weighted terms.

        Args:
            logits: G's mask logits (B, 1, H, W).
            truth: True masks in [0, 1], (B, 1, H, W).

        Returns:
            Scalars `bce` and `dice`.

        Raises:
            Hep2ganError: If shapes differ or masks are not floating point.
        """
        _check_masks(logits, truth)
        with without_autocast(logits):
            z = to_float32(logits)
            p, t = z.sigmoid(), to_float32(truth).to(z.dtype)
            both, either = (p * t).sum(dim=(1, 2, 3)), (p + t).sum(dim=(1, 2, 3))
            dice = (2.0 * both + self.smooth) / (either + self.smooth)
            return {
                "bce": self.bce_weight * F.binary_cross_entropy_with_logits(z, t),
                "dice": self.dice_weight * (1.0 - dice).mean(),
            }


class GeneratorLoss(nn.Module):
    """α · adversarial + β · pixel (eq. 3; the paper: α = 0.5, β = 10).

    Args:
        alpha: Weight of the adversarial term.
        beta: Weight of the pixel loss.
        adversarial: The adversarial loss; with None, the generator is trained on pixels alone.
        pixel: A module that returns named terms, whose sum is the pixel loss; None for `L1Loss`.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 10.0,
        adversarial: AdversarialLoss | None = None,
        pixel: L1Loss | BceDiceLoss | None = None,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.adversarial, self.pixel = adversarial, pixel or L1Loss()

    def forward(self, judged: Tensor | None, logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Compute the terms of the loss and their weighted sum.

        Args:
            judged: D's patch logits of the generated pairs, (B, 1, h, w); None without D.
            logits: G's mask logits (B, 1, H, W).
            truth: True masks in [0, 1], (B, 1, H, W).

        Returns:
            Scalars `adversarial`, `l1` or `bce` and `dice`, and `total`.

        Raises:
            Hep2ganError: If masks do not fit, or only one of logits and adversarial loss is given.
        """
        terms: dict[str, Tensor] = self.pixel(logits, truth)
        total = self.beta * sum(
            terms.values(), logits.new_zeros((), dtype=to_float32(logits).dtype)
        )
        if (judged is None) != (self.adversarial is None):
            missing = "discriminator's logits" if judged is None else "adversarial loss"
            raise Hep2ganError(f"the generator's loss has no {missing}", "they come together")
        if judged is not None and self.adversarial is not None:
            terms = {"adversarial": self.adversarial.generator_loss(judged), **terms}
            total = total + self.alpha * terms["adversarial"]
        return {**terms, "total": total}


def _check_masks(logits: Tensor, truth: Tensor) -> None:
    if logits.shape != truth.shape or logits.ndim != 4:
        raise Hep2ganError(
            f"generated masks are {tuple(logits.shape)} and true ones {tuple(truth.shape)}",
            "both must be the same (B, 1, H, W)",
        )
    if not (logits.is_floating_point() and truth.is_floating_point()):
        raise Hep2ganError(
            f"masks are {logits.dtype} and {truth.dtype}",
            "must be floating point, true ones in [0, 1]",
        )


class SofteningSettings(Settings):
    """The keys of `loss.soften`.

    Args:
        sigma: Standard deviation of a Gaussian blur in pixels; 0: none.
        level: Distance of the softened mask from 0 and 1.
    """

    sigma: NonNegative = 0.0
    level: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class MaskSoftening(nn.Module):
    """Blur a binary mask and scale it to [level, 1 - level] before D sees it.

    Otherwise D could tell true masks from generated ones by grey levels alone.

    Args:
        sigma: Standard deviation of a Gaussian blur in pixels; 0 for none.
        level: Distance from 0 and 1, in [0, 0.5).
    """

    kernel: Tensor

    def __init__(self, sigma: float = 0.0, level: float = 0.0) -> None:
        super().__init__()
        self.level, self.radius = level, math.ceil(3 * sigma)
        offsets = torch.arange(-self.radius, self.radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma).square()) if sigma else torch.ones(1)
        self.register_buffer("kernel", kernel / kernel.sum(), persistent=False)

    def forward(self, mask: Tensor) -> Tensor:
        """Soften masks.

        Args:
            mask: True masks of {0, 1}, (B, 1, H, W).

        Returns:
            Masks in [level, 1 - level] of the same shape.
        """
        if not (self.radius or self.level):
            return to_float32(mask)
        with without_autocast(mask):
            return self.level + (1.0 - 2.0 * self.level) * self._blur(to_float32(mask))

    def _blur(self, mask: Tensor) -> Tensor:
        if self.radius == 0:
            return mask
        padded = F.pad(mask, (self.radius,) * 4, mode="replicate")
        kernel = self.kernel.to(mask.dtype)
        rows = F.conv2d(padded, kernel[None, None, None])
        return F.conv2d(rows, kernel[None, None, :, None])
