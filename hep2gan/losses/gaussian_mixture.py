"""Gaussian-mixture loss (eqs 6 and 7; Wan et al., CVPR 2018, https://arxiv.org/abs/1803.02988)."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError, require_choice
from hep2gan.losses.autocast import to_float32, without_autocast

Covariance = Literal["identity", "isotropic", "diagonal"]
Priors = Literal["uniform", "empirical"]

BOUND = 4.0
"""Log-variances stay in (-4, 4): unbounded, the likelihood term drives them to minus infinity."""


class GaussianMixtureLoss(nn.Module):
    """One Gaussian per class in the feature space.

    logit_k = log p(k) - ½ Σ s_k - (1 + α [k = y]) · ½ Σ (f - μ_k)² e^(-s_k), s being log-variances.
    Eq. 6 is the cross-entropy of these logits. Eq. 7's likelihood term is the mean over the batch
    of ½ Σ (f - μ_y)² e^(-s_y) + ½ Σ s_y: -log N(f; μ_y, σ_y) less the constant D/2 log 2π.

    The means and log-variances are parameters, to be trained without weight decay. All is computed
    in float32 or better.

    Args:
        num_classes: K.
        feature_dim: D.
        covariance: identity (no variance is learned), isotropic (one a class) or diagonal (D a
            class).
        priors: uniform, or empirical from `class_counts`.
        class_counts: K positive numbers of cells, given here or by `set_class_counts` before
            training.
        margin: α, a number or [start, end]; used only while training.
        margin_epochs: over which `set_epoch` ramps the margin from start to end.
        mean_std: means start from N(0, mean_std²), small so that the loss starts near log K.

    Raises:
        Hep2ganError: for settings that cannot work.
    """

    log_prior: Tensor
    free_log_variance: nn.Parameter | None

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        covariance: Covariance = "identity",
        priors: Priors = "uniform",
        class_counts: Sequence[int] | None = None,
        margin: float | Sequence[float] = 0.0,
        margin_epochs: int = 0,
        mean_std: float = 0.01,
    ) -> None:
        super().__init__()
        require_choice("covariance of the Gaussian mixture", covariance, get_args(Covariance))
        require_choice("priors of the Gaussian mixture", priors, get_args(Priors))
        self.num_classes, self.feature_dim, self.priors = num_classes, feature_dim, priors
        self._ramp = _check_margin(margin, margin_epochs)
        self.margin, self._margin_epochs = self._ramp[0], margin_epochs
        self.means = nn.Parameter(mean_std * torch.randn(num_classes, feature_dim))
        width = {"identity": 0, "isotropic": 1, "diagonal": feature_dim}[covariance]
        free = nn.Parameter(torch.zeros(num_classes, width)) if width else None
        self.register_parameter("free_log_variance", free)
        unknown = math.nan if priors == "empirical" else -math.log(num_classes)
        self.register_buffer("log_prior", torch.full((num_classes,), unknown))
        self._has_prior = priors == "uniform"
        if class_counts is not None:
            self.set_class_counts(class_counts)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Set empirical priors from K positive numbers of cells of the training part."""
        if self.priors != "empirical":
            raise Hep2ganError(
                "class counts were given to uniform priors", "they are for priors=empirical"
            )
        if len(counts) != self.num_classes or min(counts) < 1:
            raise Hep2ganError(
                f"class counts are {list(counts)}", f"must be {self.num_classes} positive numbers"
            )
        cells = torch.as_tensor(list(counts), dtype=torch.float64)
        self.log_prior.copy_((cells / cells.sum()).log())
        self._has_prior = True

    def set_epoch(self, epoch: int) -> None:
        """Move the margin along its linear ramp, constant after it; epochs count from 0."""
        start, end = self._ramp
        self.margin = start + (end - start) * min(1.0, epoch / max(self._margin_epochs, 1))

    @property
    def log_variance(self) -> Tensor:
        """(K, D) log-variances s in (-4, 4), smoothly bounded: s = 4 tanh(free / 4)."""
        if self.free_log_variance is None:
            return torch.zeros_like(self.means)
        bounded = BOUND * torch.tanh(to_float32(self.free_log_variance) / BOUND)
        return bounded.expand(self.num_classes, self.feature_dim)

    def distances(self, features: Tensor) -> Tensor:
        """Compute squared Mahalanobis distances (N, K) of features (N, D) to the class means."""
        self._check_features(features)
        with without_autocast(features):
            f, means = to_float32(features), to_float32(self.means)
            # Class by class: (N, K, D) at once would not fit for a whole data set.
            if self.free_log_variance is None:
                columns = [(f - mean).square().sum(dim=1) for mean in means]
            else:
                precision = (-self.log_variance).exp()
                columns = [
                    ((f - mean).square() * weight).sum(dim=1)
                    for mean, weight in zip(means, precision, strict=True)
                ]
            return torch.stack(columns, dim=1)

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms of eqs 6 and 7.

        Args:
            features: (B, D).
            labels: (B,) int64 in [0, K).

        Returns:
            Scalars `gaussian_mixture` (eq. 6) and `likelihood` (eq. 7, without γ).

        Raises:
            Hep2ganError: for other shapes, and in training with empirical priors whose counts were
                never given.
        """
        self._check_labels(features, labels)
        half, half_log_det = 0.5 * self.distances(features), 0.5 * self.log_variance.sum(dim=1)
        # Where the label is; F.one_hot would look at the labels first, and wait for them.
        own = torch.zeros_like(half).scatter(1, labels.unsqueeze(1), 1.0)
        alpha = self.margin if self.training else 0.0
        logits = self.log_prior - half_log_det - (1.0 + alpha * own) * half
        likelihood = ((half + half_log_det) * own).sum(dim=1).mean()
        return {"gaussian_mixture": F.cross_entropy(logits, labels), "likelihood": likelihood}

    def _check_features(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise Hep2ganError(
                f"features are {tuple(features.shape)}",
                f"the Gaussian mixture takes (N, {self.feature_dim})",
                "build it with feature_dim of the classifier",
            )

    def _check_labels(self, features: Tensor, labels: Tensor) -> None:
        self._check_features(features)
        if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
            raise Hep2ganError(
                f"labels are {labels.dtype} {tuple(labels.shape)}",
                f"must be int64 ({len(features)},), one a feature vector",
            )
        if self.training and not self._has_prior:
            raise Hep2ganError(
                "empirical priors have no class counts",
                "they come from the training part",
                "call set_class_counts before training, or set priors=uniform",
            )


def _check_margin(margin: float | Sequence[float], epochs: int) -> tuple[float, float]:
    """Return the margin's start and end from a number, or from [start, end]."""
    values = [margin] if isinstance(margin, int | float) else list(margin)
    if len(values) not in (1, 2) or min(values) < 0:
        raise Hep2ganError(
            f"the margin is {margin}", "must be one number or [start, end], not negative"
        )
    if len(values) == 2 and epochs < 1:
        raise Hep2ganError(
            f"the margin {values} is ramped over {epochs} epochs", "a ramp needs at least 1"
        )
    return values[0], values[-1]
