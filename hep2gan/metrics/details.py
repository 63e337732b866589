"""What validation logs beyond its means: by class, and the Gaussian mixture's distances."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hep2gan.data.cells import Batch
from hep2gan.losses.gaussian_mixture import GaussianMixtureLoss
from hep2gan.metrics.by_class import MeanByClass, hits
from hep2gan.metrics.distances import MeanDistances
from hep2gan.metrics.segmentation import image_dice
from hep2gan.models.output import Outputs


class ValidationDetails(nn.Module):
    """Dice and accuracy by class, and distances to the mixture's means, of the validation part.

    classes: K names in the order of the labels. segments, classifies: which networks the method
    has. mixture: the loss whose means are asked; None where the method has none. Exact over batches
    and processes, also where a process has no validation cells of its own.
    """

    def __init__(
        self,
        classes: Sequence[str],
        *,
        segments: bool,
        classifies: bool,
        mixture: GaussianMixtureLoss | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.segments, self.classifies = segments, classifies
        self.dice, self.accuracy = MeanByClass(len(classes)), MeanByClass(len(classes))
        self.distances = MeanDistances()
        # In a list: its parameters belong to the classification loss and not to this module.
        self._mixture = [mixture] if mixture is not None and len(classes) > 1 else []

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add the cells of one batch."""
        if outputs.mask is not None:
            self.dice.update(image_dice(outputs.mask, batch.mask), batch.label)
        if outputs.probabilities is not None:
            self.accuracy.update(hits(outputs.probabilities, batch.label), batch.label)
        if outputs.features is not None:
            for mixture in self._mixture:
                self.distances.update(mixture.distances(outputs.features), batch.label)

    def flush(self) -> dict[str, float]:
        """The values under their logged names, and start anew; to be called on all processes.

        Names are val/dice/<class>, val/accuracy/<class>, gm/val/own_distance and
        gm/val/other_distance. Classes without cells are left out.
        """
        values: dict[str, float] = {}
        # By what the method has, not by what was seen: all processes must wait for each other.
        if self.segments:
            values |= self._by_class("dice", self.dice.compute())
        if self.classifies:
            values |= self._by_class("accuracy", self.accuracy.compute())
        if self._mixture:
            measured = self.distances.compute()
            values |= {f"gm/val/{name}": value for name, value in measured.items()}
        for metric in (self.dice, self.accuracy, self.distances):
            metric.reset()
        return values

    def _by_class(self, name: str, values: Sequence[float]) -> dict[str, float]:
        named = zip(self.classes, values, strict=True)
        return {f"val/{name}/{label}": value for label, value in named if not math.isnan(value)}


@torch.inference_mode()
def mixture_scores(
    mixture: GaussianMixtureLoss, features: Tensor, label: Tensor
) -> dict[str, float]:
    """gm/test/own_distance and gm/test/other_distance of (N, D) features and (N,) labels."""
    metric = MeanDistances(sync_on_compute=False)
    if mixture.num_classes < 2:
        return {}
    device = mixture.means.device
    metric.to(device).update(mixture.distances(features.to(device)), label.to(device))
    return {f"gm/test/{name}": value for name, value in metric.compute().items()}
