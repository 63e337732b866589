"""Classifier: any timm backbone on a grey image and its mask (section II-C)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from hep2gan.models.backbone import (
    backbone_weights,
    check_settings,
    head,
    pooled_width,
    timm_backbone,
)
from hep2gan.models.inputs import check_input, stacked


class TimmClassifier(nn.Module):
    """Features of a timm backbone and, apart from them, the output layer.

    backbone: timm's name and tag, e.g. `resnet50.tv_in1k`. num_classes: K. guided: take the mask as
    one more input channel. pretrained: ImageNet weights from the hub. weights: local .pth or
    .safetensors file. image_channels: 1, or 3 to repeat the grey image and keep a kernel per
    colour. feature_dim: None for the backbone's own features (ResNet-50: the 2048-d global average
    pool), or the width of a linear layer behind them. drop_rate: dropout between features and
    output layer. options: more arguments of timm.create_model, such as `{img_size: 112}` for a
    transformer.

    With weights, the first convolution gets grey = sum over RGB and mask = zeros: at step 0 the
    network is the pretrained one on grey images. From scratch it is what timm draws for that many
    channels, the mask's kernels like the image's.

    Attribute `feature_dim` is D, the width of the features. Raises Hep2ganError for an unknown
    backbone and for weights that are missing, damaged or of another architecture.
    """

    feature_dim: int

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
    ) -> None:
        super().__init__()
        check_settings(num_classes, image_channels, feature_dim)
        self.guided, self.image_channels = guided, image_channels
        initial = backbone_weights(backbone, pretrained, weights)
        self.backbone = timm_backbone(initial, image_channels, guided, dict(options or {}))
        pooled = pooled_width(self.backbone)
        layers = head(pooled, feature_dim, drop_rate, num_classes)
        self.embedding, self.dropout, self.output = layers
        self.feature_dim = self.output.in_features

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give logits (B, K) and features (B, D) for images (B, 1, H, W).

        mask: (B, 1, H, W) in [0, 1] for a guided network, None for an unguided one. Raises
        Hep2ganError where that or the shapes do not hold.
        """
        check_input(image, mask, self.guided)
        pooled = self.backbone(stacked(image, mask, self.image_channels))
        features = self.embedding(pooled)
        return self.output(self.dropout(features)), features


def require_backbone_weights(backbone: str, pretrained: bool, weights: str | Path | None) -> None:
    """Raise Hep2ganError for an unknown backbone or weights that cannot be had; loads nothing."""
    backbone_weights(backbone, pretrained, weights).require_reachable()
