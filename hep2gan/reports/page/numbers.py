"""Numbers as a report prints them: headlines beside their priors, classes, runs."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hep2gan.reports.selection import dice_by_cell
from hep2gan.runs.finished import Run
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.by_class import scores_by_class

_SPACE = "\N{NARROW NO-BREAK SPACE}"


class Number(NamedTuple):
    """One printed number and the key of metrics.json that it comes from."""

    name: str
    text: str
    key: str


class Headline(NamedTuple):
    """A number that is read first, what stands beside it, and a warning if it means little."""

    number: Number
    interval: str
    beside: list[Number]
    warning: str


def percent(value: float, digits: int = 1) -> str:
    """Print a fraction as a percentage; a dash where it is not a number."""
    return f"{100 * value:.{digits}f}{_SPACE}%" if math.isfinite(value) else "–"


def fraction(value: float) -> str:
    """Print a fraction with three digits; a dash where it is not a number."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def pixels(value: float) -> str:
    """Print a distance in raw pixels; a dash where it is not a number."""
    return f"{value:.1f}{_SPACE}px" if math.isfinite(value) else "–"


_PRIORS = {
    "ellipse": "inscribed ellipse",
    "mean_mask": "mean mask",
    "otsu": "Otsu's threshold",
    "majority": "majority class",
}
_HEADLINES = (
    ("Dice", "test/dice", fraction, ("ellipse_dice", "mean_mask_dice", "otsu_dice")),
    ("Jaccard", "test/jaccard", fraction, ("ellipse_jaccard", "mean_mask_jaccard", "otsu_jaccard")),
    (
        "95 % Hausdorff distance",
        "test/hd95",
        pixels,
        ("ellipse_hd95", "mean_mask_hd95"),
    ),
    ("Accuracy", "test/accuracy", percent, ("majority_accuracy",)),
    ("F1 (macro)", "test/f1", percent, ("majority_f1",)),
    ("AUROC (macro)", "test/auroc", fraction, ()),
)
_BESIDE = {
    "test/accuracy": (("with true masks", "test/accuracy_true_mask", percent),),
    "test/f1": (("precision", "test/precision", percent), ("recall", "test/recall", percent)),
}


def headlines(metrics: dict[str, float]) -> list[Headline]:
    """Return the first numbers of a run, each beside the trivial priors on the same cells."""
    found = []
    for name, key, form, priors in _HEADLINES:
        if key in metrics:
            beside = _beside(metrics, key)
            for prior in priors:
                if (full := f"prior/{prior}") in metrics:
                    short = next(words for p, words in _PRIORS.items() if prior.startswith(p))
                    beside.append(Number(short, form(metrics[full]), full))
            low, high = (metrics.get(f"{key}_{end}", math.nan) for end in ("low", "high"))
            interval = f"{100 * low:.1f}–{percent(high)}" if math.isfinite(low + high) else ""
            number = Number(name, form(metrics[key]), key)
            found.append(Headline(number, interval, beside, _warning(metrics, key, priors)))
    return found


def _beside(metrics: dict[str, float], key: str) -> list[Number]:
    also = _BESIDE.get(key, ())
    return [Number(name, form(metrics[k]), k) for name, k, form in also if k in metrics]


def _warning(metrics: dict[str, float], key: str, priors: Sequence[str]) -> str:
    """Say when something that never looks at the pixels does as well."""
    sign = -1 if key == "test/hd95" else 1
    beaten = [
        next(words for p, words in _PRIORS.items() if prior.startswith(p))
        for prior in priors
        if sign * metrics[key] <= sign * metrics.get(f"prior/{prior}", -sign * math.inf)
    ]
    return f"no better than the {' and the '.join(beaten)}" if beaten else ""


class ClassRow(NamedTuple):
    """Numbers of one class, as printed; empty where the method does not have them."""

    name: str
    cells: int
    columns: dict[str, str]


def class_rows(predictions: Predictions) -> list[ClassRow]:
    """Return precision, recall, F1, AUC and mean Dice of each class with its test cells."""
    size = len(predictions.classes)
    cells = np.bincount(predictions.label, minlength=size)
    rows = [ClassRow(name, int(n), {}) for name, n in zip(predictions.classes, cells, strict=True)]
    if predictions.probabilities is not None:
        scores = scores_by_class(
            predictions.label, predictions.predicted, predictions.probabilities
        )
        for label, row in enumerate(rows):
            for name in ("Precision", "Recall", "F1"):
                row.columns[name] = percent(scores[name.lower()][label])
            row.columns["AUC"] = fraction(scores["auroc"][label])
    if predictions.mask is not None:
        dice = dice_by_cell(predictions)
        for label in range(size):
            own = dice[predictions.label == label]
            rows[label].columns["Dice"] = fraction(own.mean() if own.size else np.nan)
    return rows


def cell_counts(run: Run, predictions: Predictions) -> dict[str, dict[str, int]]:
    """Return part → class → cells, from split.json, else from what the predictions know."""
    counts = run.split.get("counts")
    if isinstance(counts, dict) and counts and all(isinstance(c, dict) for c in counts.values()):
        return {str(part): {str(k): int(n) for k, n in c.items()} for part, c in counts.items()}
    tested = np.bincount(predictions.label, minlength=len(predictions.classes))
    known = {"train": predictions.train_counts, "test": tested}
    return {
        part: dict(zip(predictions.classes, map(int, numbers), strict=True))
        for part, numbers in known.items()
        if numbers is not None
    }
