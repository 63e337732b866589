"""The measures of ensembles by hand, and the table from answers that are known."""

from pathlib import Path

import numpy as np
import pytest

from experiments.ensembles import Answers, LabelledImages, compare, measure
from hep2gan.statistics.risk_coverage import risk_coverage

LABEL = np.array([0, 0, 1, 1, 0, 1])
SPECIMEN = np.array([0, 0, 1, 1, 2, 2])


def sure(chances):
    first = np.array(chances, np.float64)
    return np.stack([first, 1 - first], axis=1)


def test_area_under_risk_by_hand():
    right = np.array([True, False, True, False])
    # Of the first 1, 2, 3, 4 cells by trust: 0, 1/2, 1/3, 1/2 are wrong.
    assert risk_coverage(np.array([4.0, 3, 2, 1]), right).area == pytest.approx(
        (1 / 2 + 1 / 3 + 1 / 2) / 4
    )
    # The best order, and none: each share of cells has the error rate.
    assert risk_coverage(np.array([4.0, 1, 3, 2]), right).area == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert risk_coverage(np.ones(4), right).area == pytest.approx(1 / 2)


def test_measures_are_means_over_runs():
    runs = np.stack([sure([0.9, 0.8, 0.1, 0.2, 0.6, 0.4]), sure([0.9, 0.8, 0.9, 0.8, 0.6, 0.4])])
    given = Answers("two", runs, None)
    accuracy, error, area, by_spread = measure(given, LABEL, np.arange(6))
    assert accuracy == pytest.approx((1 + 4 / 6) / 2)
    # Sure by 0.9, 0.8, 0.6, two cells each: right 2, 2, 2; then 1, 1, 2 of 2.
    first = (0.1 + 0.2 + 0.4) / 3
    second = (0.4 + 0.3 + 0.4) / 3
    assert error == pytest.approx((first + second) / 2)
    # Two cells alike at the top, one of them wrong, and two more.
    assert area == pytest.approx((1 / 2 + 1 / 2 + 1.5 / 3 + 2 / 4 + 2 / 5 + 2 / 6) / 6 / 2)
    assert np.isnan(by_spread)


def test_the_table():
    images = LabelledImages([Path("x")] * 6, LABEL, SPECIMEN)
    wrong = sure([0.9, 0.2, 0.1, 0.2, 0.6, 0.4])[None]
    right = sure([0.9, 0.8, 0.1, 0.2, 0.6, 0.4])[None]
    answers = [Answers("one", wrong, None), Answers("both", right, np.arange(6.0)[None])]
    table = compare(answers, images, resamples=200).splitlines()
    assert len(table) == 4
    assert table[2].startswith("| one | 83.3 (50.0 to 100.0) |")
    assert table[2].endswith("|  |")
    assert table[3].startswith("| both | 100.0 (100.0 to 100.0)<br>+16.7 (+0.0 to +50.0) |")
