"""Small networks for real runs, named in a configuration by `_target_` and `trusted`."""

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """norm: batch normalisation, whose statistics differ between ranks."""

    def __init__(self, norm: bool = False, **_):
        super().__init__()
        middle = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), middle, nn.Tanh(), nn.Conv2d(8, 1, 3, padding=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image)


class Discriminator(nn.Module):
    def __init__(self, **_):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(2, 8, 4, stride=2), nn.Tanh(), nn.Conv2d(8, 1, 4, stride=2)
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.network(torch.cat([image, mask], dim=1))


class Classifier(nn.Module):
    feature_dim = 8

    def __init__(self, num_classes: int, guided: bool, dropout: float = 0.0, **_):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1 + guided, 8, 5, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.drop = nn.Dropout(dropout)
        self.output = nn.Linear(8, num_classes)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(image if mask is None else torch.cat([image, mask], dim=1))
        return self.output(self.drop(features)), features
