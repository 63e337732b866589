"""First convolution of a pretrained RGB network, fed with grey levels and a mask instead."""

from typing import cast

import torch
from timm.layers import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError

STANDARDISED = (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame)
"""Convolutions that rescale their kernels over all input channels: channels cannot be added."""


def adapt_first_convolution(network: nn.Module, image_channels: int, guided: bool) -> None:
    """Change the first convolution of an RGB timm network in place.

    image_channels 1: the grey kernel is the sum over R, G and B. 3: kernels are kept and the grey
    image is to be repeated. guided adds a mask channel of zeros. Either way the network starts as
    exactly the pretrained network on grey images. timm's own rule for two channels, [R, G]·1.5,
    would hand the green kernels to the mask. Raises Hep2ganError where there is no such layer.
    """
    for name in _first_convolutions(network):
        convolution = network.get_submodule(name)
        if not isinstance(convolution, nn.Conv2d) or isinstance(convolution, STANDARDISED):
            kind = type(convolution).__name__
            raise _unsupported(f"the first layer {name} is a {kind}, not a plain convolution")
        if convolution.in_channels != 3 or convolution.groups != 1:
            raise _unsupported(f"the first layer {name} takes {convolution.in_channels} channels")
        kernel = with_mask_channel(convolution.weight.detach(), image_channels, guided)
        convolution.weight = nn.Parameter(kernel)
        convolution.in_channels = kernel.shape[1]


def with_mask_channel(rgb: Tensor, image_channels: int, guided: bool) -> Tensor:
    """Turn (O, 3, k, k) kernels into (O, image_channels + guided, k, k) ones."""
    image = rgb.sum(dim=1, keepdim=True) if image_channels == 1 else rgb
    if not guided:
        return image.clone()
    return torch.cat([image, torch.zeros_like(image[:, :1])], dim=1)


def _first_convolutions(network: nn.Module) -> tuple[str, ...]:
    config = cast(dict[str, object], getattr(network, "pretrained_cfg", {}))
    names = config.get("first_conv")
    if not names:
        raise _unsupported("its first convolution is not known to timm")
    return (names,) if isinstance(names, str) else tuple(cast(tuple[str, ...], names))


def _unsupported(fact: str) -> Hep2ganError:
    return Hep2ganError(
        f"this backbone cannot take grey images and masks with its pretrained weights: {fact}",
        "",
        "choose another classifier.backbone (resnet50.tv_in1k) or classifier.pretrained=false",
    )
