"""Scores of found cells by hand."""

import csv
import io

import numpy as np
import pytest

from hep2gan.io import csv_text
from hep2gan.metrics.fields import (
    field_row,
    mask_dice,
    score_fields,
    worst_and_best,
)
from tests.helpers.scored_fields import CLASSES, FIRST, SECOND, THIRD, make_field


def test_scores_by_hand():
    scores = score_fields([FIRST, SECOND, THIRD], CLASSES)
    loose, strict = scores.detection
    assert (loose.matched, loose.extra, loose.missed) == (3, 1, 2)
    assert loose.average_precision == pytest.approx(3 / 6)
    assert loose.f1 == pytest.approx(6 / 9)
    assert (strict.iou, strict.matched, strict.extra, strict.missed) == (0.75, 1, 3, 4)
    # Over the two specimens: both have 0.5, and 0 and 0.5.
    assert loose.interval is None
    assert strict.interval == pytest.approx((0, 0.5))
    assert scores.outline_dice == pytest.approx(1.2 / 1.6)
    assert scores.mask_dice == pytest.approx(0.75)
    of = scores.classification
    assert (of.cells, of.matched, of.right, of.right_on_true, of.all_right_on_true) == (
        5,
        3,
        2,
        2,
        4,
    )
    assert of.accuracy == of.accuracy_on_true == pytest.approx(2 / 3)
    assert (of.accuracy_of_all, of.found_and_right, of.difference) == (4 / 5, 2 / 5, 0)
    assert list(scores.classes) == ["A", "B"]
    a, b = scores.classes.values()
    assert (a.cells, a.matched, a.right, a.right_on_true) == (3, 2, 2, 1)
    assert (b.cells, b.matched, b.right, b.right_on_true) == (2, 1, 0, 1)
    assert (scores.left_out["mitotic"].cells, scores.left_out["mitotic"].found) == (2, 1)


def test_answers_for_specimens_are_of_all_found_cells():
    """Of specimen one A, A, C, B: right; of two one B read as A: wrong."""
    found = score_fields([FIRST, SECOND, THIRD], CLASSES).specimens
    one, two = found.answers
    assert (one.specimen, one.label, one.cells, one.by_majority) == ("one", "A", 4, "A")
    assert (two.label, two.cells, two.by_majority, two.by_probability) == ("B", 1, "A", "A")
    assert found.right_by_majority == found.right_by_probability == 0.5
    assert found.majority_interval[0] < 0.5 < found.majority_interval[1]
    # Without any found cell there is no answer, which is not right.
    nothing = score_fields([THIRD], CLASSES).specimens
    assert nothing.answers[0].by_majority is None
    assert nothing.right_by_majority == 0
    # A specimen with cells of two classes has no class.
    mixed = make_field("3_p0", "two", {1: (2, 2)}, [(1, 1)], found={1: 2})
    assert score_fields([FIRST, SECOND, mixed], CLASSES).specimens.of_several_classes == 1
    unknown = make_field("4", "", {1: (0, 0)}, [(1, 1)], found={1: 0})
    assert score_fields([unknown], CLASSES).specimens is None


def test_without_a_classifier_or_any_match():
    alone = make_field("1", "", {1: (0, None)}, [], extra=[5])
    scores = score_fields([alone], CLASSES)
    assert scores.classification is scores.specimens is None
    assert scores.outline_dice is scores.mask_dice is None
    assert scores.classes["A"].right is None
    assert scores.detection[0].average_precision == 0
    # One field says nothing of others.
    assert scores.detection[0].interval is None
    unmatched = score_fields([THIRD], CLASSES).classification
    assert unmatched.accuracy is unmatched.difference is None
    assert unmatched.accuracy_of_all == 1


def test_a_line_a_field():
    rows = [field_row(FIRST), field_row(SECOND)]
    read = list(csv.DictReader(io.StringIO(csv_text(list(rows[0]), rows))))
    assert read[0] == {
        "field": "1_p0",
        "specimen": "one",
        "cells": "3",
        "found": "3",
        "matched": "2",
        "missed": "1",
        "extra": "1",
        "average_precision_50": "0.500000",
        "average_precision_75": "0.000000",
        "outline_dice": "0.750000",
        "cells_left_out": "2",
        "left_out_found": "1",
        "mask_dice": "0.625000",
        "right": "2",
        "right_on_true": "1",
    }
    assert worst_and_best([FIRST, SECOND, THIRD]) == (2, 1)
    assert worst_and_best([FIRST]) == (0, 0)


def test_dice_of_a_mask_in_its_field():
    """Four of six true pixels lie in the box, three of them in the mask of five."""
    truth = np.zeros((4, 6), np.int32)
    truth[1:3, 1:4] = 7
    generated = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1]], np.uint8)
    assert mask_dice(truth, 7, (1, 2, 4, 5), generated) == pytest.approx(2 * 3 / (6 + 5))
