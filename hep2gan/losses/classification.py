"""The classifier's whole loss (eq. 7), and the Gaussian-mixture loss in it (eq. 6).

Gaussian mixture: Wan et al., CVPR 2018, https://arxiv.org/abs/1803.02988.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from hep2gan.errors import Hep2ganError
from hep2gan.losses.autocast import to_float32, without_autocast
from hep2gan.settings import NonNegative, Settings, in_words

Covariance = Literal["identity", "isotropic", "diagonal"]
Priors = Literal["uniform", "empirical"]
Margin = Annotated[
    NonNegative | Annotated[list[NonNegative], Field(min_length=1, max_length=2)],
    in_words("a number of 0 or more, or two of them, [start,end]"),
]

BOUND = 4.0
"""Log-variances stay in (-4, 4): unbounded, the likelihood term drives them to minus infinity."""


class GaussianMixtureSettings(Settings):
    """The keys of `loss.gaussian_mixture`.

    Args:
        enabled: Train with the Gaussian-mixture loss; otherwise with cross-entropy alone.
        weight: Weight of the loss (eq. 6), added to the cross-entropy of the output layer.
        gamma: Weight of the likelihood regularisation (eq. 7).
        covariance: Learned variances: none (identity), one per class (isotropic), or one per class
            and feature (diagonal).
        priors: Class priors; empirical: class frequencies in the training part.
        margin: α of eq. 6, or [start, end], ramped linearly over the training.
    """

    enabled: bool = True
    weight: NonNegative = 1.0
    gamma: NonNegative = 0.01
    covariance: Covariance = "identity"
    priors: Priors = "uniform"
    margin: Margin = 0.0


def margin_at(margin: float | Sequence[float], epoch: int, epochs: int) -> float:
    """Compute the margin of an epoch.

    Args:
        margin: α of eq. 6, a number or [start, end].
        epoch: The epoch, counted from 0.
        epochs: Number of epochs over which it goes linearly from start to end, to stay there.

    Returns:
        The margin, 0 or more.
    """
    steps = [margin] if isinstance(margin, int | float) else margin
    return steps[0] + (steps[-1] - steps[0]) * min(1.0, epoch / max(epochs, 1))


class GaussianMixtureLoss(nn.Module):
    """One Gaussian per class in the feature space.

    logit_k = log p(k) - ½ Σ s_k - (1 + α [k = y]) · ½ Σ (f - μ_k)² e^(-s_k), s being log-variances.
    Eq. 6 is the cross-entropy of these logits. Eq. 7's likelihood term is the mean over the batch
    of ½ Σ (f - μ_y)² e^(-s_y) + ½ Σ s_y: -log N(f; μ_y, σ_y) less the constant D/2 log 2π.

    The means and log-variances are parameters, to be trained without weight decay. All is computed
    in float32 or better.

    Args:
        num_classes: Number K of classes.
        feature_dim: Number D of features.
        covariance: Learned variances: none (identity), one per class (isotropic), or D per class
            (diagonal).
        priors: Class priors; empirical: from `class_counts`.
        class_counts: K positive numbers of cells, given here or by `set_class_counts` before
            training.
        margin: α of eq. 6, a number or [start, end]; used only in training.
        margin_epochs: Number of epochs over which `set_epoch` ramps the margin from start to end.
        mean_std: Standard deviation of the initial means, small so that the loss starts near log K.

    Raises:
        Hep2ganError: If a ramp has no epochs, or class counts do not fit the priors or classes.
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
        self.num_classes, self.feature_dim, self.priors = num_classes, feature_dim, priors
        if not isinstance(margin, int | float) and len(margin) == 2 and margin_epochs < 1:
            raise Hep2ganError(
                f"the margin {list(margin)} is ramped over {margin_epochs} epochs",
                "a ramp needs at least 1",
            )
        self._ramp, self._margin_epochs = margin, margin_epochs
        self.margin = margin_at(margin, 0, margin_epochs)
        self.means = nn.Parameter(mean_std * torch.randn(num_classes, feature_dim))
        width = {"identity": 0, "isotropic": 1, "diagonal": feature_dim}[covariance]
        self.register_parameter(
            "free_log_variance", nn.Parameter(torch.zeros(num_classes, width)) if width else None
        )
        unknown = math.nan if priors == "empirical" else -math.log(num_classes)
        self.register_buffer("log_prior", torch.full((num_classes,), unknown))
        self._has_prior = priors == "uniform"
        if class_counts is not None:
            self.set_class_counts(class_counts)

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Set empirical priors.

        Args:
            counts: Number of cells of each of the K classes in the training part, all positive.

        Raises:
            Hep2ganError: If priors are uniform, or the counts are not K positive numbers.
        """
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
        """Set the margin to its value on the linear ramp; it is constant after the ramp.

        Args:
            epoch: The epoch that starts, counted from 0.
        """
        self.margin = margin_at(self._ramp, epoch, self._margin_epochs)

    @property
    def log_variance(self) -> Tensor:
        """(K, D) log-variances s in (-4, 4), smoothly bounded: s = 4 tanh(free / 4)."""
        if self.free_log_variance is None:
            return torch.zeros_like(self.means)
        bounded = BOUND * torch.tanh(to_float32(self.free_log_variance) / BOUND)
        return bounded.expand(self.num_classes, self.feature_dim)

    def distances(self, features: Tensor) -> Tensor:
        """Compute squared Mahalanobis distances of features to the class means.

        Args:
            features: (N, D) features.

        Returns:
            (N, K) squared distances.

        Raises:
            Hep2ganError: If the shape is another.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise Hep2ganError(
                f"features are {tuple(features.shape)}",
                f"the Gaussian mixture takes (N, {self.feature_dim})",
                "build it with feature_dim of the classifier",
            )
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
            features: (B, D) features.
            labels: (B,) true classes, int64 in [0, K).

        Returns:
            Scalars `gaussian_mixture` (eq. 6) and `likelihood` (eq. 7, without γ).

        Raises:
            Hep2ganError: If shapes do not fit, or in training if empirical priors have no class
                counts.
        """
        half, half_log_det = 0.5 * self.distances(features), 0.5 * self.log_variance.sum(dim=1)
        self._check_labels(features, labels)
        # One-hot labels; F.one_hot would read the labels first, which synchronises with the GPU.
        own = torch.zeros_like(half).scatter(1, labels.unsqueeze(1), 1.0)
        alpha = self.margin if self.training else 0.0
        logits = self.log_prior - half_log_det - (1.0 + alpha * own) * half
        likelihood = ((half + half_log_det) * own).sum(dim=1).mean()
        return {"gaussian_mixture": F.cross_entropy(logits, labels), "likelihood": likelihood}

    def _check_labels(self, features: Tensor, labels: Tensor) -> None:
        if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
            raise Hep2ganError(
                f"labels are {labels.dtype} {tuple(labels.shape)}",
                f"must be int64 ({len(features)},), one per feature vector",
            )
        if self.training and not self._has_prior:
            raise Hep2ganError(
                "empirical priors have no class counts",
                "they come from the training part",
                "call set_class_counts before training, or set priors=uniform",
            )


NO_IGNORE_INDEX = torch.iinfo(torch.int64).min
"""Instead of torch's default, which ignores the invalid label -100."""


class ClassificationLoss(nn.Module):
    """L_out + L_cla + γ · likelihood (eqs 5, 6, 7; the paper weights the first two 1 : 1).

    Args:
        cross_entropy_weight: Weight of L_out, the cross-entropy of the output layer (eq. 5; its
            missing sum over classes restored).
        gm_weight: Weight of L_cla (eq. 6).
        gamma: γ, the weight of the likelihood term (eq. 7).
        gaussian_mixture: Computes L_cla and the likelihood; with None, the loss is L_out alone.
        label_smoothing: Smoothing of L_out, in [0, 1).

    Raises:
        Hep2ganError: If smoothing is combined with a Gaussian mixture: they pull the features of a
            class in different directions.
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
        if label_smoothing and gaussian_mixture is not None:
            raise Hep2ganError(
                f"label smoothing is {label_smoothing} together with the Gaussian-mixture loss",
                "they work against each other",
                "set loss.label_smoothing=0 or loss.gaussian_mixture.enabled=false",
            )
        self.cross_entropy_weight, self.gm_weight = cross_entropy_weight, gm_weight
        self.gamma = gamma
        self.gaussian_mixture, self.label_smoothing = gaussian_mixture, label_smoothing

    def set_epoch(self, epoch: int) -> None:
        """Set the mixture's margin to its value on the ramp.

        Args:
            epoch: The epoch that starts, counted from 0.
        """
        if self.gaussian_mixture is not None:
            self.gaussian_mixture.set_epoch(epoch)

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the unweighted terms and their weighted sum.

        Args:
            logits: (B, K) logits of the output layer.
            features: (B, D) features.
            labels: (B,) true classes, int64 in [0, K).

        Returns:
            Scalars `cross_entropy`, with a mixture `gaussian_mixture` and `likelihood`, and
            `total`.

        Raises:
            Hep2ganError: If shapes do not fit, and on the CPU if labels are out of range.
        """
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype != torch.int64:
            raise Hep2ganError(
                f"logits are {tuple(logits.shape)} and labels {labels.dtype} {tuple(labels.shape)}",
                "must be (B, K) and int64 (B,)",
            )
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


@contextmanager
def _name_labels_in_errors(logits: Tensor, labels: Tensor) -> Iterator[None]:
    """Name the labels that are out of range, where torch detects them: on the CPU."""
    try:
        yield
    except IndexError as error:
        raise Hep2ganError(
            f"labels run from {int(labels.min())} to {int(labels.max())}",
            f"the classifier has {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}",
            "build it with the number of classes of the store",
        ) from error
