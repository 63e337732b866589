"""Classifier that looks at nucleus, ring and whole: the mask pools features, and is no channel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.models.classifier import (
    backbone_weights,
    build_head,
    check_backbone_settings,
    check_input,
    concat_mask,
    pooled_width,
    require_backbone_weights,
    timm_backbone,
)

LEAST_SHARE = 1e-3
"""Share of the image below which a region fades to zeros, so that empty masks have features."""


class AttentionPoolingClassifier(nn.Module):
    """A timm backbone on the grey image alone, whose last map is averaged over three regions.

    They are the mask, a ring around it, where Golgi staining lies, and the whole image; their
    averages are concatenated. Masks may be soft, and gradients reach them.

    Args:
        num_classes: as of `TimmClassifier`, like all that follow but those described here.
        backbone: of convolutions, so that it gives a map.
        guided: must be true.
        pretrained: load ImageNet weights from the hub.
        weights: local .pth or .safetensors file.
        image_channels: 1 or 3.
        feature_dim: None for the three averages themselves (ResNet-50: 3 · 2048), or the width of a
            linear layer behind them.
        drop_rate: dropout between features and output layer.
        options: of timm.create_model; `{output_stride: 16}` keeps the last map fine enough for a
            ring.
        ring: width of the ring as a share of the image's side, above 0 and at most 0.5.

    Attributes:
        feature_dim: D, the width of the features.

    Raises:
        Hep2ganError: as `TimmClassifier`, and for guided=false, other rings, and backbones that
            give no map.
    """

    feature_dim: int
    require_weights = staticmethod(require_backbone_weights)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet50.tv_in1k",
        guided: bool = True,
        pretrained: bool = True,
        weights: str | Path | None = None,
        image_channels: Literal[1, 3] = 1,
        feature_dim: int | None = None,
        drop_rate: float = 0.0,
        options: Mapping[str, Any] | None = None,
        ring: float = 0.15,
    ) -> None:
        super().__init__()
        check_backbone_settings(num_classes, image_channels, feature_dim)
        _check_regions(guided, ring)
        self.image_channels, self.ring = image_channels, ring
        initial = backbone_weights(backbone, pretrained, weights)
        # Without a pool of its own, timm's forward ends at the last map.
        unpooled = {**(options or {}), "global_pool": ""}
        self.backbone = timm_backbone(initial, image_channels, False, unpooled)
        pooled = 3 * pooled_width(self.backbone)
        head = build_head(pooled, feature_dim, drop_rate, num_classes)
        self.embedding, self.dropout, self.output = head
        self.feature_dim = self.output.in_features

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            image: (B, 1, H, W).
            mask: (B, 1, H, W) in [0, 1].

        Returns:
            Logits (B, K) and features (B, D).

        Raises:
            Hep2ganError: for other shapes.
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
    """Weights (B, 3, H, W) in [0, 1] of nucleus, ring and whole, from masks (B, 1, H, W).

    The ring is what a dilation by `ring` · H pixels (a square window) adds to the mask.
    """
    width = round(ring * mask.shape[-2])
    dilated = F.max_pool2d(mask, (2 * width + 1, 1), stride=1, padding=(width, 0))
    dilated = F.max_pool2d(dilated, (1, 2 * width + 1), stride=1, padding=(0, width))
    return torch.cat([mask, dilated - mask, torch.ones_like(mask)], dim=1)


def pool_by_region(last: Tensor, weights: Tensor) -> Tensor:
    """Average maps (B, C, h, w) over regions (B, R, H, W), which are shrunk to their size.

    Gives (B, R · C), region by region. A region of less than `LEAST_SHARE` of the image fades to
    zeros.
    """
    height, width = last.shape[-2:]
    small = F.adaptive_avg_pool2d(weights.to(last.dtype), (height, width))
    sums = torch.einsum("brhw,bchw->brc", small, last)
    areas = small.sum(dim=(2, 3)).clamp(min=LEAST_SHARE * height * width)
    return (sums / areas[:, :, None]).flatten(1)


def _check_regions(guided: bool, ring: float) -> None:
    if not guided:
        raise Hep2ganError(
            "attention pooling is unguided",
            "it pools by the mask",
            "set guidance.source=generated or ground_truth",
        )
    if not 0 < ring <= 0.5:
        raise Hep2ganError(f"classifier.ring is {ring}", "must be above 0 and at most 0.5")
