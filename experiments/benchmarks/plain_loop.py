"""The training step of method=proposed in plain PyTorch, which that of the framework is held to."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hep2gan.training.module import SegmentationGuidedClassification


class PlainLoop:
    """The training step of the proposed method in plain PyTorch, without a framework around it.

    What an engineer would write who needs this one method once: the same equations, networks and
    optimizers, nothing logged, nothing checked. bfloat16: of the networks and losses by autocast.
    anew: every update runs G for itself, as in usual examples of GANs; else one forward serves all.
    """

    def __init__(
        self, task: SegmentationGuidedClassification, *, bfloat16: bool = False, anew: bool = False
    ) -> None:
        self.d, self.g, self.c = task.train().networks.values()
        (self.opt_d, self.opt_g, self.opt_c), _ = task.configure_optimizers()
        self.means = task.get_parameter("classification_loss.gaussian_mixture.means")
        self.autocast = torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16)
        self.anew = anew

    def step(self, image: Tensor, truth: Tensor, label: Tensor) -> None:
        """Update each network once.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            label: (B,) classes.
        """
        fake = self.generate(image)
        self.update_discriminator(image, truth, fake.detach())
        fake = self.generate(image) if self.anew else fake
        self.update_generator(image, truth, fake)
        fake = self.generate(image) if self.anew else fake
        self.update_classifier(image, fake.detach(), label)

    def generate(self, image: Tensor) -> Tensor:
        """Generate masks.

        Args:
            image: (B, 1, H, W) images.

        Returns:
            (B, 1, H, W) masks in [0, 1].
        """
        with self.autocast:
            return torch.sigmoid(self.g(image))

    def update_discriminator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Update D by eq. 1, halved as in pix2pix.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            fake: (B, 1, H, W) generated masks, detached.
        """
        with self.autocast:
            loss = 0.5 * (bce(self.d(image, truth), True) + bce(self.d(image, fake), False))
        update(self.opt_d, loss)

    def update_generator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Update G by eq. 3, with α = 0.5 and β = 10.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            fake: (B, 1, H, W) generated masks.
        """
        self.d.requires_grad_(False)
        with self.autocast:
            loss = 0.5 * bce(self.d(image, fake), True) + 10.0 * F.l1_loss(fake, truth)
        update(self.opt_g, loss)
        self.d.requires_grad_(True)

    def update_classifier(self, image: Tensor, mask: Tensor, label: Tensor) -> None:
        """Update the classifier by eq. 7, with γ = 0.01.

        Args:
            image: (B, 1, H, W) images.
            mask: (B, 1, H, W) generated masks, detached.
            label: (B,) classes.
        """
        with self.autocast:
            logits, features = self.c(image, mask)
            half = 0.5 * (features[:, None] - self.means).square().sum(dim=2)
            loss = F.cross_entropy(logits, label) + F.cross_entropy(-half, label)
            loss = loss + 0.01 * half.gather(1, label[:, None]).mean()
        update(self.opt_c, loss)


def bce(logits: Tensor, real: bool) -> Tensor:
    """Compute the binary cross-entropy of patch logits.

    Args:
        logits: of patches.
        real: the class that all of them should have.

    Returns:
        The mean over all patches.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Update the parameters of an optimizer once.

    Args:
        optimizer: of one network.
        loss: what it minimises.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
