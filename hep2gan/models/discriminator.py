"""Discriminator: the conditional PatchGAN of pix2pix (section II-A)."""

from collections.abc import Iterator
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from hep2gan.errors import Hep2ganError
from hep2gan.settings import PositiveInt

Norm = Literal["batch", "instance", "none"]
KERNEL = 4


class PatchGAN(nn.Module):
    """Judge patches of (image, mask) pairs as real or generated; D(x, ·) of eq. 1.

    Isola et al. 2017, https://arxiv.org/abs/1611.07004: `n_layers` 4x4 convolutions of stride 2,
    then two of stride 1, LeakyReLU(0.2) between, no norm on the first and the last, no bias where
    batch norm follows, weights ~ N(0, 0.02²) and batch-norm scales ~ N(1, 0.02²).

    n_layers 1, 2, 3, 4: receptive field 16, 34, 70, 142 px and, with ndf=64, 0.14, 0.66, 2.77, 6.96
    M parameters.

    Args:
        n_layers: Number of convolutions of stride 2.
        ndf: Filters of the first layer; later layers have up to 8 times as many.
        in_channels: Channels of image and mask together.
        norm: Normalisation: batch, instance or none.
        spectral_norm: Use spectral normalisation (Miyato et al. 2018); best with norm=none and the
            hinge loss.
    """

    def __init__(
        self,
        n_layers: Annotated[int, Field(ge=1, le=8)] = 3,
        ndf: PositiveInt = 64,
        in_channels: PositiveInt = 2,
        norm: Norm = "batch",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_layers, self.in_channels = n_layers, in_channels
        self.network = nn.Sequential(*_layers(n_layers, ndf, in_channels, norm))
        self.network.apply(_initialise)
        if spectral_norm:
            for layer in self.network:
                if isinstance(layer, nn.Conv2d):
                    parametrizations.spectral_norm(layer)

    @property
    def smallest_image(self) -> int:
        """Smallest side in pixels that still gives one logit."""
        return 3 << self.n_layers

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Judge pairs of an image and a mask, patch by patch.

        Args:
            image: (B, C, H, W) images.
            mask: (B, 1, H, W) masks in [0, 1].

        Returns:
            Patch logits (B, 1, h, w).

        Raises:
            Hep2ganError: If the two do not fit each other or are too small for `n_layers`.
        """
        if image.shape[0] != mask.shape[0] or image.shape[-2:] != mask.shape[-2:]:
            raise Hep2ganError(
                f"images are {tuple(image.shape)} and masks {tuple(mask.shape)}",
                "batch, height and width must be the same",
            )
        if image.shape[1] + mask.shape[1] != self.in_channels:
            raise Hep2ganError(
                f"image and mask have {image.shape[1]} + {mask.shape[1]} channels",
                f"the discriminator takes {self.in_channels}",
                "set discriminator.in_channels",
            )
        if (side := min(image.shape[-2:])) < self.smallest_image:
            raise Hep2ganError(
                f"image size is {side}",
                f"discriminator.n_layers={self.n_layers} needs at least {self.smallest_image}",
                "choose fewer discriminator.n_layers or a larger data.size",
            )
        return cast(Tensor, self.network(torch.cat([image, mask.to(image.dtype)], dim=1)))


def _layers(n_layers: int, ndf: int, in_channels: int, norm: Norm) -> Iterator[nn.Module]:
    yield nn.Conv2d(in_channels, ndf, KERNEL, stride=2, padding=1)
    yield nn.LeakyReLU(0.2)
    width = ndf
    for layer in range(1, n_layers + 1):
        before, width = width, ndf * min(2**layer, 8)
        stride = 2 if layer < n_layers else 1
        yield nn.Conv2d(before, width, KERNEL, stride, padding=1, bias=norm != "batch")
        if norm == "batch":
            yield nn.BatchNorm2d(width)
        elif norm == "instance":
            yield nn.InstanceNorm2d(width)
        yield nn.LeakyReLU(0.2)
    yield nn.Conv2d(width, 1, KERNEL, stride=1, padding=1)


@torch.no_grad()
def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
