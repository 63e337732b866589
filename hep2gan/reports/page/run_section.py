"""A run's configuration in few words, and what differs between runs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hep2gan.metrics.baselines import BASELINES
from hep2gan.reports.naming import numbers_by_method
from hep2gan.reports.page.elements import Picture, make_pictures
from hep2gan.reports.results import TestCells
from hep2gan.runs.finished import FinishedRun
from hep2gan.runs.folder import flatten
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.confusion import scores_by_class

_PLACES = ("run_dir", "runs", "stores", "hydra.", "logger.", "data.root", "data.store")
_UNUSED = {"segment": ("generator", "discriminator"), "classify": ("classifier",)}
_GROUPS = (
    ("Cells", "data", ("name", "count", "size")),
    ("Split", "split", ()),
    ("Normalisation", "normalisation", ()),
    ("Augmentation", "augmentation", ()),
    ("Generator", "generator", ()),
    ("Discriminator", "discriminator", ()),
    ("Classifier", "classifier", ()),
    ("Guidance", "guidance", ()),
    ("Losses", "loss", ()),
    ("Optimizers", "optimizer", ()),
    ("Training", "trainer", ("max_epochs", "batch_size", "precision", "accelerator", "devices")),
)


def highlights(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, one line a part; parts that did not take part are left out."""
    off = {part for key, parts in _UNUSED.items() if config.get(key) is False for part in parts}
    lines = []
    for title, group, keys in _GROUPS:
        value = config.get(group)
        if value is None or group in off:
            continue
        if keys and isinstance(value, Mapping):
            value = {key: value[key] for key in keys if key in value}
        if words := one_line(value):
            lines.append((title, words))
    return lines


def one_line(value: Any, depth: int = 0) -> str:
    """Put a part of the configuration in one line: a name, and its settings in brackets.

    >>> brief({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": None})
    'SGD (lr 0.1)'
    """
    if isinstance(value, Mapping):
        head = next((str(value[k]) for k in ("_target_", "name", "kind") if value.get(k)), "")
        names = ("_target_", "_partial_", "name", "kind")
        told = {k: one_line(v, depth + 1) for k, v in value.items() if k not in names}
        inner = ", ".join(f"{humanize(key)} {words}" for key, words in told.items() if words)
        head = head.rpartition(".")[2]
        if head and inner:
            return f"{head} ({inner})"
        return head or (f"({inner})" if depth and inner else inner)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(one_line(member) or "–" for member in value) + "]"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def humanize(key: object) -> str:
    """Turn a key into words."""
    return str(key).replace("_", " ")


def configuration_differences(
    configs: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[int]]]:
    """Return the keys that configurations do not agree on; where things lie does not count.

    Each key has its values in words, each with the places of the configurations that have it.
    """
    every = [dict(flatten(config)) for config in configs]
    found = {}
    for key in dict.fromkeys(key for one in every for key in one):
        values: dict[str, list[int]] = {}
        for place, one in enumerate(every):
            values.setdefault(_words(one, key), []).append(place)
        if len(values) > 1 and not key.startswith(_PLACES):
            found[key] = values
    return found


def _words(flat: Mapping[str, Any], key: str) -> str:
    if key not in flat:
        return "absent"
    return "null" if flat[key] is None else one_line(flat[key]) or "empty"


_LEAKS = {
    "leakage/duplicate_test_cells": "{:,.0f} test cells have a byte-identical twin in training.",
    "leakage/shared_specimens": (
        "{:,.0f} of the test specimens also have cells in training: accuracy on unseen specimens"
        " will be lower."
    ),
}


class RunNotes(NamedTuple):
    """Sentences on what leaks, and notes on what does not or cannot be known."""

    leaks: list[str]
    notes: list[str]


def read_notes(run: FinishedRun) -> RunNotes:
    """Say what the `leakage/` metrics of a run mean; they lack what its store does not know."""
    leaks = [
        sentence.format(run.metrics[key])
        for key, sentence in _LEAKS.items()
        if run.metrics.get(key, 0) > 0
    ]
    measured = set(_LEAKS) & set(run.metrics)
    if measured == {"leakage/duplicate_test_cells"}:
        unknown = "Not every cell names its specimen: whether any is shared cannot be known."
        return RunNotes(leaks, [unknown])
    if measured and not leaks:
        clean = "No specimen and no byte-identical cell is in both training and test."
        return RunNotes(leaks, [clean])
    return RunNotes(leaks, [])


_SPACE = "\N{NARROW NO-BREAK SPACE}"


class PageNumber(NamedTuple):
    """One printed number and the key of metrics.json that it comes from."""

    name: str
    text: str
    key: str


class Headline(NamedTuple):
    """A number that is read first, what stands beside it, and a warning if it means little."""

    number: PageNumber
    interval: str
    beside: list[PageNumber]
    warning: str


def format_percent(value: float, digits: int = 1) -> str:
    """Print a fraction as a percentage; a dash where it is not a number."""
    return f"{100 * value:.{digits}f}{_SPACE}%" if math.isfinite(value) else "–"


def format_fraction(value: float) -> str:
    """Print a fraction with three digits; a dash where it is not a number."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def format_pixels(value: float) -> str:
    """Print a distance in raw pixels; a dash where it is not a number."""
    return f"{value:.1f}{_SPACE}px" if math.isfinite(value) else "–"


_OVERLAP_BASELINES = ("ellipse", "mean_mask", "otsu")
_HEADLINES = (
    ("Dice", "test/dice", format_fraction, _OVERLAP_BASELINES),
    ("Jaccard", "test/jaccard", format_fraction, _OVERLAP_BASELINES),
    ("95 % Hausdorff distance", "test/hd95", format_pixels, ("ellipse", "mean_mask")),
    ("Accuracy", "test/accuracy", format_percent, ("majority",)),
    ("F1 (macro)", "test/f1", format_percent, ("majority",)),
    ("AUROC (macro)", "test/auroc", format_fraction, ()),
)
_BESIDE = {
    "test/accuracy": (("with true masks", "test/accuracy_true_mask", format_percent),),
    "test/f1": (
        ("precision", "test/precision", format_percent),
        ("recall", "test/recall", format_percent),
    ),
}


def headlines(metrics: dict[str, float]) -> list[Headline]:
    """Return the first numbers of a run, each beside the trivial baselines on the same cells."""
    found = []
    for name, key, form, baselines in _HEADLINES:
        if key in metrics:
            beside = _beside(metrics, key)
            for baseline in baselines:
                if (full := f"baseline/{baseline}_{key.removeprefix('test/')}") in metrics:
                    beside.append(PageNumber(BASELINES[baseline], form(metrics[full]), full))
            low, high = (metrics.get(f"{key}_{end}", math.nan) for end in ("low", "high"))
            interval = (
                f"{100 * low:.1f}–{format_percent(high)}" if math.isfinite(low + high) else ""
            )
            number = PageNumber(name, form(metrics[key]), key)
            found.append(Headline(number, interval, beside, _warning(metrics, key, baselines)))
    return found


def _beside(metrics: dict[str, float], key: str) -> list[PageNumber]:
    also = _BESIDE.get(key, ())
    return [PageNumber(name, form(metrics[k]), k) for name, k, form in also if k in metrics]


def _warning(metrics: dict[str, float], key: str, baselines: Sequence[str]) -> str:
    """Say when something that never looks at the pixels does as well."""
    sign = -1 if key == "test/hd95" else 1
    score = key.removeprefix("test/")
    beaten = [
        BASELINES[name]
        for name in baselines
        if sign * metrics[key] <= sign * metrics.get(f"baseline/{name}_{score}", -sign * math.inf)
    ]
    return f"no better than the {' and the '.join(beaten)}" if beaten else ""


class PageClassRow(NamedTuple):
    """Numbers of one class, as printed; empty where the method does not have them."""

    name: str
    cells: int
    columns: dict[str, str]


def page_class_rows(predictions: Predictions) -> list[PageClassRow]:
    """Return precision, recall, F1, AUC and mean Dice of each class with its test cells."""
    size = len(predictions.classes)
    cells = np.bincount(predictions.label, minlength=size)
    rows = [
        PageClassRow(name, int(n), {}) for name, n in zip(predictions.classes, cells, strict=True)
    ]
    if predictions.probabilities is not None:
        scores = scores_by_class(
            predictions.label, predictions.predicted, predictions.probabilities
        )
        for label, row in enumerate(rows):
            for name in ("Precision", "Recall", "F1"):
                row.columns[name] = format_percent(scores[name.lower()][label])
            row.columns["AUC"] = format_fraction(scores["auroc"][label])
    if predictions.mask is not None:
        dice = predictions.dice
        for label in range(size):
            own = dice[predictions.label == label]
            rows[label].columns["Dice"] = format_fraction(own.mean() if own.size else np.nan)
    return rows


def cell_counts(run: FinishedRun, predictions: Predictions) -> dict[str, dict[str, int]]:
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


_FEW, _MOST = 4, 12


class RunSection(NamedTuple):
    """One run in the page, under its anchor `run-<number>`."""

    anchor: str
    name: str
    run: FinishedRun
    tested: TestCells
    word: str
    findings: RunNotes
    headlines: list[Headline]
    highlights: list[tuple[str, str]]
    counts: dict[str, dict[str, int]]
    classes: list[PageClassRow]
    figures: list[Picture]
    worst: list[Picture]
    places: dict[str, str]
    """Key of metrics.json to the anchor of its row."""


def illustrate(runs: Sequence[FinishedRun]) -> set[int]:
    """Return the numbers of the runs whose figures are embedded, so that the file stays small.

    These are all of up to four runs, else the first of each method, twelve at most.
    """
    if len(runs) <= _FEW:
        return set(range(1, len(runs) + 1))
    return {members[0] for members in list(numbers_by_method(runs).values())[:_MOST]}


def run_section(
    run: FinishedRun, number: int, name: str, predictions: Predictions, *, figures: bool
) -> RunSection:
    """Gather what the template prints of run `number`, from 1; its figures only if `figures`."""
    shown = make_pictures(run, predictions) if figures else []
    anchor = f"run-{number}"
    return RunSection(
        anchor=anchor,
        name=name,
        run=run,
        tested=TestCells.from_predictions(predictions),
        word="synthetic cells" if run.is_synthetic else "cells",
        findings=read_notes(run),
        headlines=headlines(run.metrics),
        highlights=highlights(run.config),
        counts=cell_counts(run, predictions),
        classes=page_class_rows(predictions),
        figures=[one for one in shown if not one.name.startswith("worst")],
        worst=[one for one in shown if one.name.startswith("worst")],
        places={key: f"{anchor}-metric-{place}" for place, key in enumerate(run.metrics, 1)},
    )
