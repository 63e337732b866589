"""The training step of the proposed method in plain PyTorch, without a framework around it.

What an engineer would write who needs this one method once: the same equations, networks and
optimizers, one forward of G, a frozen D, nothing logged, nothing checked.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer


class PlainLoop:
    """D, then G, then the classifier, from one forward of G.

    means: (K, D) of the Gaussian mixture, identity covariance. optimizers: of D, G, the classifier.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        classifier: nn.Module,
        means: Tensor,
        optimizers: tuple[Optimizer, Optimizer, Optimizer],
    ) -> None:
        self.g, self.d, self.c, self.means = generator, discriminator, classifier, means
        self.opt_d, self.opt_g, self.opt_c = optimizers

    def step(self, image: Tensor, truth: Tensor, label: Tensor) -> None:
        """One update of each network from images and true masks (B, 1, H, W), labels (B,)."""
        fake = torch.sigmoid(self.g(image))
        self.update_discriminator(image, truth, fake.detach())
        self.update_generator(image, truth, fake)
        self.update_classifier(image, fake.detach(), label)

    def update_discriminator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Eq. 1, halved as in pix2pix."""
        real_logits, fake_logits = self.d(image, truth), self.d(image, fake)
        loss = 0.5 * (bce(real_logits, True) + bce(fake_logits, False))
        self.opt_d.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.opt_d.step()

    def update_generator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Eq. 3, with α = 0.5 and β = 10."""
        self.d.requires_grad_(False)
        loss = 0.5 * bce(self.d(image, fake), True) + 10.0 * F.l1_loss(fake, truth)
        self.opt_g.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.opt_g.step()
        self.d.requires_grad_(True)

    def update_classifier(self, image: Tensor, mask: Tensor, label: Tensor) -> None:
        """Eq. 7, with γ = 0.01."""
        logits, features = self.c(image, mask)
        half = 0.5 * (features[:, None] - self.means).square().sum(dim=2)
        loss = F.cross_entropy(logits, label) + F.cross_entropy(-half, label)
        loss = loss + 0.01 * half.gather(1, label[:, None]).mean()
        self.opt_c.zero_grad()
        loss.backward()
        self.opt_c.step()


class UsualExample(PlainLoop):
    """As GAN examples have it: every update runs G anew for its own generated masks."""

    def step(self, image: Tensor, truth: Tensor, label: Tensor) -> None:
        """See `PlainLoop.step`."""
        self.update_discriminator(image, truth, torch.sigmoid(self.g(image)).detach())
        self.update_generator(image, truth, torch.sigmoid(self.g(image)))
        self.update_classifier(image, torch.sigmoid(self.g(image)).detach(), label)


def bce(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of patch logits that should all say `real`."""
    target = torch.ones_like(logits) if real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)
