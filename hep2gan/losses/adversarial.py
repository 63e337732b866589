"""Adversarial loss (eq. 1) on patch logits, and variants of it."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.autocast import to_float32, without_autocast

AdversarialMode = Literal["vanilla", "saturating", "lsgan", "hinge"]
Smoothing = Annotated[float, Field(ge=0, lt=0.5)]


class AdversarialLoss(nn.Module):
    """Losses of D and G, z being D's logits and σ(z) = D(x, ·) of eq. 1.

    vanilla:     D: -log σ(z_real) - log(1 - σ(z_fake));  G: -log σ(z_fake)  (Goodfellow 2014)
    saturating:  D as vanilla;  G: log(1 - σ(z_fake))  (eq. 1 to the letter)
    lsgan:       D: (z_real - 1)² + z_fake²;  G: (z_fake - 1)²  (Mao et al. 2017)
    hinge:       D: max(0, 1 - z_real) + max(0, 1 + z_fake);  G: -z_fake  (Lim and Ye 2017)

    Terms are means over batch and patches; D's two terms are halved, as in pix2pix. Eq. 1
    prints 1 - log D where log(1 - D) is meant.

    Args:
        mode: Form of eq. 1.
        label_smoothing: Value e in [0, 0.5). D's target for real pairs is 1 - e, for generated ones
            0 (one-sided, Salimans et al. 2016); not with hinge, which has no targets.

    Raises:
        Hep2ganError: If smoothing is combined with hinge.
    """

    def __init__(self, mode: AdversarialMode = "vanilla", label_smoothing: Smoothing = 0.0) -> None:
        super().__init__()
        if mode == "hinge" and label_smoothing:
            raise Hep2ganError(
                f"smoothing of D's real label is {label_smoothing} with the hinge loss",
                "hinge has no targets to smooth",
                "set it to 0, or choose vanilla or lsgan",
            )
        self.mode, self.label_smoothing = mode, label_smoothing

    def discriminator(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Compute the loss that D minimises.

        Args:
            real: Patch logits of pairs with the true mask, (B, 1, h, w).
            fake: Patch logits of pairs with the generated mask, (B, 1, h, w).

        Returns:
            Scalar terms `real`, `fake` and `total` = ½ (real + fake).
        """
        with without_autocast(real):
            on_real, on_fake = self._real(to_float32(real)), self._fake(to_float32(fake))
            return {"real": on_real, "fake": on_fake, "total": 0.5 * (on_real + on_fake)}

    def generator_loss(self, fake: Tensor) -> Tensor:
        """Compute the loss that G minimises.

        Args:
            fake: Patch logits of pairs with the generated mask, (B, 1, h, w).

        Returns:
            A scalar.
        """
        with without_autocast(fake):
            logits = to_float32(fake)
            if self.mode == "hinge":
                return -logits.mean()
            if self.mode == "lsgan":
                return (logits - 1.0).square().mean()
            if self.mode == "saturating":
                return F.logsigmoid(-logits).mean()
            return -F.logsigmoid(logits).mean()

    def _real(self, logits: Tensor) -> Tensor:
        target = 1.0 - self.label_smoothing
        if self.mode == "hinge":
            return F.relu(1.0 - logits).mean()
        if self.mode == "lsgan":
            return (logits - target).square().mean()
        return F.binary_cross_entropy_with_logits(
            logits, logits.new_full((), target).expand_as(logits)
        )

    def _fake(self, logits: Tensor) -> Tensor:
        if self.mode == "hinge":
            return F.relu(1.0 + logits).mean()
        if self.mode == "lsgan":
            return logits.square().mean()
        return -F.logsigmoid(-logits).mean()
