"""The classifier's whole loss (eq. 7)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.autocast import to_float32, without_autocast
from hep2gan.losses.gaussian_mixture import GaussianMixtureLoss

NO_IGNORE_INDEX = torch.iinfo(torch.int64).min
"""torch ignores the label -100 by default, which is as wrong as any other below 0."""


class ClassificationLoss(nn.Module):
    """L_out + L_cla + γ · likelihood (eqs 5, 6, 7; the paper weighs the first two 1 : 1).

    Args:
        cross_entropy_weight: of L_out, the cross-entropy of the output layer (eq. 5; its missing
            sum over classes restored).
        gm_weight: of L_cla (eq. 6).
        gamma: γ, the weight of the likelihood term (eq. 7).
        gaussian_mixture: gives L_cla and the likelihood; None leaves L_out alone.
        label_smoothing: of L_out, in [0, 1).

    Raises:
        Hep2ganError: for negative weights, and for smoothing together with a Gaussian mixture: they
            pull the features of a class in different directions.
    """

    def __init__(
        self,
        cross_entropy_weight: float = 1.0,
        gm_weight: float = 1.0,
        gamma: float = 0.01,
        gaussian_mixture: GaussianMixtureLoss | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        weights = {"cross_entropy": cross_entropy_weight, "gm": gm_weight, "gamma": gamma}
        for name, weight in weights.items():
            if weight < 0:
                raise Hep2ganError(
                    f"classification weight {name} is {weight}", "must not be negative"
                )
        if not 0.0 <= label_smoothing < 1.0:
            raise Hep2ganError(f"label smoothing is {label_smoothing}", "must be in [0, 1)")
        if label_smoothing and gaussian_mixture is not None:
            raise Hep2ganError(
                f"label smoothing is {label_smoothing} together with the Gaussian-mixture loss",
                "they work against each other",
                "set loss.label_smoothing=0 or loss.gaussian_mixture.enabled=false",
            )
        self.cross_entropy_weight, self.gm_weight, self.gamma = weights.values()
        self.gaussian_mixture, self.label_smoothing = gaussian_mixture, label_smoothing

    def set_epoch(self, epoch: int) -> None:
        """Move the mixture's margin along its ramp; epochs count from 0."""
        if self.gaussian_mixture is not None:
            self.gaussian_mixture.set_epoch(epoch)

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the unweighted terms and their weighted sum.

        Args:
            logits: of the output layer, (B, K).
            features: (B, D).
            labels: (B,) int64 in [0, K).

        Returns:
            Scalars `cross_entropy`, with a mixture `gaussian_mixture` and `likelihood`, and
            `total`.

        Raises:
            Hep2ganError: for other shapes, and on the CPU for labels out of range.
        """
        _check(logits, labels)
        with without_autocast(logits), _name_labels_in_errors(logits, labels):
            cross_entropy = F.cross_entropy(
                to_float32(logits),
                labels,
                ignore_index=NO_IGNORE_INDEX,
                label_smoothing=self.label_smoothing,
            )
        terms = {"cross_entropy": cross_entropy}
        total = self.cross_entropy_weight * cross_entropy
        if self.gaussian_mixture is not None:
            terms |= self.gaussian_mixture(features, labels)
            total = total + self.gm_weight * terms["gaussian_mixture"]
            total = total + self.gamma * terms["likelihood"]
        return {**terms, "total": total}


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype != labels.long().dtype:
        raise Hep2ganError(
            f"logits are {tuple(logits.shape)} and labels {labels.dtype} {tuple(labels.shape)}",
            "must be (B, K) and int64 (B,)",
        )


@contextmanager
def _name_labels_in_errors(logits: Tensor, labels: Tensor) -> Iterator[None]:
    """Say which labels were out of range, where torch says so: on the CPU."""
    try:
        yield
    except IndexError as error:
        raise Hep2ganError(
            f"labels run from {int(labels.min())} to {int(labels.max())}",
            f"the classifier has {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}",
            "build it with the number of classes of the store",
        ) from error
