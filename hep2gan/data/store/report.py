"""The report of a pack: oddities of the cells, kept in the manifest and printed for the user."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.data.grouping import find_duplicates
from hep2gan.data.readers.source import CellError, RawCells
from hep2gan.data.store.plausibility import Oddity
from hep2gan.data.store.store import Store
from hep2gan.errors import pluralize

MAX_LISTED = 1000
"""Longest list kept in a manifest; the count beside it is always complete."""


def limit_list(items: Sequence[Any]) -> dict[str, Any]:
    """Shorten a list to its first `MAX_LISTED` items.

    Args:
        items: Items that JSON can hold.

    Returns:
        `listed`, the first items, and `count`, the number of all.
    """
    return {"count": len(items), "listed": list(items[:MAX_LISTED])}


def list_oddities(oddities: Sequence[Oddity]) -> list[dict[str, Any]]:
    """Convert oddities to plain JSON.

    Args:
        oddities: What does not look right.

    Returns:
        What each is, with its cells as `limit_list` has them.
    """
    return [{"what": oddity.what} | limit_list(oddity.ids) for oddity in oddities]


def oddity_lines(oddities: Sequence[dict[str, Any]]) -> list[str]:
    """Describe oddities by their counts and the names of their first cells.

    Args:
        oddities: What `list_oddities` returned.

    Returns:
        A line for each.
    """
    return [
        f"{oddity['count']:,} {oddity['what']}: {_first_items(oddity, str)}" for oddity in oddities
    ]


def pack_report(
    raw: RawCells,
    columns: dict[str, npt.NDArray[Any]],
    skipped: Sequence[CellError],
    notes: Sequence[str],
    oddities: Sequence[Oddity] = (),
) -> dict[str, Any]:
    """Collect the findings of a pack as plain JSON.

    Args:
        raw: The cells as they were read.
        columns: The store's arrays except image and mask.
        skipped: Cells that were left out.
        notes: Further findings, one sentence each.
        oddities: What does not look right about the masks.

    Returns:
        The findings by name.
    """
    label, crop, ids = columns["label"], columns["crop_size"], columns["id"]
    levels, specimen = columns["levels"], columns["specimen"]
    duplicates = find_duplicates(columns["digest"], label)
    groups = [ids[rows].tolist() for rows in duplicates.groups]
    conflicts = [g for g, c in zip(groups, duplicates.conflicting, strict=True) if c]
    return {
        "counts": np.bincount(label, minlength=len(raw.classes)).tolist(),
        "published_counts": list(raw.published_counts) if raw.published_counts else None,
        "height": _range(crop[:, 0]),
        "width": _range(crop[:, 1]),
        "specimens": len(np.unique(specimen[specimen >= 0])),
        "without_specimen": int((specimen < 0).sum()),
        "duplicates": limit_list(groups) | {"cells": sum(map(len, groups))},
        "conflicts": limit_list(conflicts),
        "constant": limit_list(ids[levels[:, 0] >= levels[:, 1]].tolist()),
        "skipped": limit_list([problem._asdict() for problem in skipped]),
        "oddities": list_oddities(oddities),
        "notes": [*raw.notes, *notes],
    }


def _range(values: npt.NDArray[np.int64]) -> list[float]:
    return [int(values.min()), float(np.median(values)), int(values.max())]


def format_report(store: Store) -> list[str]:
    """Describe what a store holds and what is unusual about it.

    Args:
        store: The opened store.

    Returns:
        The lines; those that need attention begin with 'warning: ' and are last.
    """
    findings = store.manifest["findings"]
    (h0, h, h1), (w0, w, w1) = findings["height"], findings["width"]
    with_specimen = len(store) - findings["without_specimen"]
    specimens = pluralize(findings["specimens"], "specimen")
    return [
        f"{pluralize(len(store), 'cell')} in {pluralize(len(store.classes), 'class', 'classes')}"
        f" from {store.manifest['source']}",
        *_class_lines(store.classes, findings["counts"], findings["published_counts"]),
        f"crops {h0}–{h1} px high (median {h:g}), {w0}–{w1} px wide (median {w:g})",
        f"stored at {store.size} × {store.size} px, fingerprint {store.fingerprint[:12]}",
        f"{specimens} of {pluralize(with_specimen, 'cell')}" if with_specimen else "no specimens",
        *([] if store.has_masks else ["no masks: methods that segment cannot be trained"]),
        *(f"warning: {warning}" for warning in _warnings(store.classes, findings)),
    ]


def _class_lines(
    classes: Sequence[str], counts: Sequence[int], published: Sequence[int] | None
) -> list[str]:
    width = max(map(len, classes))
    suffixes = [f"   published {count:>7,}" for count in published or ()] or [""] * len(classes)
    return [
        f"  {name:<{width}} {count:>9,}{suffix}"
        for name, count, suffix in zip(classes, counts, suffixes, strict=True)
    ]


def _warnings(classes: Sequence[str], findings: dict[str, Any]) -> list[str]:
    warnings = [
        f"no cell of class {name}"
        for name, count in zip(classes, findings["counts"], strict=True)
        if not count
    ]
    if findings["published_counts"] and findings["counts"] != findings["published_counts"]:
        total = sum(findings["published_counts"])
        warnings.append(f"the counts differ from the published ones ({total:,} cells)")
    if findings["duplicates"]["count"]:
        cells, groups = findings["duplicates"]["cells"], findings["duplicates"]["count"]
        examples = _first_items(findings["duplicates"], " = ".join)
        warnings.append(
            f"{cells:,} cells in {pluralize(groups, 'group')} of identical cells: {examples}"
        )
    if findings["conflicts"]["count"]:
        examples = _first_items(findings["conflicts"], " = ".join)
        warnings.append(f"identical cells with different labels: {examples}")
    if findings["constant"]["count"]:
        images = pluralize(findings["constant"]["count"], "image")
        warnings.append(f"{images} of one grey level: {_first_items(findings['constant'], str)}")
    if findings["skipped"]["count"]:
        reasons = _first_items(findings["skipped"], lambda problem: str(problem["reason"]))
        cells = pluralize(findings["skipped"]["count"], "cell")
        warnings.append(f"{cells} left out: {reasons}")
    return [*warnings, *oddity_lines(findings["oddities"]), *findings["notes"]]


def _first_items(listed: dict[str, Any], to_text: Callable[[Any], str], limit: int = 5) -> str:
    rest = listed["count"] - limit
    text = ", ".join(to_text(item) for item in listed["listed"][:limit])
    return f"{text}, … and {rest:,} more" if rest > 0 else text
