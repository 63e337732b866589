"""Random flips, turns, shifts, zooms, defocus, grey-level jitter and noise: paired, batched."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hep2gan.data.blurring import blurred
from hep2gan.data.draws import Draw, Numbers, normal_noise
from hep2gan.errors import Hep2ganError

Interval = tuple[float, float]
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
        self, image: Tensor, mask: Tensor, draw: Draw, *, bounded: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Augment float (B, 1, S, S) images and masks alike.

        bounded: images lie in [0, 1] and are kept there; otherwise nothing is clamped. Raises
        Hep2ganError for gamma jitter of unbounded images.
        """
        self.check(bounded)
        numbers = Numbers.drawn(draw, image.device)
        pair = self._moved(torch.cat([image, mask], 1), numbers)
        image, mask = pair[:, :1], pair[:, 1:]
        if self.resamples:
            image, mask = self._resampled(image, mask, numbers)
        if self.blur[1]:
            low, high = self.blur
            image = blurred(image, low + numbers.blur * (high - low), high)
        if self.recolours:
            image = self._recoloured(image, numbers, bounded)
        if self.noise:
            image = image + _column(numbers.noise * self.noise) * normal_noise(draw, image)
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

    def _moved(self, pair: Tensor, numbers: Numbers) -> Tensor:
        """Flips and quarter turns of (B, 2, S, S), exact."""
        pair = _where(numbers.horizontal_flip < self.horizontal_flip, pair.flip(-1), pair)
        pair = _where(numbers.vertical_flip < self.vertical_flip, pair.flip(-2), pair)
        if not self.quarter_turns:
            return pair
        turns = (numbers.turns * 4).long()
        pair = _where(turns % 2 == 1, pair.rot90(1, (-2, -1)), pair)
        return _where(turns >= 2, pair.rot90(2, (-2, -1)), pair)

    def _resampled(self, image: Tensor, mask: Tensor, numbers: Numbers) -> tuple[Tensor, Tensor]:
        """One affine resampling; float32 also under autocast."""
        grid = F.affine_grid(self._affine(numbers), list(image.shape), align_corners=False)
        grid = grid.to(image.dtype)
        moved = F.grid_sample(image, grid, "bilinear", "reflection", align_corners=False)
        return moved, F.grid_sample(mask, grid, "nearest", "zeros", align_corners=False)

    def _affine(self, numbers: Numbers) -> Tensor:
        """(B, 2, 3) maps from output to input coordinates of −1..1: R(angle)·(p − shift)/scale."""
        angle = _symmetric(numbers.rotation, self.rotation) * (math.pi / 180)
        zoom = _between(numbers.scale, self.scale)
        x, y = (2 * _symmetric(n, self.shift) for n in (numbers.shift_x, numbers.shift_y))
        cos, sin = angle.cos() / zoom, angle.sin() / zoom
        # y runs downwards, so a positive angle turns the picture anticlockwise.
        rows = [cos, -sin, sin * y - cos * x, sin, cos, -sin * x - cos * y]
        return torch.stack(rows, 1).view(-1, 2, 3)

    def _recoloured(self, image: Tensor, numbers: Numbers, bounded: bool) -> Tensor:
        kept = image
        gain, gamma = _between(numbers.gain, self.gain), _between(numbers.gamma, self.gamma)
        offset = _symmetric(numbers.offset, self.offset)
        if self.gamma != (1.0, 1.0):
            image = image.clamp(0, 1) ** _column(gamma)
        image = _column(gain) * image + _column(offset)
        image = image.clamp(0, 1) if bounded else image
        return image if self.jitter == 1 else _where(numbers.jitter < self.jitter, image, kept)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _where(chosen: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
    return torch.where(_column(chosen), changed, kept)


def _symmetric(number: Tensor, extent: float) -> Tensor:
    """Uniform in [−extent, extent)."""
    return (2 * number - 1) * extent


def _between(number: Tensor, interval: Interval) -> Tensor:
    """Log-uniform in the interval: halving is as likely as doubling."""
    low, high = map(math.log, interval)
    return torch.exp(low + number * (high - low))


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise Hep2ganError(
            f"Augmentation {name} is {value}", f"it must be {low} to {high}", f"set {name}={low}"
        )
