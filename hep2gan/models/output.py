"""Output of the networks for a batch, and its average over the views of an image."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor

from hep2gan.settings import WholeOption

NumViews = Annotated[Literal[1, 8], WholeOption]


class ModelOutput(NamedTuple):
    """Output of a method's networks; parts that it does not have are None.

    Attributes:
        mask: Probabilities of foreground, (B, 1, H, W).
        probabilities: Class probabilities given that mask, (B, K).
        probabilities_true_mask: Class probabilities given the true mask, (B, K).
        features: Features of the classifier, (B, D).
    """

    mask: Tensor | None
    probabilities: Tensor | None
    probabilities_true_mask: Tensor | None
    features: Tensor | None

    def cpu(self) -> "ModelOutput":
        """Copy to host memory in float32."""
        return ModelOutput(*(None if part is None else part.float().cpu() for part in self))


class TestTimeAugmentation:
    """Averages a model's output over turned and mirrored images: cells have no orientation.

    Args:
        views: 1, the image as it is, or 8, the dihedral group D4.
    """

    __test__ = False  # pytest would collect it as a test class

    def __init__(self, views: NumViews = 1) -> None:
        self.views = views

    def average(
        self,
        evaluate: Callable[[Tensor, Tensor | None], ModelOutput],
        image: Tensor,
        truth: Tensor | None,
    ) -> ModelOutput:
        """Evaluate all views and average the outputs, in float32.

        Each view is segmented and classified with its own mask; the masks are turned back before
        they are averaged. Probabilities and features are averaged as they are.

        Args:
            evaluate: Function from images and true masks to outputs.
            image: (B, 1, S, S) grey images.
            truth: True masks (B, 1, S, S), or None.
        """
        if self.views == 1:
            return evaluate(image, truth)
        total: list[Tensor | None] = [None] * len(ModelOutput._fields)
        for view in range(self.views):
            turned_truth = None if truth is None else apply_view(truth, view)
            output = evaluate(apply_view(image, view), turned_truth)
            if output.mask is not None:
                output = output._replace(mask=undo_view(output.mask, view))
            total = [_sum(old, new) for old, new in zip(total, output, strict=True)]
        return ModelOutput(*(None if part is None else part / self.views for part in total))


def apply_view(images: Tensor, view: int) -> Tensor:
    """Turn and mirror square images.

    Args:
        images: (B, C, S, S) images.
        view: Number from 0 to 7: mirrored from 4 on, then turned by view % 4 · 90°.
    """
    mirrored = images.flip(-1) if view >= 4 else images
    return torch.rot90(mirrored, view % 4, (-2, -1))


def undo_view(images: Tensor, view: int) -> Tensor:
    """Undo `apply_view`.

    Args:
        images: (B, C, S, S) turned images.
        view: Number from 0 to 7.
    """
    turned = torch.rot90(images, -(view % 4), (-2, -1))
    return turned.flip(-1) if view >= 4 else turned


def _sum(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if new is None:
        return None
    return new.float() if old is None else old + new.float()
