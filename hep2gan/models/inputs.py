"""What a classifier takes in: grey images, and a mask beside them where it is guided."""

import torch
from torch import Tensor

from hep2gan.errors import Hep2ganError


def check_input(image: Tensor, mask: Tensor | None, guided: bool) -> None:
    """Raise Hep2ganError unless images are (B, 1, H, W) and masks alike, if guided, or None."""
    if image.ndim != 4 or image.shape[1] != 1:
        raise Hep2ganError(f"images are {tuple(image.shape)}", "must be (B, 1, H, W)")
    if not guided and mask is not None:
        raise Hep2ganError(
            "a mask was given to an unguided classifier",
            "it takes the image alone",
            "set guidance.source=none, or build the classifier with guided=true",
        )
    if guided and mask is None:
        raise Hep2ganError(
            "no mask was given to a guided classifier",
            "it takes image and mask",
            "set guidance.source=generated, or build the classifier with guided=false",
        )
    if mask is not None and mask.shape != image.shape:
        raise Hep2ganError(
            f"masks are {tuple(mask.shape)} and images {tuple(image.shape)}", "must be the same"
        )


def stacked(image: Tensor, mask: Tensor | None, image_channels: int = 1) -> Tensor:
    """The grey image `image_channels` times, then the mask if there is one: (B, C, H, W)."""
    grey = image.expand(-1, image_channels, -1, -1)
    return grey if mask is None else torch.cat([grey, mask.to(image.dtype)], dim=1)
