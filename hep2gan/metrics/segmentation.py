"""Dice and Jaccard of the foreground: per image, as the paper reports them, and pooled."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.fixed_point import UNIT_BITS, ratio, to_fixed_point


class SegmentationMetrics(Metric):
    """Foreground overlap of predicted and true masks, exact over batches and processes.

    With A the predicted and B the true foreground: Dice = 2|A∩B| / (|A| + |B|),
    Jaccard = |A∩B| / |A∪B| (the paper's section III-B). Two averages, under two names:

    - `dice`, `jaccard`: the mean over images. An image empty in both masks counts as 1.
    - `dice_pooled`, `jaccard_pooled`: all pixels of all images taken as one image;
      then Jaccard = Dice / (2 - Dice).

    The background is never counted. States are integers, so the result is the same to the last
    bit however the images are split, and half precision leaves it alone.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    dice: Tensor
    jaccard: Tensor
    images: Tensor
    intersection: Tensor
    size: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("dice", "jaccard", "images", "intersection", "size"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probability: Tensor, truth: Tensor) -> None:
        """Add B images.

        Args:
            probability: (B, 1, H, W) or (B, H, W), floats in [0, 1], foreground from 0.5 on; or
                bool.
            truth: of the same shape, {0, 1} of any type.

        Raises:
            Hep2ganError: for other shapes and types.
        """
        intersection, size = _overlap(probability, truth)
        self.dice += to_fixed_point(2 * intersection, size).sum()
        self.jaccard += to_fixed_point(intersection, size - intersection).sum()
        self.images += len(size)
        self.intersection += intersection.sum()
        self.size += size.sum()

    def compute(self) -> dict[str, float]:
        """Give `dice`, `dice_pooled`, `jaccard` and `jaccard_pooled` in [0, 1].

        Raises:
            Hep2ganError: before the first image.
        """
        if not int(self.images):
            raise Hep2ganError("no masks were scored", "a mean needs at least one image")
        images = self.images << UNIT_BITS
        return {
            "dice": ratio(self.dice, images),
            "dice_pooled": ratio(2 * self.intersection, self.size),
            "jaccard": ratio(self.jaccard, images),
            "jaccard_pooled": ratio(self.intersection, self.size - self.intersection),
        }


def image_dice(probability: Tensor, truth: Tensor) -> Tensor:
    """Dice of each of B images, (B,) int64 multiples of 2^-36, from what `update` takes."""
    intersection, size = _overlap(probability, truth)
    return to_fixed_point(2 * intersection, size)


def _overlap(probability: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """|A∩B| and |A| + |B| of each of B images, both (B,) int64."""
    _check(probability, truth)
    predicted, true = _foreground(probability), _foreground(truth)
    return (predicted & true).sum(dim=1), predicted.sum(dim=1) + true.sum(dim=1)


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
    """Whether generated masks are all empty, all full or all the same: the GAN has collapsed.

    Counts pixels that are foreground in every mask and pixels that are in any: where the two sets
    are one, the masks do not depend on the image. Exact over batches and processes.
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
        """Add boolean masks (B, 1, H, W), B at least 1; all of one size."""
        masks = foreground.float()
        self.every = torch.minimum(self.every, masks.amin(dim=0))
        self.some = torch.maximum(self.some, masks.amax(dim=0))
        self.count += len(masks)

    def compute(self) -> str | None:
        """What all masks are: "empty", "full" or "the same"; None where they differ."""
        if int(self.count) < 2 or not torch.equal(self.every, self.some):
            return None
        if not self.some.any():
            return "empty"
        return "full" if bool(self.every.all()) else "the same"
