"""One run on the HTML page: a summary of its configuration, its main results, its tables."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.errors import pluralize
from hep2gan.metrics.baselines import BASELINES
from hep2gan.reports.naming import group_pairs, numbers_by_method
from hep2gan.reports.page.elements import Picture, make_pictures
from hep2gan.reports.results import NO_INTERVAL, TestCells, recorded_interval
from hep2gan.reports.tables.subgroups import subgroups_of
from hep2gan.reports.tables.table import ABSENT, Cell, Row, Table
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.folder import flatten
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Trust
from hep2gan.statistics.classification import scores_by_class
from hep2gan.statistics.trust import LEAST_CELLS, fit_trust

_PLACES = ("run_dir", "runs", "stores", "hydra.", "logger.", "data.root", "data.store")
_UNUSED = {"segment": ("generator", "discriminator"), "classify": ("classifier",)}
"""Networks that are not trained where this key of `model` is false."""
_GROUPS = (
    ("Cells", "data", ("name", "count", "size")),
    ("Target", "target", ()),
    ("Split", "split", ()),
    ("Normalisation", "normalisation", ()),
    ("Augmentation", "augmentation", ()),
    ("Generator", "generator", ()),
    ("Discriminator", "discriminator", ()),
    ("Classifier", "classifier", ()),
    ("Guidance", "model.guidance", ()),
    ("Losses", "loss", ()),
    ("Optimizers", "optimizer", ()),
    ("Training", "trainer", ("max_epochs", "batch_size", "precision", "accelerator", "devices")),
)


def highlights(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Summarise a configuration, one line a part; unused parts are left out.

    Args:
        config: The configuration of a run, which may be damaged.

    Returns:
        Pairs of title and text.
    """
    model = config.get("model")
    model = model if isinstance(model, Mapping) else {}  # A run's file may be damaged.
    off = {part for key, parts in _UNUSED.items() if model.get(key) is False for part in parts}
    lines = []
    for title, group, keys in _GROUPS:
        part = group.removeprefix("model.")
        value = config.get(group) if part == group else model.get(part)
        if value is None or group in off:
            continue
        if keys and isinstance(value, Mapping):
            value = {key: value[key] for key in keys if key in value}
        if words := one_line(value):
            lines.append((title, words))
    return lines


def one_line(value: Any, depth: int = 0) -> str:
    """Write a part of the configuration in one line: a name, and its settings in brackets.

    Args:
        value: The part.
        depth: Number of parts around it.

    Examples:
        >>> one_line({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": None})
        'SGD (lr 0.1)'
    """
    if isinstance(value, Mapping):
        head = next((str(value[k]) for k in ("_target_", "name", "kind") if value.get(k)), "")
        names = ("_target_", "_partial_", "name", "kind")
        settings = {k: one_line(v, depth + 1) for k, v in value.items() if k not in names}
        inner = ", ".join(
            f"{str(key).replace('_', ' ')} {words}" for key, words in settings.items() if words
        )
        head = head.rpartition(".")[2]
        if head and inner:
            return f"{head} ({inner})"
        return head or (f"({inner})" if depth and inner else inner)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(one_line(member) or "–" for member in value) + "]"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def configuration_differences(
    configs: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[int]]]:
    """Find the keys whose values differ between configurations, except paths.

    Args:
        configs: The configurations.

    Returns:
        For each key its values in words, each with the indices of the configurations that have it.
    """
    every = [
        {
            key: "null" if value is None else one_line(value) or "empty"
            for key, value in dict(flatten(config)).items()
            if not key.startswith(_PLACES)
        }
        for config in configs
    ]
    values = {
        key: group_pairs((one.get(key, "absent"), place) for place, one in enumerate(every))
        for key in dict.fromkeys(key for one in every for key in one)
    }
    return {key: places for key, places in values.items() if len(places) > 1}


_LEAKS = {
    "leakage/duplicate_test_cells": "{:,.0f} test cells have a byte-identical twin in training.",
    "leakage/shared_specimens": (
        "{:,.0f} of the test specimens also have cells in training: accuracy on unseen specimens"
        " may be much lower."
    ),
}


def leaks_of(run: FinishedRun) -> list[str]:
    """List what training and test share, in sentences.

    Args:
        run: A run; its `leakage/` metrics are used.
    """
    metrics = run.metrics
    return [text.format(metrics[key]) for key, text in _LEAKS.items() if metrics.get(key, 0) > 0]


def notes_of(run: FinishedRun) -> list[str]:
    """State what the numbers of a run must be read with: masks all alike, nothing shared, unknown.

    Args:
        run: A run; its metrics lack what the store does not know.
    """
    if not run.metrics.get("test/constant_masks"):
        return _sharing(run)
    epochs = f" in {pluralize(run.stage_epochs, 'epoch')}" if run.stage_epochs else ""
    return [
        "Every generated mask of the test is empty, full or the same: the generator has not learned"
        f" to segment{epochs}.",
        *_sharing(run),
    ]


def _sharing(run: FinishedRun) -> list[str]:
    measured = set(_LEAKS) & set(run.metrics)
    if measured == {"leakage/duplicate_test_cells"}:
        return ["Not every cell names its specimen: whether any is shared cannot be known."]
    if measured and not leaks_of(run):
        return ["No specimen and no byte-identical cell is in both training and test."]
    return []


_SPACE = "\N{NARROW NO-BREAK SPACE}"
_FRACTION, _PIXELS, _PERCENT = "{:.3f}", "{:.1f}px", "{:.1%}"


class Headline(NamedTuple):
    """A main result of a run. Cells hold values under the key of metrics.json.

    Attributes:
        number: The result.
        beside: Results to compare it with, such as the trivial baselines.
        warning: Warning that the result is no better than a baseline, or empty.
    """

    number: Cell
    beside: list[Cell]
    warning: str


def _number(value: float, form: str) -> str:
    """Print a number in one of the forms above, with a narrow space before its unit."""
    return re.sub("(?=px|%)", _SPACE, form.format(value)) if math.isfinite(value) else ABSENT


_OVERLAP_BASELINES = ("ellipse", "mean_mask", "otsu")
_HEADLINES = (
    ("Dice", "dice", _FRACTION, _OVERLAP_BASELINES),
    ("Jaccard", "jaccard", _FRACTION, _OVERLAP_BASELINES),
    ("95 % Hausdorff distance", "hd95", _PIXELS, ("ellipse", "mean_mask")),
    ("Accuracy", "accuracy", _PERCENT, ("majority",)),
    ("F1 (macro)", "f1", _PERCENT, ("majority",)),
    ("AUROC (macro)", "auroc", _FRACTION, ()),
)
_BESIDE = {
    "accuracy": {"test/accuracy_true_mask": "with true masks"},
    "f1": {"test/precision": "precision", "test/recall": "recall"},
}


def headlines(metrics: Mapping[str, float]) -> list[Headline]:
    """Select the main results of a run, each beside the trivial baselines on the same cells.

    Args:
        metrics: Content of metrics.json.
    """
    found = []
    for heading, name, form, baselines in _HEADLINES:
        if (own := metrics.get(f"test/{name}")) is None:
            continue
        floors = {f"baseline/{baseline}_{name}": BASELINES[baseline] for baseline in baselines}
        beside = [
            Cell(words, _number(metrics[key], form), {key: metrics[key]})
            for key, words in (_BESIDE.get(name, {}) | floors).items()
            if key in metrics
        ]
        interval = NO_INTERVAL if name == "accuracy" else ""
        if recorded := recorded_interval(metrics, name):
            (low, high), unit = recorded
            interval = f"{100 * low:.1f}–{_number(high, _PERCENT)} over {unit}s"
        sign = -1 if name == "hd95" else 1
        beaten = [
            "the " * words[0].islower() + words
            for key, words in floors.items()
            if key in metrics and sign * own <= sign * metrics[key]
        ]
        most = ", ".join(beaten[:-1])
        warning = f"no better than {' and '.join(filter(None, [most, *beaten[-1:]]))}"
        found.append(
            Headline(
                Cell(heading, _number(own, form), {f"test/{name}": own}, interval),
                beside,
                warning if beaten else "",
            )
        )
    return found


def scores_table(predictions: Predictions) -> Table:
    """Build the table of precision, recall, F1, AUC and mean Dice by class.

    Args:
        predictions: Predictions of one run.
    """
    label, classes = predictions.label, range(len(predictions.classes))
    columns: list[tuple[str, Sequence[float] | npt.NDArray[Any], str]] = [
        ("Test cells", np.bincount(label, minlength=len(classes)), "{:,}")
    ]
    if predictions.probabilities is not None:
        scores = scores_by_class(label, predictions.predicted, predictions.probabilities)
        columns += [
            (name, scores[name.lower()], _PERCENT) for name in ("Precision", "Recall", "F1")
        ]
        columns.append(("AUC", scores["auroc"], _FRACTION))
    if predictions.dice is not None:
        own = [predictions.dice[label == one] for one in classes]
        columns.append(
            ("Dice", [dice.mean() if dice.size else math.nan for dice in own], _FRACTION)
        )
    return Table(
        "Class by class",
        [
            Row(
                [Cell("Class", predictions.classes[one])],
                [[Cell(title, _number(values[one], form)) for title, values, form in columns]],
            )
            for one in classes
        ],
    )


def counts_table(run: FinishedRun, predictions: Predictions) -> Table:
    """Build the table of cells by class and part.

    Args:
        run: The run; counts are taken from its split.json.
        predictions: Its predictions, which are used if split.json has no counts.
    """
    classes = predictions.classes
    known = {
        "train": predictions.train_counts,
        "test": np.bincount(predictions.label, minlength=len(classes)),
    }
    counts: dict[str, dict[str, int]] = run.split.get("counts") or {
        part: dict(zip(classes, numbers, strict=True))
        for part, numbers in known.items()
        if numbers is not None
    }
    rows = [
        Row([Cell("Class", name)], [_counts({p: own.get(name, 0) for p, own in counts.items()})])
        for name in classes
    ]
    total = _counts({part: sum(own.values()) for part, own in counts.items()})
    return Table("Cells", [*rows, Row([Cell("Class", "All")], [total], kind="total")])


def _counts(by_part: Mapping[str, int]) -> list[Cell]:
    return [Cell(part.capitalize(), f"{count:,}") for part, count in by_part.items()]


_FEW, _MOST = 4, 12


class RunSection(NamedTuple):
    """Section of one run on a page, with the anchor `run-<number>`.

    Attributes:
        number: Number of the run from 1.
        name: Its name.
        run: The run.
        cells: Number of test cells and classes, in words.
        counts: Table of cells by class and part.
        scores: Table of scores by class.
        subgroups: Table of scores by intensity or pattern; None where neither is known.
        figures: Its figures, except those in `trust` and `worst`.
        worst: Figures of the worst cells.
        trusted: How far to trust a cell, in sentences; none without a classifier.
        trust: Figures of that.
    """

    number: int
    name: str
    run: FinishedRun
    cells: str
    counts: Table
    scores: Table
    subgroups: Table | None
    figures: list[Picture]
    worst: list[Picture]
    trusted: list[str]
    trust: list[Picture]


def illustrate(runs: Sequence[FinishedRun]) -> set[int]:
    """Select the runs whose figures are embedded, so that the page stays small.

    These are all of up to four runs, else the first run of each method, twelve at most.

    Args:
        runs: All runs of the report.

    Returns:
        Their numbers, from 1.
    """
    if len(runs) <= _FEW:
        return set(range(1, len(runs) + 1))
    return {members[0] for members in list(numbers_by_method(runs).values())[:_MOST]}


def run_section(
    run: FinishedRun, number: int, name: str, predictions: Predictions, *, figures: bool
) -> RunSection:
    """Build the section of one run.

    Args:
        run: The run.
        number: Its number, from 1.
        name: Its name.
        predictions: Its predictions.
        figures: Whether to embed its figures.
    """
    pictures = make_pictures(run, predictions) if figures else []
    tested, synthetic = len(predictions.label), "synthetic " * run.is_synthetic
    return RunSection(
        number,
        name,
        run,
        f"{pluralize(tested, f'{synthetic}cell')} of"
        f" {pluralize(len(predictions.classes), 'class', 'classes')}",
        counts_table(run, predictions),
        scores_table(predictions),
        subgroups_of([TestCells.from_predictions(predictions, outlines=False)]),
        figures=[
            one for one in pictures if not one.name.startswith("worst") and one.name not in _TRUST
        ],
        worst=[one for one in pictures if one.name.startswith("worst")],
        trusted=trust_sentences(fit_trust(predictions)),
        trust=[one for one in pictures if one.name in _TRUST],
    )


_TRUST = ("calibration", "trust")
"""Figures of the part of a run that says how far to trust a cell."""


def trust_sentences(trust: Trust | None) -> list[str]:
    """Say how far the predictions of a run are to be trusted.

    Args:
        trust: What its test found; None without a classifier.

    Returns:
        Sentences on probabilities, on the surest cells, and on cells unlike the training; none
        without a classifier.
    """
    if trust is None:
        return []
    return [_of_probabilities(trust), _of_risk(trust), _of_distances(trust)]


def _percent(share: float) -> str:
    return _number(share, _PERCENT)


def _of_probabilities(trust: Trust) -> str:
    before, after = trust.calibration_error, trust.calibration_error_scaled
    words = (
        f"Probabilities: on average they differ from the accuracy by {_percent(before)} as"
        " trained (expected calibration error)"
    )
    if after is None:
        return f"{words}. They are not scaled: the test is of one specimen, which cannot tell."
    how = (
        "by the temperature of the validation part"
        if trust.part == "validation"
        else "where each half of the test is scaled by the temperature of the other half"
    )
    if trust.cells < LEAST_CELLS:
        return f"{words}. They are not scaled: {trust.chosen_on} are too few for a temperature."
    if trust.temperature == 1.0:
        return (
            f"{words}, and by {_percent(after)} {how}. As that is not lower, predictions are not"
            " scaled."
        )
    return (
        f"{words}, and by {_percent(after)} {how}. Predictions are scaled by the temperature"
        f" {trust.temperature:.2f}, from {trust.chosen_on}."
    )


def _of_risk(trust: Trust) -> str:
    half = min(trust.risk, key=lambda point: abs(point[0] - 0.5))
    return (
        f"Errors: {_percent(trust.error)} of all cells are misclassified, and {_percent(half[1])}"
        " of the surest half. The area under the curve of errors by coverage (AURC) is"
        f" {trust.aurc:.4f}; an order by chance has {trust.error:.4f}, the best possible"
        f" {trust.aurc_ideal:.4f}."
    )


def _of_distances(trust: Trust) -> str:
    limit = trust.unlike
    if limit is None:
        return f"Cells unlike the training are not marked: {trust.no_limits}."
    far = "" if limit.squared is None else f" further than {limit.squared**0.5:.2f} from all means,"
    words = (
        f"Unlike the training: a cell is called so{far}{' or' if far else ''} with an entropy above"
        f" {limit.entropy:.2f}; each limit keeps {100 * limit.quantile:g} % of {trust.chosen_on}."
    )
    if limit.false_alarms_unseen is not None:
        specimens = pluralize(limit.unseen_specimens, "specimen")
        return (
            f"{words} False alarms: {_percent(limit.false_alarms_unseen)} of"
            f" {pluralize(limit.unseen_cells, 'test cell')} of {specimens} that had no cell in"
            " training."
        )
    if limit.false_alarms is not None:
        return (
            f"{words} False alarms: {_percent(limit.false_alarms)} of the test cells; none is"
            " known to be of a specimen that had no cell in training, where there may be more."
        )
    return words
