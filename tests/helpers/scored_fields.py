"""Fields of a few cells whose scores can be computed by hand."""

from dataclasses import replace

import numpy as np

from hep2gan.metrics.fields import ScoredField, TrueCell, score_fields
from hep2gan.metrics.instances import Matches, Pair
from hep2gan.runs.fields import FieldsTest
from hep2gan.statistics.specimens import CellVotes

CLASSES = ("A", "B", "C")


def make_field(
    name, specimen, cells, pairs, *, extra=(), left_out=None, found=None, strict=None, **own
):
    """A field whose cells are {number: (class, class on the true crop)}, pairs (truth, found)."""
    classified = found is not None
    matched = tuple(Pair(a, b, 0.6) for a, b in pairs)
    missed = tuple(number for number in cells if number not in dict(pairs))
    votes = CellVotes.of_cells(np.eye(3)[list((found or {}).values())].reshape(-1, 3))
    return ScoredField(
        name=name,
        specimen=specimen,
        cells={number: TrueCell(*one) for number, one in cells.items()},
        left_out=left_out or {},
        matches=Matches(matched, missed, tuple(extra), own.get("pairs_left_out", ())),
        strict=strict or Matches((), tuple(cells), tuple(b for _, b in pairs) + tuple(extra)),
        predicted=found or {},
        votes=votes if classified else None,
        mask_dice=own.get("masks", {}),
    )


FIRST = make_field(
    "1_p0",
    "one",
    {1: (0, 0), 2: (0, 1), 3: (0, 0)},
    [(1, 11), (2, 12)],
    extra=[13],
    left_out={8: "mitotic", 9: "mitotic"},
    pairs_left_out=(Pair(8, 18, 0.9),),
    found={11: 0, 12: 0, 13: 2, 18: 1},
    masks={1: 0.5, 2: 0.75},
)
SECOND = make_field(
    "2_p0",
    "two",
    {1: (1, 1)},
    [(1, 5)],
    found={5: 0},
    strict=Matches((Pair(1, 5, 0.8),), (), ()),
    masks={1: 1.0},
)
THIRD = make_field("2_p1", "two", {4: (1, 1)}, [], found={})


def made_fields_test(fields=(FIRST, SECOND, THIRD), **changed):
    """The test of a run on these fields."""
    return FieldsTest(
        finder="ThresholdFinder", diameter=60.4, margin=10, true_margin=10,
        left_out={"9_p0": "2 of its 40 cells were in training"},
        scores=replace(score_fields(fields, CLASSES), **changed), rule="",
    )  # fmt: skip
