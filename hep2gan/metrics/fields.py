"""Scores of the cells that were found in whole fields: found at all, outlined, classified."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.metrics.instances import (
    Labels,
    Matches,
    average_precision,
    count_matches,
    f1_score,
)
from hep2gan.runs.fields import (
    CellsLeftOut,
    Classification,
    ClassOfFields,
    Detection,
    Ends,
    FieldScores,
    SpecimenAnswers,
    Specimens,
)
from hep2gan.statistics.bootstrap import Bootstrapped, bootstrap
from hep2gan.statistics.classification import Floats, divide
from hep2gan.statistics.significance import wilson
from hep2gan.statistics.specimens import CellVotes

MATCHED, STRICT = 0.5, 0.75
"""IoU at which cells are matched for their class, and of the stricter average precision."""
_UNITS_WITH_AN_INTERVAL = 2


class TrueCell(NamedTuple):
    """A true cell that is scored.

    Attributes:
        label: Its class.
        predicted: The class that is predicted of it, cut out by its true outline; None without a
            classifier.
    """

    label: int
    predicted: int | None


@dataclass(frozen=True, kw_only=True)
class ScoredField:
    """What was found in one field.

    Attributes:
        name: Name of the field.
        specimen: Its specimen; '' if unknown.
        cells: True cells that are scored, by their number in the label image.
        left_out: Why the other true cells are not, by their number.
        matches: Matches at `MATCHED`.
        strict: Matches at `STRICT`.
        predicted: Class of each found cell by its number; empty without a classifier.
        votes: Sums over all found cells; None without a classifier.
        mask_dice: Dice of the generated and the true mask of found cells, by the true number.
    """

    name: str
    specimen: str
    cells: Mapping[int, TrueCell]
    left_out: Mapping[int, str]
    matches: Matches
    strict: Matches
    predicted: Mapping[int, int]
    votes: CellVotes | None
    mask_dice: Mapping[int, float]

    @property
    def counts(self) -> "FieldCounts":
        """Counts of its cells."""
        pairs = self.matches.pairs
        return FieldCounts(
            *count_matches(self.matches),
            *count_matches(self.strict),
            len(self.cells),
            sum(self.predicted.get(one.found) == self.cells[one.truth].label for one in pairs),
            sum(_is_right(self.cells[one.truth]) for one in pairs),
            sum(map(_is_right, self.cells.values())),
        )


class FieldCounts(NamedTuple):
    """Counts that scores are ratios of; those of several fields are added.

    Attributes:
        matched: Pairs at `MATCHED`.
        extra: Found cells that are none.
        missed: True cells that are not found.
        strict_matched: Pairs at `STRICT`.
        strict_extra: Found cells that are none.
        strict_missed: True cells that are not found.
        cells: True cells.
        right: Pairs at `MATCHED` of which the class is right as found.
        right_on_true: Pairs at `MATCHED` of which the class is right by the true outline.
        all_right_on_true: True cells whose class is right by the true outline.
    """

    matched: int
    extra: int
    missed: int
    strict_matched: int
    strict_extra: int
    strict_missed: int
    cells: int
    right: int
    right_on_true: int
    all_right_on_true: int


def score_fields(fields: Sequence[ScoredField], classes: Sequence[str]) -> FieldScores:
    """Score what was found in all fields of a set.

    Args:
        fields: The fields, at least one.
        classes: K class names of the run.

    Returns:
        The scores; intervals are over specimens, or over fields where any is unknown.
    """
    pairs = [(field, pair) for field in fields for pair in field.matches.pairs]
    classified = any(field.votes is not None for field in fields)
    intervals = _Intervals.of(fields)
    strict = [field.strict for field in fields]
    return FieldScores(
        fields=len(fields),
        detection=(
            _detection(MATCHED, [field.matches for field in fields], intervals.precision),
            _detection(STRICT, strict, intervals.strict_precision),
        ),
        outline_dice=_mean(pair.dice for _, pair in pairs),
        mask_dice=_mean(value for field in fields for value in field.mask_dice.values()),
        classification=_classification(fields, intervals) if classified else None,
        classes=_by_class(fields, classes, classified=classified),
        specimens=_specimens(fields, classes) if classified else None,
        left_out=_left_out(fields),
    )


def field_row(field: ScoredField) -> dict[str, object]:
    """Return the line of one field in a table of all.

    Args:
        field: The field.

    Returns:
        Value by column; those of a classifier are left out without one.
    """
    counts, outline = field.counts, _mean(pair.dice for pair in field.matches.pairs)
    row: dict[str, object] = {
        "field": field.name,
        "specimen": field.specimen,
        "cells": counts.cells,
        "found": counts.matched + counts.extra,
        "matched": counts.matched,
        "missed": counts.missed,
        "extra": counts.extra,
        "average_precision_50": f"{average_precision(field.matches):.6f}",
        "average_precision_75": f"{average_precision(field.strict):.6f}",
        "outline_dice": "" if outline is None else f"{outline:.6f}",
        "cells_left_out": len(field.left_out),
        "left_out_found": len(field.matches.left_out),
    }
    if (mask := _mean(field.mask_dice.values())) is not None:
        row["mask_dice"] = f"{mask:.6f}"
    if field.votes is not None:
        row |= {"right": counts.right, "right_on_true": counts.right_on_true}
    return row


def worst_and_best(fields: Sequence[ScoredField]) -> tuple[int, int]:
    """Find the fields of the lowest and the highest average precision.

    Args:
        fields: The fields, at least one.

    Returns:
        Their places; of equals the one with more cells, then the first.
    """
    ranks = [(average_precision(field.matches), len(field.cells)) for field in fields]
    places = range(len(fields))
    worst = min(places, key=lambda place: (ranks[place][0], -ranks[place][1]))
    return worst, max(places, key=lambda place: ranks[place])


def mask_dice(
    truth: Labels, number: int, box: tuple[int, int, int, int], generated: npt.NDArray[np.uint8]
) -> float:
    """Compute the Dice of a generated mask and a true cell of a field.

    Args:
        truth: (h, w) true label image.
        number: Number of the true cell, which has pixels.
        box: Where the generated mask lies in the field: top, left, bottom, right in px.
        generated: {0, 1} of the size of the box.

    Returns:
        2|A∩B| / (|A| + |B|); true pixels outside the box are in A alone.
    """
    part = truth[box[0] : box[2], box[1] : box[3]] == number
    common = np.count_nonzero(part & (generated > 0))
    return 2 * common / (np.count_nonzero(truth == number) + np.count_nonzero(generated))


class _Intervals(NamedTuple):
    """What is resampled together, since all of it is of the same fields."""

    precision: Ends | None
    strict_precision: Ends | None
    accuracy: Ends | None
    difference: Ends | None

    @classmethod
    def of(cls, fields: Sequence[ScoredField]) -> "_Intervals":
        names = [field.specimen for field in fields]
        units = names if all(names) else [field.name for field in fields]
        counts = np.array([field.counts for field in fields], np.float64)
        summed = [counts[[one == unit for one in units]].sum(axis=0) for unit in sorted(set(units))]
        if len(summed) < _UNITS_WITH_AN_INTERVAL:
            return cls(None, None, None, None)
        return cls(*map(_ends, bootstrap(np.array(summed), _ratios)))


def _ratios(sums: Floats) -> Floats:
    """The (R, 4) statistics of `_Intervals` of (R, F) sums of `FieldCounts`."""
    n = dict(zip(FieldCounts._fields, np.moveaxis(sums, -1, 0), strict=True))
    strict = n["strict_matched"] + n["strict_extra"] + n["strict_missed"]
    return np.stack(
        [
            divide(n["matched"], n["matched"] + n["extra"] + n["missed"]),
            divide(n["strict_matched"], strict),
            divide(n["right"], n["matched"]),
            divide(n["right"] - n["right_on_true"], n["matched"]),
        ],
        axis=-1,
    )


def _ends(found: Bootstrapped) -> Ends | None:
    return None if found.interval is None else (found.interval.low, found.interval.high)


def _is_right(cell: TrueCell) -> bool:
    return cell.predicted == cell.label


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def _detection(iou: float, matches: Sequence[Matches], interval: Ends | None) -> Detection:
    matched, extra, missed = count_matches(*matches)
    return Detection(
        iou=iou,
        matched=matched,
        extra=extra,
        missed=missed,
        average_precision=average_precision(*matches),
        interval=interval,
        f1=f1_score(*matches),
    )


def _classification(fields: Sequence[ScoredField], intervals: _Intervals) -> Classification:
    total = FieldCounts(*(sum(column) for column in zip(*(f.counts for f in fields), strict=True)))
    accuracy, on_true = (
        part / total.matched if total.matched else None
        for part in (total.right, total.right_on_true)
    )
    return Classification(
        cells=total.cells,
        matched=total.matched,
        right=total.right,
        right_on_true=total.right_on_true,
        all_right_on_true=total.all_right_on_true,
        accuracy=accuracy,
        accuracy_on_true=on_true,
        accuracy_of_all=total.all_right_on_true / total.cells,
        found_and_right=total.right / total.cells,
        difference=None if accuracy is None or on_true is None else accuracy - on_true,
        accuracy_interval=intervals.accuracy,
        difference_interval=intervals.difference,
    )


def _by_class(
    fields: Sequence[ScoredField], classes: Sequence[str], *, classified: bool
) -> dict[str, ClassOfFields]:
    found = {}
    for label, name in enumerate(classes):
        cells = sum(cell.label == label for field in fields for cell in field.cells.values())
        pairs = [
            (field, pair)
            for field in fields
            for pair in field.matches.pairs
            if field.cells[pair.truth].label == label
        ]
        right = sum(field.predicted.get(pair.found) == label for field, pair in pairs)
        on_true = sum(_is_right(field.cells[pair.truth]) for field, pair in pairs)
        if cells:
            found[name] = ClassOfFields(
                cells=cells,
                matched=len(pairs),
                right=right if classified else None,
                right_on_true=on_true if classified else None,
            )
    return found


def _specimens(fields: Sequence[ScoredField], classes: Sequence[str]) -> Specimens | None:
    answers, mixed = [], 0
    for name in sorted({field.specimen for field in fields} - {""}):
        own = [field for field in fields if field.specimen == name]
        labels = {cell.label for field in own for cell in field.cells.values()}
        if len(labels) != 1:
            mixed += 1
            continue
        votes = [field.votes for field in own if field.votes is not None]
        answer = _sum(votes).answer()
        by_majority, by_probability = (
            None if label is None else classes[label]
            for label in (answer.by_majority, answer.by_probability)
        )
        answers.append(
            SpecimenAnswers(
                specimen=name,
                label=classes[labels.pop()],
                cells=answer.cells,
                by_majority=by_majority,
                by_probability=by_probability,
            )
        )
    if not answers:
        return None
    majority = sum(one.by_majority == one.label for one in answers)
    probability = sum(one.by_probability == one.label for one in answers)
    ends = [wilson(right, len(answers)) for right in (majority, probability)]
    return Specimens(
        answers=tuple(answers),
        right_by_majority=majority / len(answers),
        right_by_probability=probability / len(answers),
        majority_interval=(ends[0].low, ends[0].high),
        probability_interval=(ends[1].low, ends[1].high),
        of_several_classes=mixed,
    )


def _sum(votes: Sequence[CellVotes]) -> CellVotes:
    first, *others = votes
    for other in others:
        first = first.plus(other)
    return first


def _left_out(fields: Sequence[ScoredField]) -> dict[str, CellsLeftOut]:
    reasons = dict.fromkeys(reason for field in fields for reason in field.left_out.values())
    return {
        reason: CellsLeftOut(
            cells=sum(own == reason for field in fields for own in field.left_out.values()),
            found=sum(
                field.left_out[pair.truth] == reason
                for field in fields
                for pair in field.matches.left_out
            ),
        )
        for reason in reasons
    }
