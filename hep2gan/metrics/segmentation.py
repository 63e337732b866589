"""Dice and Jaccard of the foreground: per image, as the paper reports them, and pooled."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError

UNIT_BITS = 36
"""Ratios are summed as int64 multiples of 2^-36: unlike float sums, independent of the order."""


def to_fixed_point(part: Tensor, whole: Tensor) -> Tensor:
    """Divide two int64 tensors, rounded to int64 multiples of 2^-36; 0 / 0 counts as 1.

    Sums of up to 67 million such ratios fit into int64.

    Args:
        part: Dividend of any shape, 0 <= part <= whole.
        whole: Divisor of the same shape, below 2^27 (two masks of 67 million pixels).
    """
    part = torch.where(whole == 0, 1, part)
    whole = whole.clamp(min=1)
    return ((part << UNIT_BITS) + whole // 2) // whole


def ratio(part: Tensor, whole: Tensor) -> float:
    """Divide two integer scalars in double precision; 0 / 0 counts as 1.

    Args:
        part: Dividend.
        whole: Divisor.
    """
    return int(part) / int(whole) if int(whole) else 1.0


class SegmentationMetrics(Metric):
    """Foreground overlap of predicted and true masks, exact over batches and processes.

    With A the predicted and B the true foreground: Dice = 2|A∩B| / (|A| + |B|), Jaccard = |A∩B| /
    |A∪B| (the paper's section III-B). Two averages, under two names:

    - `dice`, `jaccard`: the mean over images. An image empty in both masks counts as 1.
    - `dice_pooled`, `jaccard_pooled`: all pixels of all images taken as one image;
      then Jaccard = Dice / (2 - Dice).

    The background is never counted. States are integers, so the result is the same to the last bit
    however the images are split, and half precision does not affect it.

    Args:
        classes: K names in the order of the labels, for Dice by class.
        kwargs: Options of torchmetrics.Metric.

    Attributes:
        dice: (K,) sums in fixed point, by class.
        images: (K,) number of images, by class.
        jaccard: Sum in fixed point.
        intersection: Number of pixels in both masks.
        size: Sum of the sizes of both masks in pixels.
    """

    dice: Tensor
    images: Tensor
    jaccard: Tensor
    intersection: Tensor
    size: Tensor

    def __init__(self, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(classes)
        for name in ("dice", "images", "jaccard", "intersection", "size"):
            shape = (len(classes),) if name in ("dice", "images") else ()
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probability: Tensor, truth: Tensor, label: Tensor) -> None:
        """Add B images.

        Args:
            probability: (B, 1, H, W) or (B, H, W), floats in [0, 1], foreground from 0.5 on; or
                bool.
            truth: True masks of the same shape, {0, 1} of any type.
            label: (B,) true classes, int64 in [0, K).

        Raises:
            Hep2ganError: If shapes or types are others.
        """
        _check(probability, truth)
        predicted, true = _foreground(probability), _foreground(truth)
        intersection = (predicted & true).sum(dim=1)
        size = predicted.sum(dim=1) + true.sum(dim=1)
        dice = to_fixed_point(2 * intersection, size)
        self.dice = self.dice.index_add(0, label, dice)
        self.images = self.images.index_add(0, label, torch.ones_like(dice))
        self.jaccard += to_fixed_point(intersection, size - intersection).sum()
        self.intersection += intersection.sum()
        self.size += size.sum()

    def compute(self) -> dict[str, float]:
        """Compute `dice`, `dice_pooled`, `jaccard`, `jaccard_pooled` and `dice/<class>` in [0, 1].

        Returns:
            Value by name; classes without images are left out.

        Raises:
            Hep2ganError: If no image was added.
        """
        if not self.images.any():
            raise Hep2ganError("no masks were scored", "a mean needs at least one image")
        units = self.images << UNIT_BITS
        by_class = zip(self.classes, self.dice, units, strict=True)
        return {
            "dice": ratio(self.dice.sum(), units.sum()),
            "dice_pooled": ratio(2 * self.intersection, self.size),
            "jaccard": ratio(self.jaccard, units.sum()),
            "jaccard_pooled": ratio(self.intersection, self.size - self.intersection),
            **{f"dice/{name}": ratio(dice, count) for name, dice, count in by_class if count},
        }


def _foreground(values: Tensor) -> Tensor:
    flat = values.flatten(start_dim=1)
    return flat if flat.dtype == torch.bool else flat >= 0.5


def _check(probability: Tensor, truth: Tensor) -> None:
    if probability.shape != truth.shape or probability.ndim not in (3, 4):
        raise Hep2ganError(
            f"predicted masks are {tuple(probability.shape)}, true masks {tuple(truth.shape)}",
            "both must be (B, 1, H, W) or both (B, H, W)",
        )
    if probability.ndim == 4 and probability.shape[1] != 1:
        raise Hep2ganError(f"masks have {probability.shape[1]} channels", "there is one foreground")
    if not (probability.is_floating_point() or probability.dtype == torch.bool):
        raise Hep2ganError(
            f"predicted masks are {probability.dtype}",
            "they must be probabilities in [0, 1] or bool",
            "divide stored masks by 255",
        )


class ConstantMasks(Metric):
    """Detects that generated masks are all empty, all full or all the same.

    Counts pixels that are foreground in every mask and pixels that are foreground in any: if the
    two sets are equal, the masks do not depend on the image. Exact over batches and processes.

    Args:
        options: Options of torchmetrics.Metric.
    """

    every: Tensor
    some: Tensor
    count: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("every", torch.tensor(1.0), dist_reduce_fx="min")
        self.add_state("some", torch.tensor(0.0), dist_reduce_fx="max")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, foreground: Tensor) -> None:
        """Add B masks.

        Args:
            foreground: Boolean masks (B, 1, H, W), B at least 1; all of one size.
        """
        masks = foreground.float()
        self.every = torch.minimum(self.every, masks.amin(dim=0))
        self.some = torch.maximum(self.some, masks.amax(dim=0))
        self.count += len(masks)

    def compute(self) -> str | None:
        """Compare the masks.

        Returns:
            "empty", "full" or "the same" if all masks are; None if they differ or are fewer than
            two.
        """
        if int(self.count) < 2 or not torch.equal(self.every, self.some):
            return None
        if not self.some.any():
            return "empty"
        return "full" if bool(self.every.all()) else "the same"
