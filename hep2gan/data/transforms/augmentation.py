"""Augmentation: flips, rotation, shift, zoom, blur, grey-level jitter and noise of batches."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from hep2gan.data.batch import BatchSeed
from hep2gan.data.transforms.functional import (
    AugmentationParams,
    affine,
    flip,
    gaussian_blur,
    jitter_grey_levels,
    per_image,
    sample_noise,
)
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Interval, Probability, Settings

WIDEST_BLUR = 4.0


class Augmentation(Settings):
    """Random changes of training cells; the default is that of the paper (section III-A): flips.

    Flips and quarter turns move pixels without interpolation. Rotation, shift and scale are one
    resampling, bilinear for the image and nearest for the mask. Outside the crop the mask is 0 and
    the image shows its margin mirrored, up to the nucleus and no further, so that neither an edge
    where the crop ended nor a nucleus without its mask is seen. Blur, then grey levels, then noise
    change the image alone; all after normalisation, since a per-image stretch would undo gain and
    offset.

    Args:
        horizontal_flip: Probability of a horizontal flip.
        vertical_flip: Probability of a vertical flip, independent of the horizontal one.
        rotation: Largest rotation in degrees, in either direction.
        quarter_turns: Rotate by 0, 90, 180 or 270°, equally often.
        shift: Largest shift along each axis, in either direction, as a fraction of the side.
        scale: Interval of the zoom, log-uniform; below 1 the cell shrinks and is padded.
        gain: Interval, log-uniform, of clamp(gain·imageᵞ + offset, 0, 1); values above 1 saturate,
            as in an overexposed picture.
        offset: Largest offset, in either direction, as a fraction of full scale.
        gamma: Interval of the exponent, log-uniform.
        jitter: Probability that gain, offset and gamma are applied to a cell.
        blur: Interval of the standard deviation of a Gaussian blur in pixels, uniform, 0 to 4: a
            microscope out of focus.
        noise: Largest standard deviation of normal noise, as of a camera, as a fraction of full
            scale; that of a cell is uniform from 0 to this value.

    Raises:
        Hep2ganError: A value is out of range.
    """

    horizontal_flip: Probability = 0.5
    vertical_flip: Probability = 0.5
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    quarter_turns: bool = False
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    scale: Interval = (1.0, 1.0)
    gain: Interval = (1.0, 1.0)
    offset: Probability = 0.0
    gamma: Interval = (1.0, 1.0)
    jitter: Probability = 1.0
    blur: Interval = (0.0, 0.0)
    noise: Probability = 0.0

    def conflict(self) -> Hep2ganError | None:
        """Check the intervals.

        Returns:
            The first interval whose ends are out of order or out of range, or None.
        """
        for name in ("scale", "gain", "gamma", "blur"):
            low, high = getattr(self, name)
            bounded = name == "blur"
            fits = 0 <= low <= high <= WIDEST_BLUR if bounded else 0 < low <= high
            if not fits:
                rule = f"of 0 to {WIDEST_BLUR:g} pixels" if bounded else "above 0"
                none = "[0.0,0.0]" if bounded else "[1.0,1.0]"
                return Hep2ganError(
                    f"augmentation.{name} is [{low}, {high}]",
                    f"it must be an interval {rule}, low end first",
                    f"set augmentation.{name}={none} to leave it out",
                )
        return None

    @property
    def resamples(self) -> bool:
        """Whether any option needs interpolation."""
        return bool(self.rotation or self.shift) or self.scale != (1.0, 1.0)

    @property
    def jitters(self) -> bool:
        """Whether any option changes grey levels."""
        return bool(self.offset) or (self.gain, self.gamma) != ((1.0, 1.0), (1.0, 1.0))

    def __call__(
        self, image: Tensor, mask: Tensor | None, batch_seed: BatchSeed, *, bounded: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Augment images and masks alike.

        Args:
            image: Float (B, 1, S, S), normalised.
            mask: Float (B, 1, S, S), or None.
            batch_seed: Source of the random numbers.
            bounded: Images are in [0, 1] and are clamped to it; otherwise nothing is clamped.

        Returns:
            Images and masks, shaped as they were.

        Raises:
            Hep2ganError: Gamma jitter of unbounded images.
        """
        params = AugmentationParams.sample(batch_seed, image.device)
        flat = None if mask is None else mask.flatten(0, 1)
        image, flat = self.flip(image.flatten(0, 1), flat, params)
        mask = None if flat is None else flat.unsqueeze(1)
        return self.augment(image.unsqueeze(1), mask, batch_seed, params, bounded=bounded)

    def flip(
        self, image: Tensor, mask: Tensor | None, params: AugmentationParams
    ) -> tuple[Tensor, Tensor | None]:
        """Apply flips and quarter turns, which move pixels and keep their values.

        Args:
            image: (B, S, S) of any type, also as stored.
            mask: (B, S, S) of any type, or None.
            params: Random numbers of the batch.

        Returns:
            Images and masks, shaped as they were.
        """
        probability = (self.horizontal_flip, self.vertical_flip)
        return flip(image, mask, params, probability, quarter_turns=self.quarter_turns)

    def augment(
        self,
        image: Tensor,
        mask: Tensor | None,
        batch_seed: BatchSeed,
        params: AugmentationParams,
        *,
        bounded: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Apply everything else, after normalisation and `flip`.

        Args:
            image: Float (B, 1, S, S), normalised and flipped.
            mask: Float (B, 1, S, S), flipped, or None.
            batch_seed: Source of the noise.
            params: Random numbers of `batch_seed`, sampled once for both methods.
            bounded: Images are in [0, 1] and are clamped to it; otherwise nothing is clamped.

        Returns:
            Images and masks, shaped as they were.

        Raises:
            Hep2ganError: Gamma jitter of unbounded images.
        """
        self.check(bounded)
        if self.resamples:
            image, mask = affine(image, mask, params, self.rotation, self.shift, self.scale)
        if self.blur[1]:
            low, high = self.blur
            image = gaussian_blur(image, low + params.blur * (high - low), high)
        if self.jitters:
            image = jitter_grey_levels(
                image, params, self.gain, self.offset, self.gamma, self.jitter, bounded=bounded
            )
        if self.noise:
            deviation = per_image(params.noise * self.noise)
            image = image + deviation * sample_noise(batch_seed, image)
            image = image.clamp(0, 1) if bounded else image
        return image.contiguous(), None if mask is None else mask.contiguous()

    def check(self, bounded: bool) -> None:
        """Check that gamma jitter is not used with images that may be negative.

        Args:
            bounded: Images are in [0, 1].

        Raises:
            Hep2ganError: It is.
        """
        if not bounded and self.gamma != (1.0, 1.0):
            raise Hep2ganError(
                f"Augmentation gamma is {list(self.gamma)} with z-score normalisation",
                "gamma needs grey levels in [0, 1]",
                "set gamma=[1.0,1.0], or normalise by min_max or percentile",
            )
