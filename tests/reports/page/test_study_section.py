import dataclasses

import numpy as np
import pytest

from hep2gan.reports.page.page import configuration_part, results_part
from hep2gan.reports.page.run_section import highlights, illustrate
from tests.helpers.made_up_results import cells, result, study_of


def test_figures_of_few_runs_are_all_embedded_and_of_many_one_a_method(grid):
    assert illustrate(grid[:4]) == {1, 2, 3, 4}
    assert illustrate(grid) == {1, 2, 3}
    every = [dataclasses.replace(grid[0], method=str(number)) for number in range(40)]
    assert illustrate(every) == set(range(1, 13))


def test_the_setting_of_most_runs_is_the_last_and_unnamed(grid):
    config = grid[2].config | {"model": grid[2].config["model"] | {"segment": False}}
    odd = dataclasses.replace(grid[2], config=config)
    odd = dataclasses.replace(odd, path=odd.path / "odd")
    rows = configuration_part([*grid[:2], odd, *grid[3:]]).table.rows
    texts = [[cell.text for cell in (*row.head, *row.parts[0])] for row in rows]
    assert texts == [["model.segment", "off", ""], ["model.segment", "on", "all others"]]
    assert rows[0].parts[0][1].runs == [odd.path]
    assert configuration_part(grid).table is None


def test_folds_are_told_by_the_names_of_the_runs(grid):
    folds = [
        dataclasses.replace(grid[0], config=grid[0].config | {"split": {"folds": 2, "fold": fold}})
        for fold in range(2)
    ]
    assert configuration_part(folds).table is None


@pytest.mark.parametrize("damaged", [None, [1], "x"])
def test_a_damaged_group_of_a_run_is_left_out(damaged):
    assert highlights({"model": damaged, "data": {"name": "mine"}}) == [("Cells", "mine")]
    assert highlights({"model": {"segment": False}, "generator": {"a": 1}}) == []


@pytest.mark.parametrize("wrong", [0, 3])
def test_a_mean_without_errors_has_no_interval(wrong):
    tested = cells(range(40), np.arange(40) >= wrong)
    rows = results_part(study_of([result("m", tested, seed=seed) for seed in "01"])).table.rows
    (mean,) = (row for row in rows if row.kind == "mean")
    note = mean.parts[0][0].note
    assert mean.parts[0][0].text == f"{2.5 * (40 - wrong):.2f} ± 0.00"
    assert ("–" in note and len(note) > 5) == (note != "") == bool(wrong)
