"""Averages over the turns and mirror images of a cell, whose orientation on the slide is chance."""

from collections.abc import Callable

import torch
from torch import Tensor

from hep2gan.errors import Hep2ganError
from hep2gan.models.output import ModelOutput

VIEWS = (1, 8)


class TestTimeAugmentation:
    """Evaluate in `number` views: 1, the image as it is, or 8, the dihedral group D4.

    Raises Hep2ganError for another number.
    """

    def __init__(self, number: int = 1) -> None:
        if type(number) is not int or number not in VIEWS:
            raise Hep2ganError(
                f"test_time_views is {number!r}",
                "it must be 1 (the image as it is) or 8 (quarter turns and mirror images)",
                "set test_time_views=1 or test_time_views=8",
            )
        self.number = number

    def mean(
        self,
        evaluate: Callable[[Tensor, Tensor | None], ModelOutput],
        image: Tensor,
        truth: Tensor | None,
    ) -> ModelOutput:
        """Average what `evaluate` says of the views of (B, 1, S, S) images and true masks.

        Each view is segmented and classified with its own mask; the masks are turned back before
        they are averaged. Probabilities and features are averaged as they are, in float32.
        """
        if self.number == 1:
            return evaluate(image, truth)
        total: list[Tensor | None] = [None] * len(ModelOutput._fields)
        for number in range(self.number):
            seen = evaluate(
                apply_view(image, number), None if truth is None else apply_view(truth, number)
            )
            if seen.mask is not None:
                seen = seen._replace(mask=undo_view(seen.mask, number))
            total = [_sum(old, new) for old, new in zip(total, seen, strict=True)]
        return ModelOutput(*(None if part is None else part / self.number for part in total))


def apply_view(images: Tensor, number: int) -> Tensor:
    """View 0 to 7 of (B, C, S, S) images: mirrored from 4 on, then turned by number % 4 · 90°."""
    mirrored = images.flip(-1) if number >= 4 else images
    return torch.rot90(mirrored, number % 4, (-2, -1))


def undo_view(images: Tensor, number: int) -> Tensor:
    """Undo `apply_view`."""
    turned = torch.rot90(images, -(number % 4), (-2, -1))
    return turned.flip(-1) if number >= 4 else turned


def _sum(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if new is None:
        return None
    return new.float() if old is None else old + new.float()
