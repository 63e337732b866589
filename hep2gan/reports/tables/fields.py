"""Whole fields with truth: which cells were found, and what becomes of their classes."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from hep2gan.reports.external import ExternalResult
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.table import (
    ABSENT,
    Cell,
    Output,
    Part,
    Row,
    Table,
    Value,
    format_interval,
    format_points,
    format_points_interval,
    hundredths,
    interval_values,
    mean_sd,
    method_cell,
    value_cell,
)
from hep2gan.runs.fields import Classification, Ends
from hep2gan.statistics.significance import Interval

if TYPE_CHECKING:
    from hep2gan.reports.study import Study

_NOTE = (
    "Percentages. Average precision is TP / (TP + FP + FN) over all cells of all fields; a pair is "
    "a true and a found cell of at least that IoU. Dice is the mean over pairs of IoU 0.5: of the "
    "found outline, and of the mask that the generator makes of the found cell. 95 % intervals are "
    "over specimens, or over fields where specimens are unknown; ± is the standard deviation over "
    "seeds. Fields with cells that were in training are left out."
)
_CLASS_NOTE = (
    "Found: the cells that were found, cut out as they were found. True outlines: the same cells, "
    "cut out by their true outlines; the difference is what finding costs. A specimen's answer is "
    "of all cells found in its fields."
)
_BY_CLASS = (
    "Share of the true cells that were found at IoU 0.5; of these, the accuracy as they were found "
    "and by their true outlines. Means over seeds."
)
_FILES: tuple[Output, ...] = ("md", "tex", "csv", "html")


@report_table("fields", order=9)
def fields_table(study: "Study") -> Table | None:
    """Build the table with a row for each method and each set of fields that it was tested on.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without tests on fields.
    """
    rows = [_row(one) for one in study.external if one.fields]
    if not rows:
        return None
    parts = (
        Part("Cells found in whole fields", label="fields"),
        Part("Classes of the cells that were found", label="fields_classes"),
    )
    return Table("Whole fields", rows, parts, notes=(_NOTE, _CLASS_NOTE), outputs=_FILES)


@report_table("fields_by_class", order=10)
def fields_by_class_table(study: "Study") -> Table | None:
    """Build the table with a row for each class of each set of fields.

    Args:
        study: The runs of the report.

    Returns:
        The table; None without tests on fields.
    """
    rows = [row for one in study.external if one.fields for row in _class_rows(one)]
    if not rows:
        return None
    return Table("Whole fields by class", rows, notes=(_BY_CLASS,), outputs=_FILES)


def _head(one: ExternalResult) -> list[Cell]:
    name: dict[str, Value] = {"set": one.name, "synthetic_set": one.facts.synthetic}
    return [method_cell(one.method), Cell("Set", one.name, name, code=True)]


def _row(one: ExternalResult) -> Row:
    first = one.fields[0]
    loose, strict = ([test.scores.detection[place] for test in one.fields] for place in (0, 1))
    cells = loose[0].matched + loose[0].missed
    counts: dict[str, Value] = {
        "seeds": len(one.fields),
        "finder": first.finder,
        "true_cells": cells,
        "matched": loose[0].matched,
        "missed": loose[0].missed,
        "extra": loose[0].extra,
        "fields_left_out": len(first.left_out),
    }
    found = [
        value_cell("Fields", "fields", first.scores.fields, "{:,}".format),
        Cell("Cells", f"{cells:,}", counts),
        *(
            _cell(
                f"AP at IoU {own[0].iou}",
                f"average_precision_{round(100 * own[0].iou)}",
                [one.average_precision for one in own],
                own[0].interval,
            )
            for own in (loose, strict)
        ),
        _cell(f"F1 at IoU {loose[0].iou}", "f1_50", [own.f1 for own in loose]),
        _cell("Dice, outline", "outline_dice", [test.scores.outline_dice for test in one.fields]),
        _cell("Dice, generated", "mask_dice", [test.scores.mask_dice for test in one.fields]),
    ]
    classes = _class_cells(one)
    parts = [found, classes] if classes else [found]
    return Row(_head(one), parts, label=f"{one.method.title} on {one.name}")


def _class_cells(one: ExternalResult) -> list[Cell]:
    """Print what becomes of the classes; nothing without a classifier."""
    found = [own for test in one.fields if (own := test.scores.classification) is not None]
    if not found:
        return []
    cells = [
        _cell(
            "Accuracy, found",
            "accuracy_found",
            [own.accuracy for own in found],
            found[0].accuracy_interval,
        ),
        _cell("True outlines", "accuracy_on_true", [own.accuracy_on_true for own in found]),
        _difference_cell(found),
        _cell("All true cells", "accuracy_of_all", [own.accuracy_of_all for own in found]),
        _cell("Found and right", "found_and_right", [own.found_and_right for own in found]),
    ]
    specimens = [answers for test in one.fields if (answers := test.scores.specimens) is not None]
    if specimens:
        majority = [answers.right_by_majority for answers in specimens]
        probability = [answers.right_by_probability for answers in specimens]
        cells += [
            value_cell("Specimens", "specimens", len(specimens[0].answers)),
            _cell("By vote", "specimens_by_majority", majority, specimens[0].majority_interval),
            _cell(
                "By mean probability",
                "specimens_by_probability",
                probability,
                specimens[0].probability_interval,
            ),
        ]
    return cells


def _difference_cell(found: Sequence[Classification]) -> Cell:
    values = [own.difference for own in found if own.difference is not None]
    average = mean(values) if values else None
    ends = found[0].difference_interval if len(found) == 1 else None
    interval = Interval(*ends) if ends else None
    text = ABSENT if average is None else format_points(average)
    if interval:
        text += f" ({format_points_interval(interval)})"
    return Cell(
        "Difference", text, {"difference": average, **interval_values("difference", interval)}
    )


def _cell(
    heading: str, name: str, values: Sequence[float | None], ends: Ends | None = None
) -> Cell:
    """Print the mean over seeds and its standard deviation, or the interval of a single run."""
    known = [value for value in values if value is not None]
    interval = Interval(*ends) if ends and len(values) == 1 else None
    average, sd = mean(known) if known else None, stdev(known) if len(known) > 1 else None
    text = mean_sd(average, sd) + (f" ({format_interval(interval)})" if interval else "")
    return Cell(heading, text, {name: average, f"{name}_sd": sd, **interval_values(name, interval)})


def _class_rows(one: ExternalResult) -> list[Row]:
    by_seed = [test.scores.classes for test in one.fields]
    rows = []
    for name, first in by_seed[0].items():
        own = [classes[name] for classes in by_seed if name in classes]
        cells = [
            value_cell("Cells", "cells", first.cells, "{:,}".format),
            _share("Found", "found", [(seed.matched, seed.cells) for seed in own]),
        ]
        if first.right is not None:
            cells += [
                _share("Accuracy, found", "accuracy_found", [(s.right, s.matched) for s in own]),
                _share(
                    "True outlines", "accuracy_on_true", [(s.right_on_true, s.matched) for s in own]
                ),
            ]
        head = [*_head(one), Cell("Class", name, {"class": name})]
        rows.append(Row(head, [cells], label=f"{one.method.title} on {one.name}"))
    return rows


def _share(heading: str, name: str, counts: Sequence[tuple[int | None, int]]) -> Cell:
    shares = [part / whole for part, whole in counts if part is not None and whole]
    return value_cell(heading, name, mean(shares) if shares else None, hundredths)
