"""Generator: DeepLabv3+ (section II-B), from a grey image to the logits of its mask."""

import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import segmentation_models_pytorch as smp
import timm
from pydantic import Field
from torch import Tensor, nn

from hep2gan.errors import Hep2ganError
from hep2gan.models.pretrained import (
    FILES,
    PretrainedWeights,
    WeightsFile,
    as_path,
    require_hub,
)
from hep2gan.settings import PositiveInt, Probability, Text, WholeOption, in_words

log = logging.getLogger(__name__)

AtrousRates = Annotated[
    Sequence[PositiveInt],
    Field(min_length=3, max_length=3),
    in_words("three positive whole numbers"),
]
OutputStride = Annotated[Literal[16, 8], WholeOption]
TIMM = "tu-"
"""Prefix under which segmentation_models_pytorch has timm's encoders."""


def fitting_rates(size: int, stride: int) -> tuple[int, int, int]:
    """Compute three atrous rates, 1 : 2 : 3, that reach over three quarters of the map.

    Args:
        size: Side of the image in pixels.
        stride: Output stride of the encoder.

    Examples:
        >>> fitting_rates(128, 16), fitting_rates(64, 16)
        ((2, 4, 6), (1, 2, 3))
    """
    unit = max(1, size // stride // 4)
    return unit, 2 * unit, 3 * unit


def dead_rates(size: int, stride: int, rates: Sequence[int]) -> list[int]:
    """List the atrous rates at which only the centre of a 3x3 kernel ever sees a pixel.

    A tap r pixels off the centre (eq. 4) falls inside a map of n pixels somewhere only if r < n;
    otherwise it sees nothing but padding.

    Args:
        size: Side of the image in pixels.
        stride: Output stride of the encoder.
        rates: Dilations r.

    Examples:
        >>> dead_rates(128, 16, (6, 12, 18))
        [12, 18]
    """
    return [rate for rate in rates if rate >= size // stride]


class DeepLabV3PlusGenerator(nn.Module):
    """DeepLabv3+ on an Xception encoder, Chen et al. 2018, https://arxiv.org/abs/1802.02611.

    Encoder, then atrous spatial pyramid pooling (eq. 4: separable 3x3 convolutions at three rates,
    `decoder_channels` filters each, batch norm, ReLU, one `dropout` behind the projection), x4
    bilinear, concatenated with the stride-4 features, one separable 3x3 convolution, a 1x1
    convolution to one logit, x4 bilinear.

    Logs a warning if an atrous rate sees only padding.

    Args:
        encoder: Name in segmentation_models_pytorch; names with `tu-` are timm's, a tag selects the
            weights (`tu-xception65.tf_in1k`).
        pretrained: Load ImageNet weights; grey kernels are the sum over RGB.
        weights: Local .pth or .safetensors file of the encoder (`tu-` only).
        output_stride: Output stride of the encoder, 8 or 16.
        atrous_rates: Three dilations r of eq. 4.
        image_size: Side in pixels that the settings are checked for; images of other sizes may be
            passed.
        decoder_channels: Filters of the pyramid and the decoder.
        dropout: Probability of dropout behind the pyramid's projection.

    Raises:
        Hep2ganError: If the output stride does not divide the image size, or the encoder or its
            weights cannot be had.
    """

    def __init__(
        self,
        encoder: Text = "tu-xception65",
        pretrained: bool = True,
        weights: WeightsFile = None,
        output_stride: OutputStride = 16,
        atrous_rates: AtrousRates = (2, 4, 6),
        image_size: int = 128,
        decoder_channels: PositiveInt = 256,
        dropout: Probability = 0.5,
    ) -> None:
        super().__init__()
        self.output_stride = output_stride
        _check_divisible(image_size, output_stride)
        _warn_of_dead_rates(output_stride, atrous_rates, image_size)
        initial = _initial(encoder, pretrained, weights)
        arguments = _encoder_arguments(encoder, initial)
        with initial.explain_errors():
            self.network = smp.DeepLabV3Plus(
                encoder_name=encoder,
                encoder_output_stride=output_stride,
                decoder_atrous_rates=tuple(atrous_rates),
                decoder_channels=decoder_channels,
                decoder_aspp_dropout=dropout,
                in_channels=1,
                classes=1,
                **arguments,
            )
        initial.require_filled(self.network.encoder)

    @staticmethod
    def require_weights(
        encoder: str, pretrained: bool, weights: str | Path | None, **_: Any
    ) -> str:
        """Check that the weights of an encoder can be had, without loading them.

        Args:
            encoder: Name in segmentation_models_pytorch.
            pretrained: Whether ImageNet weights come from the hub.
            weights: Local .pth or .safetensors file, or None.
            **_: Other arguments of the class, which are ignored.

        Returns:
            The name of the encoder.

        Raises:
            Hep2ganError: If the encoder is unknown, or its weights are missing or cannot be
                downloaded.
        """
        initial = _initial(encoder, pretrained, weights)
        if encoder.startswith(TIMM):
            initial.require_reachable()
        else:
            _encoder_arguments(encoder, initial)
        return encoder

    def forward(self, image: Tensor) -> Tensor:
        """Compute mask logits.

        Args:
            image: (B, 1, H, W) grey images.

        Returns:
            Logits (B, 1, H, W), float32 also under autocast.

        Raises:
            Hep2ganError: If the shape is another, the output stride does not divide a side, or a
                training batch is a single image (batch norm in the pyramid's global pooling).
        """
        if image.ndim != 4 or image.shape[1] != 1:
            raise Hep2ganError(f"images are {tuple(image.shape)}", "must be (B, 1, H, W)")
        for side in image.shape[-2:]:
            _check_divisible(side, self.output_stride)
        if self.training and len(image) == 1:
            raise Hep2ganError(
                "the generator got a training batch of 1 image",
                "its batch norm needs 2",
                "drop the last incomplete batch, or choose a batch size of at least 2",
            )
        logits = cast(Tensor, self.network(image))
        return logits if logits.dtype.itemsize >= 4 else logits.float()


def _initial(encoder: str, pretrained: bool, weights: str | Path | None) -> PretrainedWeights:
    return PretrainedWeights(
        encoder.removeprefix(TIMM), pretrained, as_path(weights), "generator.encoder"
    )


def _encoder_arguments(encoder: str, initial: PretrainedWeights) -> dict[str, Any]:
    if encoder.startswith(TIMM):
        arguments = initial.timm_arguments()
        # smp tests for `is not None`, so that False would load weights as well.
        arguments["encoder_weights"] = True if arguments.pop("pretrained") else None
        return arguments
    known = smp.encoders.encoders
    if encoder not in known:
        near = difflib.get_close_matches(encoder, [TIMM + name for name in timm.list_models()], 2)
        fix = f"choose {' or '.join(near or ['tu-xception65', 'tu-mobilenetv3_small_100'])}"
        raise Hep2ganError(f"generator.encoder is {encoder!r}", "there is no such encoder", fix)
    if initial.file is not None:
        raise Hep2ganError(
            f"generator.weights is given for encoder {encoder!r}",
            "weight files are for timm's encoders",
            "choose an encoder that starts with tu-",
        )
    if not initial.pretrained:
        return {"encoder_weights": None}
    source = known[encoder]["pretrained_settings"]["imagenet"]
    require_hub(source["repo_id"], source["revision"], initial.fix, FILES)
    return {"encoder_weights": "imagenet"}


def _warn_of_dead_rates(output_stride: int, rates: Sequence[int], image_size: int) -> None:
    if dead := dead_rates(image_size, output_stride, rates):
        side, better = image_size // output_stride, list(fitting_rates(image_size, output_stride))
        log.warning(
            "generator.atrous_rates %s see only padding on a %dx%d feature map (%d px, stride %d):"
            " 1 of 9 taps is alive. Fix: generator.atrous_rates=%s.",
            dead, side, side, image_size, output_stride, str(better).replace(" ", ""),
        )  # fmt: skip


def _check_divisible(side: int, stride: int) -> None:
    if side % stride or side < stride:
        below = max(stride, side // stride * stride)
        above = max(stride, -(-side // stride) * stride)
        choices = " or ".join(map(str, sorted({below, above})))
        raise Hep2ganError(
            f"image size is {side}", f"must be divisible by {stride}", f"choose {choices}"
        )
