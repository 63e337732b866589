import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from hep2gan.reports.results import group_methods
from hep2gan.reports.tables.folds import folds_csv, folds_markdown, folds_rows
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result


def made(**keywords):
    """Two of three folds: 8 of 10 and 15 of 20 right; of 6 specimens the last is mostly wrong."""
    first = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 0])
    second = np.array([1] * 15 + [0] * 4 + [0])
    settings = {"folds": 3, "kind": "specimen", **keywords}
    return [
        result("m,split.fold=2", cells(range(10, 30), second), fold=2, **settings),
        result("m,split.fold=0", cells(range(10), first, dice=[0.9] * 10), fold=0, **settings),
        result("other", cells(range(10), first)),
    ]


def test_spread_pool_and_votes():
    (row,) = folds_rows(group_methods(made()))
    assert (row.seed, row.folds, row.of) == ("0", (0, 2), 3)
    assert row.by_fold["accuracy"] == [0.8, 0.75]
    assert "dice" not in row.pooled
    assert row.spread["accuracy"] == (pytest.approx(0.775), pytest.approx(0.05 / 2**0.5))
    assert row.pooled["accuracy"].mean == pytest.approx(23 / 30)
    assert (row.by_probability.right, row.by_probability.specimens) == (5, 6)
    expected = proportion_confint(5, 6, method="wilson")
    assert row.by_probability.interval == row.by_majority.interval == pytest.approx(expected)


def test_a_confident_minority_wins_by_probability_alone():
    tested = cells(range(5), [1, 1, 0, 0, 0])
    tested.probabilities[:2] = np.where(tested.probabilities[:2] > 0.5, 0.99, 0.01)
    tested.probabilities[2:] = np.where(tested.probabilities[2:] > 0.5, 0.55, 0.45)
    (row,) = folds_rows(group_methods([result("m", tested, folds=2)]))
    assert (row.by_probability.right, row.by_majority.right) == (1, 0)


def test_reasons_for_no_votes():
    unknown = result("m", cells(range(5), [1] * 5, known=False), folds=2)
    assert folds_rows(group_methods([unknown]))[0].no_votes == "specimens of some cells are unknown"
    masks = result("m", cells(range(5), [1] * 5, classify=False, dice=[0.9] * 5), folds=2)
    (row,) = folds_rows(group_methods([masks]))
    assert row.no_votes == "no classifier"
    assert row.by_fold["dice"] == [pytest.approx(0.9)]
    assert "no classifier" in folds_markdown([row])


def test_text_reads_back():
    rows = folds_rows(group_methods(made(data="phantom")))
    text = folds_markdown(rows)
    lines = read_markdown(text)
    assert lines[1][:5] == ["m", "0", "specimen", "2 of 3", "77.50 ± 3.54"]
    low, high = proportion_confint(5, 6, method="wilson")
    vote = f"83.33 (5 of 6; {100 * low:.2f}–{100 * high:.2f})"
    assert lines[3][4:7] == ["30 synthetic cells", "6", "76.67"]
    assert lines[3][-2:] == [vote, vote]
    assert "Drawn cells are no micrographs" in text
    (found,) = read_csv(folds_csv(rows))
    assert float(found["accuracy_fold_mean"]) == pytest.approx(0.775)
    assert float(found["accuracy_pooled"]) == pytest.approx(23 / 30)
    assert float(found["accuracy_pooled_specimens_low"]) == rows[0].pooled["accuracy"].specimens.low
    assert (found["votes_majority_right"], found["specimens"], found["drawn"]) == ("5", "6", "true")
    assert found["run_paths"].count("seed0") == 2
