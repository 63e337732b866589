"""Several networks, and several views of each image, as one: their mean, and how they disagree."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import (
    BackendOutput,
    InferenceBackend,
    TrainedModel,
    ViewedBackend,
    explaining,
)
from hep2gan.statistics.trust_rule import TrustRule

VIEWS = 8
"""Flips and rotations of a square image: the dihedral group D4. Cells have no orientation."""


def combine_models(
    members: Mapping[str, TrainedModel], *, views: bool = False, calibrated: bool = True
) -> TrainedModel:
    """Make one model of several, whose predictions are the means of theirs.

    Args:
        members: One or more models, by what they are called in messages.
        views: Whether each looks at the eight flips and rotations of an image.
        calibrated: Whether the probabilities of each are scaled by its own temperature.

    Returns:
        The model, with the rule that says which cells are unlike the training: those whose mean
        squared distance, or whose entropy, is above the mean of the members' limits. Without
        `calibrated` there is none, as limits are of calibrated probabilities.

    Raises:
        Hep2ganError: They differ in their classes or in how they take images, or the views of one
            cannot be told apart.
    """
    (first_name, first), *others = members.items()
    for name, other in others:
        _require_alike(first_name, first, name, other)
    trusts = tuple(trust for model in members.values() for trust in model.trusts)
    rules = [TrustRule.of(trust, calibrated=calibrated) for trust in trusts]
    if not others and not views:
        return first._replace(rule=rules[0])
    backends = {name: model.backend for name, model in members.items()}
    if views:
        backends = {name: _single_view(name, backend) for name, backend in backends.items()}
    return TrainedModel(
        backend=Ensemble(list(backends.values()), rules, VIEWS if views else 1),
        classes=first.classes,
        size=first.size,
        crops=first.crops,
        reading=first.reading,
        trusts=trusts,
        rule=_mean_rule(rules) if calibrated else TrustRule(),
    )


def _mean_rule(rules: Sequence[TrustRule]) -> TrustRule:
    return TrustRule(
        squared=_mean_limit([rule.squared for rule in rules]),
        entropy=_mean_limit([rule.entropy for rule in rules]),
    )


def _mean_limit(limits: Sequence[float | None]) -> float | None:
    """The mean of all limits; None where a member has none."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) / len(known) if len(known) == len(limits) else None


def _require_alike(first_name: str, first: TrainedModel, name: str, other: TrainedModel) -> None:
    """Check that two models can be averaged: the same classes from the same images."""
    facts: dict[str, Callable[[TrainedModel], Any]] = {
        "classes": lambda model: ", ".join(model.classes) or "none",
        "size of images": lambda model: f"{model.size} px",
        "reading of images": lambda model: ", ".join(
            f"{key} {value}" for key, value in model.reading._asdict().items()
        ),
        "geometry of crops": lambda model: (
            "not recorded"
            if model.crops is None
            else ", ".join(f"{key} {value} px" for key, value in model.crops._asdict().items())
        ),
    }
    for fact, of in facts.items():
        if of(first) != of(other):
            raise Hep2ganError(
                f"{first_name} and {name} differ in the {fact}: {of(first)}; {of(other)}",
                "the members of an ensemble tell the same classes, in one order, from the same"
                " images",
                f"leave {name} out, or predict with each by a command of its own",
            )


def _single_view(name: str, backend: InferenceBackend) -> InferenceBackend:
    any_backend: object = backend
    single = any_backend.single_view() if isinstance(any_backend, ViewedBackend) else backend
    if single is None:
        raise Hep2ganError(
            f"the graph of {name} averages its own views",
            "views=true compares views, and an average cannot be taken apart",
            "leave views=true out, or predict with the run that it was exported from",
        )
    return single


class Ensemble:
    """Average what several networks say of several views of each image.

    Each member and view counts alike. B. Lakshminarayanan, A. Pritzel, C. Blundell: Simple and
    scalable predictive uncertainty estimation using deep ensembles, NeurIPS 2017.

    Args:
        members: The networks.
        rules: How the probabilities of each are scaled before they are averaged; None: not.
        views: 1, the image as it is, or `VIEWS`.
    """

    def __init__(
        self,
        members: Sequence[InferenceBackend],
        rules: Sequence[TrustRule] | None = None,
        views: int = 1,
    ) -> None:
        self._members, self._views = list(members), views
        self._rules = [TrustRule()] * len(self._members) if rules is None else list(rules)

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify a batch.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).

        Returns:
            Means over the members that have such an output, and the spread of the probabilities.
        """
        masks, distances, probabilities = _Mean(), _Mean(), list[npt.NDArray[np.floating]]()
        for output in self._opinions(image, levels):
            masks.add(output.mask)
            distances.add(output.distances)
            if output.probabilities is not None:
                probabilities.append(output.probabilities)
        opinions = np.stack(probabilities) if probabilities else None
        return BackendOutput(
            masks.value,
            None if opinions is None else opinions.mean(axis=0, dtype=np.float64),
            distances.value,
            None if opinions is None or len(opinions) < 2 else spread(opinions),
        )

    def _opinions(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> Iterator[BackendOutput]:
        """What each member says of each view, one after the other, scaled, masks turned back."""
        for member, rule in zip(self._members, self._rules, strict=True):
            for view in range(self._views):
                output = member(turn(image, view), levels)
                mask = None if output.mask is None else turn_back(output.mask, view)
                scaled = rule.scale(output.probabilities)
                yield output._replace(mask=mask, probabilities=scaled)

    def activation_maps(
        self,
        image: npt.NDArray[np.uint8],
        levels: npt.NDArray[np.float32],
        predicted: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32] | None:
        """Average the members' maps of what speaks for a class.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).
            predicted: (B,) the class of each image that is to be explained.

        Returns:
            float32 (B, S, S) in [0, 1]; None if a member has no such maps.
        """
        mean = _Mean()
        for member in map(explaining, self._members):
            for view in range(self._views):
                if member is None:
                    return None
                maps = member.activation_maps(turn(image, view), levels, predicted)
                if maps is None:
                    return None
                mean.add(turn_back(maps, view))
        return mean.value


class _Mean:
    """The mean of arrays that come one after the other."""

    def __init__(self) -> None:
        self._sum: npt.NDArray[np.float64] | None = None
        self._count = 0

    def add(self, part: npt.NDArray[np.float32] | None) -> None:
        """Add an array; None is passed over."""
        if part is not None:
            self._sum = part.astype(np.float64) if self._sum is None else self._sum + part
            self._count += 1

    @property
    def value(self) -> npt.NDArray[np.float32] | None:
        """The mean; None of nothing."""
        return None if self._sum is None else (self._sum / self._count).astype(np.float32)


def spread(opinions: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Measure how far the members of an ensemble, or the views of an image, disagree.

    It is the mutual information of class and member, the entropy of the mean less the mean of the
    entropies, over log K: 0 where all give the same probabilities, however unsure; towards 1 where
    each is sure of another class. N. Houlsby, F. Huszár, Z. Ghahramani, M. Lengyel: Bayesian active
    learning for classification and preference learning, 2011 (arXiv:1112.5745), eq. 2; for networks
    Y. Gal, R. Islam, Z. Ghahramani: Deep Bayesian active learning with image data, ICML 2017.

    Args:
        opinions: (M, B, K) class probabilities by each of M members or views.

    Returns:
        float32 (B,) in [0, 1].
    """
    p = opinions.astype(np.float64)
    information = entr(p.mean(axis=0)).sum(axis=-1) - entr(p).sum(axis=-1).mean(axis=0)
    classes = p.shape[-1]
    scaled = information / np.log(classes) if classes > 1 else np.zeros_like(information)
    return np.asarray(scaled.clip(0, 1), np.float32)


def turn(images: npt.NDArray[Any], view: int) -> npt.NDArray[Any]:
    """Turn and mirror square images, as `hep2gan.models.output.apply_view` does.

    Args:
        images: (B, S, S) images.
        view: Number from 0 to 7: mirrored from 4 on, then turned by view % 4 · 90°.

    Returns:
        The images in a block of memory of their own, as networks take them.
    """
    mirrored = images[:, :, ::-1] if view >= 4 else images
    return np.ascontiguousarray(np.rot90(mirrored, view % 4, (1, 2)))


def turn_back(images: npt.NDArray[Any], view: int) -> npt.NDArray[Any]:
    """Undo `turn`.

    Args:
        images: (B, S, S) turned images.
        view: Number from 0 to 7.

    Returns:
        The images as they were.
    """
    turned = np.rot90(images, -(view % 4), (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if view >= 4 else turned)
