"""Classifier whose features are pooled over nucleus, ring and whole image by the mask."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.models.classifier import (
    ImageChannels,
    OptionalWidth,
    TimmClassifier,
    check_input,
    concat_mask,
)
from hep2gan.models.pretrained import WeightsFile
from hep2gan.settings import Probability, Text

LEAST_SHARE = 1e-3
"""Share of the image below which a region fades to zeros, so that empty masks have features."""


class AttentionPoolingClassifier(TimmClassifier):
    """A timm backbone on the grey image alone, whose last map is averaged over three regions.

    They are the mask, a ring around it, where the Golgi pattern lies, and the whole image; their
    averages are concatenated. Masks may be soft, and gradients reach them.

    Args:
        num_classes: Number K of classes.
        backbone: Name and tag of a convolutional timm network, e.g. `resnet50.tv_in1k`.
        guided: Must be true.
        pretrained: Load ImageNet weights from the hub.
        weights: Local .pth or .safetensors file.
        image_channels: 1, or 3 to repeat the grey image and keep a kernel per colour.
        feature_dim: None for the three averages themselves (ResNet-50: 3 · 2048), or the width of a
            linear layer behind them.
        drop_rate: Probability of dropout between features and output layer.
        options: More arguments of timm.create_model; `{output_stride: 16}` keeps the last map fine
            enough for a ring.
        ring: Width of the ring as a share of the image's side, above 0 and at most 0.5.

    Attributes:
        feature_dim: Number D of features.

    Raises:
        Hep2ganError: As `TimmClassifier`, and if guided is false.
    """

    regions = 3

    def __init__(
        self,
        num_classes: int,
        backbone: Text = "resnet50.tv_in1k",
        guided: bool = True,
        pretrained: bool = True,
        weights: WeightsFile = None,
        image_channels: ImageChannels = 1,
        feature_dim: OptionalWidth = None,
        drop_rate: Probability = 0.0,
        options: Mapping[str, Any] | None = None,
        ring: Annotated[float, Field(gt=0, le=0.5)] = 0.15,
    ) -> None:
        if not guided:
            raise Hep2ganError(
                "attention pooling is unguided",
                "it pools by the mask",
                "set model.guidance.source=generated or ground_truth",
            )
        # The backbone takes no mask and, without global pooling, returns its last map.
        super().__init__(
            num_classes,
            backbone,
            guided=False,
            pretrained=pretrained,
            weights=weights,
            image_channels=image_channels,
            feature_dim=feature_dim,
            drop_rate=drop_rate,
            options={**(options or {}), "global_pool": ""},
        )
        self.guided, self.ring = guided, ring

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            image: (B, 1, H, W) grey images.
            mask: (B, 1, H, W) masks in [0, 1].

        Returns:
            Logits (B, K) and features (B, D).

        Raises:
            Hep2ganError: If shapes do not fit, or the backbone gives no map.
        """
        check_input(image, mask, guided=True)
        assert mask is not None
        last = self.backbone(concat_mask(image, None, self.image_channels))
        if last.ndim != 4:
            raise Hep2ganError(
                f"the backbone gives {tuple(last.shape)}",
                "attention pooling needs a map (B, C, h, w)",
                "choose a convolutional classifier.backbone",
            )
        features = self.embedding(pool_by_region(last, mask_regions(mask, self.ring)))
        return self.output(self.dropout(features)), features


def mask_regions(mask: Tensor, ring: float) -> Tensor:
    """Compute the weights of nucleus, ring and whole image.

    Args:
        mask: (B, 1, H, W) masks in [0, 1].
        ring: Width of the ring as a share of H. The ring is what a dilation by `ring` · H pixels (a
            square window) adds to the mask.

    Returns:
        (B, 3, H, W) weights in [0, 1].
    """
    width = round(ring * mask.shape[-2])
    dilated = F.max_pool2d(mask, (2 * width + 1, 1), stride=1, padding=(width, 0))
    dilated = F.max_pool2d(dilated, (1, 2 * width + 1), stride=1, padding=(0, width))
    return torch.cat([mask, dilated - mask, torch.ones_like(mask)], dim=1)


def pool_by_region(last: Tensor, weights: Tensor) -> Tensor:
    """Average maps over regions.

    Args:
        last: (B, C, h, w) maps.
        weights: (B, R, H, W) weights of the regions, which are shrunk to (h, w).

    Returns:
        (B, R · C) averages, region by region. A region of less than `LEAST_SHARE` of the image
        fades to zeros.
    """
    height, width = last.shape[-2:]
    small = F.adaptive_avg_pool2d(weights.to(last.dtype), (height, width))
    sums = torch.einsum("brhw,bchw->brc", small, last)
    areas = small.sum(dim=(2, 3)).clamp(min=LEAST_SHARE * height * width)
    return (sums / areas[:, :, None]).flatten(1)
