"""A timm network as the body of a classifier: built, filled with weights, fitted to grey images."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
from torch import nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.first_convolution import adapt_first_convolution
from hep2gan.models.pretrained import InitialWeights, as_path


class Head(NamedTuple):
    """What stands behind the pooled features of a classifier, in this order."""

    embedding: nn.Module
    dropout: nn.Module
    output: nn.Linear


def head(pooled: int, feature_dim: int | None, drop_rate: float, num_classes: int) -> Head:
    """Layers from (B, pooled) to features (B, D) and from there to logits (B, K).

    feature_dim: D of a linear layer, or None for the pooled features themselves.
    """
    embedding = nn.Linear(pooled, feature_dim) if feature_dim else nn.Identity()
    output = nn.Linear(feature_dim or pooled, num_classes)
    return Head(embedding, nn.Dropout(drop_rate), output)


def backbone_weights(backbone: str, pretrained: bool, weights: str | Path | None) -> InitialWeights:
    """Where the weights of a classifier's backbone come from, as its settings say."""
    return InitialWeights(backbone, pretrained, as_path(weights), "classifier.backbone")


def timm_backbone(
    initial: InitialWeights, image_channels: int, guided: bool, options: dict[str, Any]
) -> nn.Module:
    """A timm network for grey images, and the mask beside them if guided, without output layer."""
    channels = 3 if initial.wanted else image_channels + guided
    arguments = initial.timm_arguments() | options
    with initial.explained():
        # Without classes timm's forward ends at the pooled features.
        network = timm.create_model(initial.model, num_classes=0, in_chans=channels, **arguments)
    initial.require_filled(network)
    if initial.wanted and (guided or image_channels == 1):
        adapt_first_convolution(network, image_channels, guided)
    return cast(nn.Module, network)


def pooled_width(backbone: nn.Module) -> int:
    """Width of the features that a timm network without output layer gives."""
    # Older timm networks have no layer between pooling and classes, and no name for its width.
    width = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return int(cast(int, width))


def check_settings(num_classes: int, image_channels: int, feature_dim: int | None) -> None:
    """Raise Hep2ganError for settings of a classifier that cannot work."""
    if num_classes < 2:
        raise Hep2ganError(f"the number of classes is {num_classes}", "must be at least 2")
    if image_channels not in (1, 3):
        raise Hep2ganError(f"classifier.image_channels is {image_channels}", "must be 1 or 3")
    if feature_dim is not None and feature_dim < 1:
        raise Hep2ganError(f"classifier.feature_dim is {feature_dim}", "must be at least 1 or null")
