from dataclasses import replace

import numpy as np

from hep2gan.reports.results import recorded_interval
from hep2gan.statistics.significance import Interval, wilson
from hep2gan.training.evaluation import accuracy_interval
from tests.helpers.report_fixtures import make_predictions


def test_intervals_of_accuracy_are_over_the_largest_unit_that_is_known():
    made = make_predictions(counts=(12, 12), size=16)
    certain = np.eye(2, dtype=np.float32)[made.label]
    certain[[0, 4, 5, 13]] = certain[[0, 4, 5, 13], ::-1]
    made = replace(made, probabilities=certain)
    right = int((made.predicted == made.label).sum())
    cells = {
        f"test/accuracy_cells_{end}": value for end, value in wilson(right, 24)._asdict().items()
    }
    found = accuracy_interval(made)
    assert found | cells == found
    assert not any("specimens" in key for key in found)
    specimen = np.arange(24) // 3
    known = accuracy_interval(replace(made, specimen=specimen))
    assert known | cells == known
    low, high = (known[f"test/accuracy_specimens_{end}"] for end in ("low", "high"))
    assert low < 20 / 24 < high
    assert right == 20
    assert "test/mean_class_accuracy_specimens_low" in known
    assert known["test/specimens"] == 8
    assert recorded_interval(known) == (Interval(low, high), "specimen")
    blocks = accuracy_interval(replace(made, block=specimen))
    assert (blocks["test/accuracy_blocks_low"], blocks["test/accuracy_blocks_high"]) == (low, high)
    assert blocks["test/blocks"] == 8
    assert accuracy_interval(replace(made, probabilities=None)) == {}


def test_an_interval_over_cells_is_none_for_too_few_specimens():
    made = make_predictions(counts=(12, 12), size=16)
    few = accuracy_interval(replace(made, specimen=made.label))
    assert (few["test/specimens"], "test/accuracy_cells_low" in few) == (2, True)
    assert recorded_interval(few) is None
    unknown = accuracy_interval(made)
    assert recorded_interval(unknown | {"test/cells": 24.0})[1] == "cell"
