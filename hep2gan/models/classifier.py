"""Classifier: any timm backbone on a grey image and its mask (section II-C)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import timm
import torch
from pydantic import Field
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.pretrained import (
    PretrainedWeights,
    WeightsFile,
    adapt_first_convolution,
    as_path,
)
from hep2gan.settings import Probability, Text, WholeOption

ImageChannels = Annotated[Literal[1, 3], WholeOption]
OptionalWidth = Annotated[int, Field(ge=1, examples=[128])] | None


def backbone_weights(
    backbone: str, pretrained: bool, weights: str | Path | None
) -> PretrainedWeights:
    """Describe the initial weights of a classifier's backbone.

    Args:
        backbone: Name and tag of a timm network.
        pretrained: Load ImageNet weights from the hub.
        weights: Local .pth or .safetensors file, or None.
    """
    return PretrainedWeights(backbone, pretrained, as_path(weights), "classifier.backbone")


def timm_backbone(
    initial: PretrainedWeights, image_channels: int, guided: bool, options: dict[str, Any]
) -> nn.Module:
    """Build a timm network without output layer for grey images, and masks if guided.

    Args:
        initial: The network and its initial weights.
        image_channels: 1 or 3 channels of the image.
        guided: Add an input channel for the mask.
        options: More arguments of timm.create_model.

    Raises:
        Hep2ganError: If the backbone is unknown or its weights are missing, damaged or of another
            architecture.
    """
    channels = 3 if initial.loads else image_channels + guided
    arguments = initial.timm_arguments() | options
    with initial.explain_errors():
        # With num_classes=0, timm returns the pooled features.
        network = timm.create_model(initial.model, num_classes=0, in_chans=channels, **arguments)
    initial.require_filled(network)
    if initial.loads and (guided or image_channels == 1):
        adapt_first_convolution(network, image_channels, guided)
    return cast(nn.Module, network)


def check_input(image: Tensor, mask: Tensor | None, guided: bool) -> None:
    """Check the input of a classifier.

    Args:
        image: Must be (B, 1, H, W).
        mask: Must be (B, 1, H, W) if guided, else None.
        guided: Whether the classifier takes a mask.

    Raises:
        Hep2ganError: If shapes do not fit, or a mask is missing or not expected.
    """
    if image.ndim != 4 or image.shape[1] != 1:
        raise Hep2ganError(f"images are {tuple(image.shape)}", "must be (B, 1, H, W)")
    if not guided and mask is not None:
        raise Hep2ganError(
            "a mask was given to an unguided classifier",
            "it takes the image alone",
            "set model.guidance.source=none, or build the classifier with guided=true",
        )
    if guided and mask is None:
        raise Hep2ganError(
            "no mask was given to a guided classifier",
            "it takes image and mask",
            "set model.guidance.source=generated, or build the classifier with guided=false",
        )
    if mask is not None and mask.shape != image.shape:
        raise Hep2ganError(
            f"masks are {tuple(mask.shape)} and images {tuple(image.shape)}", "must be the same"
        )


def concat_mask(image: Tensor, mask: Tensor | None, image_channels: int = 1) -> Tensor:
    """Stack the grey image `image_channels` times, then the mask if there is one.

    Args:
        image: (B, 1, H, W) grey images.
        mask: (B, 1, H, W) masks, or None.
        image_channels: Number of copies of the image.

    Returns:
        (B, C, H, W) input of a classifier.
    """
    grey = image.expand(-1, image_channels, -1, -1)
    return grey if mask is None else torch.cat([grey, mask.to(image.dtype)], dim=1)


class TimmClassifier(nn.Module):
    """Features of a timm backbone and, separate from them, the output layer.

    With weights, the first convolution gets grey = sum over RGB and mask = zeros: at step 0 the
    network is the pretrained one on grey images. Without, timm initialises it for that many
    channels, the mask's kernels like the image's.

    Args:
        num_classes: Number K of classes.
        backbone: Name and tag of a timm network, e.g. `resnet50.tv_in1k`.
        guided: Take the mask as one more input channel.
        pretrained: Load ImageNet weights from the hub.
        weights: Local .pth or .safetensors file.
        image_channels: 1, or 3 to repeat the grey image and keep a kernel per colour.
        feature_dim: None for the backbone's own features (ResNet-50: the 2048-d global average
            pool), or the width of a linear layer behind them.
        drop_rate: Probability of dropout between features and output layer.
        options: More arguments of timm.create_model, such as `{img_size: 112}` for a transformer.

    Attributes:
        feature_dim: Number D of features.
        regions: Number of averages of the last map that the backbone's features consist of.

    Raises:
        Hep2ganError: If the backbone is unknown or its weights are missing, damaged or of another
            architecture.
    """

    feature_dim: int
    regions = 1

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
    ) -> None:
        super().__init__()
        self.guided, self.image_channels = guided, image_channels
        initial = backbone_weights(backbone, pretrained, weights)
        self.backbone = timm_backbone(initial, image_channels, guided, dict(options or {}))
        # Older timm networks have no layer between pooling and classes, and no name for its width.
        width = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        pooled = self.regions * int(cast(int, width))
        self.embedding = nn.Linear(pooled, feature_dim) if feature_dim else nn.Identity()
        self.feature_dim = feature_dim or pooled
        self.output = nn.Linear(self.feature_dim, num_classes)
        self.dropout = nn.Dropout(drop_rate)

    @staticmethod
    def require_weights(
        backbone: str, pretrained: bool, weights: str | Path | None, **_: Any
    ) -> str:
        """Check that the weights of a backbone can be had, without loading them.

        Args:
            backbone: Name and tag of a timm network.
            pretrained: Whether ImageNet weights come from the hub.
            weights: Local .pth or .safetensors file, or None.
            **_: Other arguments of the class, which are ignored.

        Returns:
            The name of the backbone.

        Raises:
            Hep2ganError: If the backbone is unknown, or its weights are missing or cannot be
                downloaded.
        """
        backbone_weights(backbone, pretrained, weights).require_reachable()
        return backbone

    def forward(self, image: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            image: (B, 1, H, W) grey images.
            mask: (B, 1, H, W) masks in [0, 1] for a guided network, None for an unguided one.

        Returns:
            Logits (B, K) and features (B, D).

        Raises:
            Hep2ganError: If shapes do not fit, or a mask is missing or not expected.
        """
        check_input(image, mask, self.guided)
        features = self.embedding(self.backbone(concat_mask(image, mask, self.image_channels)))
        return self.output(self.dropout(features)), features
