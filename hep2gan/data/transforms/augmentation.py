"""Random flips, turns, shifts, zooms, defocus, grey-level jitter and noise: paired, batched."""

import math
from dataclasses import dataclass

from torch import Tensor

from hep2gan.data.batch import BatchSeed
from hep2gan.data.transforms.functional import affine, flip, gaussian_blur, jitter_grey_levels
from hep2gan.data.transforms.random import AugmentationParams, Interval, as_column, sample_noise
from hep2gan.errors import Hep2ganError

WIDEST_BLUR = 4.0


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training cells; the default is the paper's (section III-A): flips.

    horizontal_flip, vertical_flip: probability of each, independently. quarter_turns: turn by 0,
    90, 180 or 270° at equal odds. Both move pixels without interpolation. rotation: up to ±degrees.
    shift: up to ±share of the side along each axis. scale: zoom, log-uniform in the interval;
    below 1 the cell shrinks and is padded. Rotation, shift and scale are one resampling, bilinear
    for the image and nearest for the mask. Outside the crop the image is mirrored (so that no
    seam shows where the crop ended) and the mask is 0; crops have about 14 % margin on each side,
    so keep shift + (1/scale − 1)/2 below 0.14 or mirrored nuclei will lie outside the mask.

    gain, gamma: log-uniform in the interval; offset: up to ± of full scale. Image only, and after
    normalisation, since a per-image stretch would undo gain and offset:
    clamp(gain·imageᵞ + offset, 0, 1). A gain above 1 saturates, as an exposure that is too long.
    jitter: probability that a cell's grey levels change so at all.

    blur: Gaussian, as of a microscope out of focus; its standard deviation in pixels is uniform in
    the interval. noise: normal, independent from pixel to pixel, as of a camera; a cell's standard
    deviation is uniform in 0..noise of full scale. Image only: first blur, then grey levels, then
    noise.

    Raises Hep2ganError for values out of range.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.5
    rotation: float = 0.0
    quarter_turns: bool = False
    shift: float = 0.0
    scale: Interval = (1.0, 1.0)
    gain: Interval = (1.0, 1.0)
    offset: float = 0.0
    gamma: Interval = (1.0, 1.0)
    jitter: float = 1.0
    blur: Interval = (0.0, 0.0)
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip", "jitter"):
            _check(name, getattr(self, name), 0.0, 1.0)
        _check("rotation", self.rotation, 0.0, 180.0)
        _check("shift", self.shift, 0.0, 0.5)
        _check("offset", self.offset, 0.0, 1.0)
        _check("noise", self.noise, 0.0, 1.0)
        for name in ("scale", "gain", "gamma"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (float(low), float(high)))
            if not 0 < low <= high < math.inf:
                raise Hep2ganError(
                    f"Augmentation {name} is [{low}, {high}]",
                    "it must be an interval above 0, low end first",
                    f"set {name}=[1.0,1.0] to leave it out",
                )
        low, high = self.blur
        object.__setattr__(self, "blur", (float(low), float(high)))
        if not 0 <= low <= high <= WIDEST_BLUR:
            raise Hep2ganError(
                f"Augmentation blur is [{low}, {high}]",
                f"it must be an interval of 0 to {WIDEST_BLUR:g} pixels, low end first",
                "set blur=[0.0,0.0] to leave it out",
            )

    @property
    def resamples(self) -> bool:
        """Whether any option needs interpolation."""
        return bool(self.rotation or self.shift) or self.scale != (1.0, 1.0)

    @property
    def recolours(self) -> bool:
        """Whether any option changes grey levels."""
        return bool(self.offset) or (self.gain, self.gamma) != ((1.0, 1.0), (1.0, 1.0))

    def __call__(
        self, image: Tensor, mask: Tensor, draw: BatchSeed, *, bounded: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Augment float (B, 1, S, S) images and masks alike.

        bounded: images lie in [0, 1] and are kept there; otherwise nothing is clamped. Raises
        Hep2ganError for gamma jitter of unbounded images.
        """
        numbers = AugmentationParams.drawn(draw, image.device)
        flat, flat_mask = self.flipped(image.flatten(0, 1), mask.flatten(0, 1), numbers)
        return self.changed(
            flat.unsqueeze(1), flat_mask.unsqueeze(1), draw, numbers, bounded=bounded
        )

    def flipped(
        self, image: Tensor, mask: Tensor, numbers: AugmentationParams
    ) -> tuple[Tensor, Tensor]:
        """What moves pixels and leaves their values: (B, S, S) of any type, so also as stored."""
        flips = (self.horizontal_flip, self.vertical_flip)
        return flip(image, mask, numbers, flips, turns=self.quarter_turns)

    def changed(
        self,
        image: Tensor,
        mask: Tensor,
        draw: BatchSeed,
        numbers: AugmentationParams,
        *,
        bounded: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """All the rest, in float: (B, 1, S, S) that have been normalised and flipped.

        numbers: those of `draw`, which are drawn once for both.
        """
        self.check(bounded)
        if self.resamples:
            ranges = (self.rotation, self.shift, self.scale)
            image, mask = affine(image, mask, numbers, *ranges)
        if self.blur[1]:
            low, high = self.blur
            image = gaussian_blur(image, low + numbers.blur * (high - low), high)
        if self.recolours:
            jitter = (self.gain, self.offset, self.gamma, self.jitter)
            image = jitter_grey_levels(image, numbers, *jitter, bounded=bounded)
        if self.noise:
            image = image + as_column(numbers.noise * self.noise) * sample_noise(draw, image)
            image = image.clamp(0, 1) if bounded else image
        return image.contiguous(), mask.contiguous()

    def check(self, bounded: bool) -> None:
        """Raise Hep2ganError where gamma jitter meets images that may be negative."""
        if not bounded and self.gamma != (1.0, 1.0):
            raise Hep2ganError(
                f"Augmentation gamma is {list(self.gamma)} with z-score normalisation",
                "gamma needs grey levels in [0, 1]",
                "set gamma=[1.0,1.0], or normalise by min_max or percentile",
            )


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise Hep2ganError(
            f"Augmentation {name} is {value}", f"it must be {low} to {high}", f"set {name}={low}"
        )
