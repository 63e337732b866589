"""Classifier: any timm backbone on a grey image and its mask (section II-C)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.pretrained import PretrainedWeights, adapt_first_convolution, as_path


def build_head(
    pooled: int, feature_dim: int | None, drop_rate: float, num_classes: int
) -> tuple[nn.Module, nn.Module, nn.Linear]:
    """Build a classifier's embedding, dropout and output layer.

    Args:
        pooled: width of the backbone's pooled features.
        feature_dim: width D of a linear embedding, or None for the pooled features themselves.
        drop_rate: of the dropout between features and output layer.
        num_classes: K.
    """
    embedding = nn.Linear(pooled, feature_dim) if feature_dim else nn.Identity()
    output = nn.Linear(feature_dim or pooled, num_classes)
    return embedding, nn.Dropout(drop_rate), output


def backbone_weights(
    backbone: str, pretrained: bool, weights: str | Path | None
) -> PretrainedWeights:
    """Describe the initial weights of a classifier's backbone."""
    return PretrainedWeights(backbone, pretrained, as_path(weights), "classifier.backbone")


def timm_backbone(
    initial: PretrainedWeights, image_channels: int, guided: bool, options: dict[str, Any]
) -> nn.Module:
    """Build a timm network without output layer for grey images, and masks if guided."""
    channels = 3 if initial.loads else image_channels + guided
    arguments = initial.timm_arguments() | options
    with initial.explain_errors():
        # Without classes timm's forward ends at the pooled features.
        network = timm.create_model(initial.model, num_classes=0, in_chans=channels, **arguments)
    initial.require_filled(network)
    if initial.loads and (guided or image_channels == 1):
        adapt_first_convolution(network, image_channels, guided)
    return cast(nn.Module, network)


def pooled_width(backbone: nn.Module) -> int:
    """Return the width of a timm network's features before its output layer."""
    # Older timm networks have no layer between pooling and classes, and no name for its width.
    width = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return int(cast(int, width))


def check_backbone_settings(num_classes: int, image_channels: int, feature_dim: int | None) -> None:
    """Raise Hep2ganError for settings of a classifier that cannot work."""
    if num_classes < 2:
        raise Hep2ganError(f"the number of classes is {num_classes}", "must be at least 2")
    if image_channels not in (1, 3):
        raise Hep2ganError(f"classifier.image_channels is {image_channels}", "must be 1 or 3")
    if feature_dim is not None and feature_dim < 1:
        raise Hep2ganError(f"classifier.feature_dim is {feature_dim}", "must be at least 1 or null")


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


def concat_mask(image: Tensor, mask: Tensor | None, image_channels: int = 1) -> Tensor:
    """Stack the grey image `image_channels` times, then the mask if there is one: (B, C, H, W)."""
    grey = image.expand(-1, image_channels, -1, -1)
    return grey if mask is None else torch.cat([grey, mask.to(image.dtype)], dim=1)


def require_backbone_weights(
    backbone: str, pretrained: bool, weights: str | Path | None, **_: Any
) -> str:
    """Name the backbone; raises Hep2ganError where its weights cannot be had. Loads nothing."""
    backbone_weights(backbone, pretrained, weights).require_reachable()
    return backbone


class TimmClassifier(nn.Module):
    """Features of a timm backbone and, apart from them, the output layer.

    With weights, the first convolution gets grey = sum over RGB and mask = zeros: at step 0 the
    network is the pretrained one on grey images. From scratch it is initialised by timm for that
    many channels, the mask's kernels like the image's.

    Args:
        num_classes: K.
        backbone: timm's name and tag, e.g. `resnet50.tv_in1k`.
        guided: take the mask as one more input channel.
        pretrained: load ImageNet weights from the hub.
        weights: local .pth or .safetensors file.
        image_channels: 1, or 3 to repeat the grey image and keep a kernel per colour.
        feature_dim: None for the backbone's own features (ResNet-50: the 2048-d global average
            pool), or the width of a linear layer behind them.
        drop_rate: dropout between features and output layer.
        options: more arguments of timm.create_model, such as `{img_size: 112}` for a transformer.

    Attributes:
        feature_dim: D, the width of the features.

    Raises:
        Hep2ganError: for an unknown backbone and for weights that are missing, damaged or of
            another architecture.
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
    ) -> None:
        super().__init__()
        check_backbone_settings(num_classes, image_channels, feature_dim)
        self.guided, self.image_channels = guided, image_channels
        initial = backbone_weights(backbone, pretrained, weights)
        self.backbone = timm_backbone(initial, image_channels, guided, dict(options or {}))
        pooled = pooled_width(self.backbone)
        head = build_head(pooled, feature_dim, drop_rate, num_classes)
        self.embedding, self.dropout, self.output = head
        self.feature_dim = self.output.in_features

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            image: (B, 1, H, W).
            mask: (B, 1, H, W) in [0, 1] for a guided network, None for an unguided one.

        Returns:
            Logits (B, K) and features (B, D).

        Raises:
            Hep2ganError: for other shapes, and where a mask is missing or not expected.
        """
        check_input(image, mask, self.guided)
        pooled = self.backbone(concat_mask(image, mask, self.image_channels))
        features = self.embedding(pooled)
        return self.output(self.dropout(features)), features
