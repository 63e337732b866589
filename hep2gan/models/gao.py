"""The small convolutional network of Gao et al. 2017, a baseline of Table I."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.models.classifier import check_input, concat_mask

SIDE = 78
"""Side in pixels to which all images are resized."""


class ScaledTanh(nn.Module):
    """1.7159 · tanh(2x / 3), LeCun's: about 1 at 1, and steepest in between."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function elementwise.

        Args:
            x: Tensor of any shape.
        """
        return 1.7159 * torch.tanh(x * (2 / 3))


class GaoNet(nn.Module):
    """Three convolutions and two linear layers on 78 × 78 pixels, 50,748 parameters for K = 6.

    Z. Gao, L. Wang, L. Zhou, J. Zhang: HEp-2 Cell Image Classification with Deep Convolutional
    Neural Networks, IEEE J. Biomed. Health Inform. 21(2), 2017. Sides of the maps: 78, 72, 36, 33,
    11, 9, 3.

    Args:
        num_classes: Number K of classes.
        guided: Take the mask as a second input channel, which the source does not.

    Attributes:
        feature_dim: Number of features, 150.
    """

    feature_dim = 150

    def __init__(self, num_classes: int, guided: bool = False) -> None:
        super().__init__()
        self.guided = guided
        self.body = nn.Sequential(
            *(nn.Conv2d(1 + guided, 6, 7), ScaledTanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 4), ScaledTanh(), nn.MaxPool2d(3)),
            *(nn.Conv2d(16, 32, 3), ScaledTanh(), nn.MaxPool2d(3)),
            *(nn.Flatten(), nn.Linear(32 * 3 * 3, self.feature_dim), ScaledTanh()),
        )
        self.output = nn.Linear(self.feature_dim, num_classes)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classify images of any size.

        Args:
            image: (B, 1, H, W) grey images.
            mask: (B, 1, H, W) masks in [0, 1] for a guided network, None for an unguided one.

        Returns:
            Logits (B, K) and features (B, 150).

        Raises:
            Hep2ganError: If shapes do not fit, or a mask is missing or not expected.
        """
        check_input(image, mask, self.guided)
        channels = concat_mask(image, mask)
        features = self.body(F.interpolate(channels, (SIDE, SIDE), mode="bilinear", antialias=True))
        return self.output(features), features
