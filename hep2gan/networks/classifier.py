"""Classifier: any timm backbone on a grey image and its mask (section II-C)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.networks.first_convolution import adapt_first_convolution
from hep2gan.networks.weights import InitialWeights, as_path


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
        _check_settings(num_classes, image_channels, feature_dim)
        self.guided, self.image_channels = guided, image_channels
        initial = _initial(backbone, pretrained, weights)
        self.backbone = _backbone(initial, image_channels, guided, dict(options or {}))
        pooled = _pooled_width(self.backbone)
        self.feature_dim = feature_dim or pooled
        self.embedding = nn.Linear(pooled, feature_dim) if feature_dim else nn.Identity()
        self.dropout = nn.Dropout(drop_rate)
        self.output = nn.Linear(self.feature_dim, num_classes)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give logits (B, K) and features (B, D) for images (B, 1, H, W).

        mask: (B, 1, H, W) in [0, 1] for a guided network, None for an unguided one. Raises
        Hep2ganError where that or the shapes do not hold.
        """
        features = self.embedding(self.backbone(self._input(image, mask)))
        return self.output(self.dropout(features)), features

    def _input(self, image: Tensor, mask: Tensor | None) -> Tensor:
        if image.ndim != 4 or image.shape[1] != 1:
            raise Hep2ganError(f"images are {tuple(image.shape)}", "must be (B, 1, H, W)")
        grey = image.expand(-1, self.image_channels, -1, -1)
        if not self.guided:
            if mask is not None:
                raise Hep2ganError(
                    "a mask was given to an unguided classifier",
                    "it takes the image alone",
                    "set guidance.source=none, or build the classifier with guided=true",
                )
            return grey
        if mask is None:
            raise Hep2ganError(
                "no mask was given to a guided classifier",
                "it takes image and mask",
                "set guidance.source=generated, or build the classifier with guided=false",
            )
        if mask.shape != image.shape:
            raise Hep2ganError(
                f"masks are {tuple(mask.shape)} and images {tuple(image.shape)}", "must be the same"
            )
        return torch.cat([grey, mask.to(image.dtype)], dim=1)


def require_backbone_weights(backbone: str, pretrained: bool, weights: str | Path | None) -> None:
    """Raise Hep2ganError for an unknown backbone or weights that cannot be had; loads nothing."""
    _initial(backbone, pretrained, weights).require_reachable()


def _initial(backbone: str, pretrained: bool, weights: str | Path | None) -> InitialWeights:
    return InitialWeights(backbone, pretrained, as_path(weights), "classifier.backbone")


def _backbone(
    initial: InitialWeights, image_channels: int, guided: bool, options: dict[str, Any]
) -> nn.Module:
    channels = 3 if initial.wanted else image_channels + guided
    arguments = initial.timm_arguments() | options
    with initial.explained():
        # Without classes timm's forward ends at the pooled features.
        network = timm.create_model(initial.model, num_classes=0, in_chans=channels, **arguments)
    initial.require_filled(network)
    if initial.wanted and (guided or image_channels == 1):
        adapt_first_convolution(network, image_channels, guided)
    return cast(nn.Module, network)


def _pooled_width(backbone: nn.Module) -> int:
    # Older timm networks have no layer between pooling and classes, and no name for its width.
    width = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return int(cast(int, width))


def _check_settings(num_classes: int, image_channels: int, feature_dim: int | None) -> None:
    if num_classes < 2:
        raise Hep2ganError(f"the number of classes is {num_classes}", "must be at least 2")
    if image_channels not in (1, 3):
        raise Hep2ganError(f"classifier.image_channels is {image_channels}", "must be 1 or 3")
    if feature_dim is not None and feature_dim < 1:
        raise Hep2ganError(f"classifier.feature_dim is {feature_dim}", "must be at least 1 or null")
