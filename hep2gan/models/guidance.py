"""The mask that guides the classifier, and the networks that are trained in each epoch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hep2gan.errors import Hep2ganError
from hep2gan.settings import NonNegative, Settings

MaskSource = Literal[
    "generated", "cross_fitted", "ground_truth", "other", "ellipse", "zeros", "none"
]
GENERATED = frozenset({"generated", "cross_fitted", "other"})
"""Sources that need a generator."""


class MaskGuidance(Settings):
    """Selects the mask that is passed with the image to the classifier (section II-C).

    Four sources are controls, which tell what of a gain comes from the cell's own mask.

    Args:
        source: `generated`, or `ground_truth`, the true mask. Controls: `cross_fitted`, generated
            by a network that never learned from this cell (of a test cell, the mean of two);
            `other`, generated for the cell beside it in the batch, the ellipse for one that is left
            over; `ellipse`, the same for all cells; `zeros`, an empty mask. `none`: the classifier
            has no input for a mask.
        hard: Threshold a generated mask at 0.5.
        margin: Distance of the ellipse from the image's edge, as a fraction of its side; the crops
            of the ICPR 2016 set have 10 of 69 px.
        gradient: Weight of the classification loss in the generator's step; 0 detaches, as pix2pix
            does between G and D.

    Raises:
        Hep2ganError: If a gradient is set for a mask that carries none.
    """

    source: MaskSource = "generated"
    hard: bool = False
    gradient: NonNegative = 0.0
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.145

    def conflict(self) -> Hep2ganError | None:
        """Return the error of a gradient without a soft generated mask to carry it, or None."""
        if self.gradient and (self.hard or self.source != "generated"):
            return Hep2ganError(
                f"guidance.gradient is {self.gradient} with source={self.source}, hard={self.hard}",
                "gradients reach the generator only through its soft mask",
                "set model.guidance.source=generated model.guidance.hard=false, or"
                " model.guidance.gradient=0",
            )
        return None

    def require_no_truth(self) -> None:
        """Check that single images without true masks can be classified.

        Raises:
            Hep2ganError: If the classifier needs a true mask, or that of another cell.
        """
        if self.source == "other":
            raise Hep2ganError(
                "this run is a control, trained with masks of other cells",
                "what it says of a cell depends on the cells beside it",
                "use a run with model.guidance.source=generated or none; hep2gan-evaluate tests it",
            )
        if self.source == "ground_truth":
            raise Hep2ganError(
                "this run was trained with true masks",
                "its classifier needs the true mask, which these images do not have",
                "use a run with model.guidance.source=generated or none",
            )

    @property
    def has_own_mask(self) -> bool:
        """Whether the classifier sees a mask that was generated for the cell itself."""
        return self.source in ("generated", "cross_fitted")

    def select(
        self, image: Tensor, generated: Tensor | None, truth: Tensor | None
    ) -> Tensor | None:
        """Select the mask for the classifier.

        Args:
            image: Images (B, 1, H, W).
            generated: Generated masks (B, 1, H, W) in [0, 1]; None without a generator.
            truth: True masks (B, 1, H, W); None if unknown.

        Returns:
            Masks (B, 1, H, W), or None for an unguided classifier.
        """
        if self.source == "none":
            return None
        if self.source == "ground_truth":
            return truth
        if self.source == "zeros":
            return torch.zeros_like(image)
        if self.source == "ellipse":
            return ellipse_masks(image, self.margin)
        assert generated is not None
        if self.source == "other":
            # In pairs, so that a test does not depend on the size of its batches if that is even.
            even = len(generated) // 2 * 2
            order = torch.arange(even, device=generated.device) ^ 1
            alone = ellipse_masks(image[even:], self.margin).to(generated.dtype)
            generated = torch.cat([generated[order], alone])
        return (generated >= 0.5).to(generated.dtype) if self.hard else generated


def ellipse_masks(image: Tensor, margin: float) -> Tensor:
    """Inscribe the same ellipse in all images, without looking at them.

    Args:
        image: Images (B, 1, H, W).
        margin: Distance from the edges, as a fraction of the side.

    Returns:
        Masks (B, 1, H, W) of {0, 1}; a pixel belongs to the ellipse if its centre does.
    """
    rows, columns = (
        ((torch.arange(side, device=image.device) + 0.5) / side - 0.5) / (0.5 - margin)
        for side in image.shape[-2:]
    )
    inside = rows.square()[:, None] + columns.square() <= 1
    return inside.to(image.dtype).expand_as(image).contiguous()


@dataclass(frozen=True)
class TrainingStages:
    """Schedule of the networks: joint training, or first the GAN and then the classifier.

    Attributes:
        gan_epochs: Number of epochs of the GAN alone, before the first one of the classifier; None
            for joint training.
    """

    gan_epochs: int | None = None

    @property
    def classifier_start(self) -> int:
        """The first epoch in which the classifier is trained, counted from 0."""
        return self.gan_epochs or 0

    def trains_gan(self, epoch: int) -> bool:
        """Tell whether G and D are trained in an epoch.

        Args:
            epoch: Counted from 0.
        """
        return self.gan_epochs is None or epoch < self.gan_epochs

    def trains_classifier(self, epoch: int) -> bool:
        """Tell whether the classifier is trained in an epoch.

        Args:
            epoch: Counted from 0.
        """
        return self.gan_epochs is None or epoch >= self.gan_epochs


@contextmanager
def frozen(*modules: nn.Module | None) -> Iterator[None]:
    """Change nothing of networks in the block; gradients still flow through to their inputs.

    Parameters get no gradients. Batch normalisation takes its batch's statistics as in training,
    without adding them to the running ones, which else would count a batch once more.

    Args:
        *modules: Networks that are frozen; None is ignored.
    """
    there = [module for module in modules if module]
    parameters = [p for module in there for p in module.parameters() if p.requires_grad]
    norms = [
        layer
        for module in there
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for parameter in parameters:
        parameter.requires_grad_(False)
    for layer in norms:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for layer in norms:
            layer.track_running_stats = True
