"""Benchmarks: pairs, ratios and their table."""

import itertools

import pytest

from experiments.benchmarks import pairs, rows
from experiments.benchmarks.pairs import Ratio, paired
from experiments.benchmarks.rows import Row


def test_a_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians():
    ratio = Ratio.of([2.0, 30.0, 9.0], [1.0, 10.0, 6.0])
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.75, 2.5)
    assert (ratio.ours, ratio.theirs, ratio.pairs) == (9.0, 6.0, 3)
    assert ratio.inverse == Ratio(0.5, 0.4, 1 / 1.75, 6.0, 9.0, 3)


def test_who_goes_first_alternates_and_the_warm_pair_does_not_count(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: float(next(clock)))
    order: list[str] = []
    ratio = paired(lambda: order.append("a"), lambda: order.append("b"), pairs=3)
    assert "".join(order) == "baabbaab"
    assert ratio == Ratio(1.0, 1.0, 1.0, 1.0, 1.0, 3)


@pytest.mark.parametrize(
    ("side", "limit", "met"),
    [("at most", 1.02, True), ("at most", 0.8, False), ("at least", 2.0, False)],
)
def test_a_row_is_met_by_its_median(side, limit, met):
    row = Row("a step", "a loop", side, limit, Ratio(1.01, 0.9, 1.5, 2.02, 2.0, 5))
    assert row.met is met
    assert ("| yes |" in row.line) is met


def test_rows_are_read_as_they_were_written(tmp_path):
    row = Row("a step", "a loop", "at most", 1.02, Ratio(1.01, 0.9, 1.5, 2.02, 2.0, 5), "MiB")
    rows.save([row], tmp_path / "new" / "rows.json")
    assert rows.load(tmp_path / "new" / "rows.json") == [row]
    assert "| ≤ 1.02 | **1.01** (0.9–1.5) | 2.02 MiB | 2 MiB | 5 | yes |" in rows.table([row])
