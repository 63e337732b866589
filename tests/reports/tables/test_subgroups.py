import dataclasses

import numpy as np
import pytest

from hep2gan.reports.tables.estimates import make_estimates
from hep2gan.reports.tables.subgroups import subgroups_of, subgroups_table
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of

IDS = np.arange(40)


def divided(wrong, *, names=("intermediate", "positive"), kind="intensity", **given):
    """Eight specimens of five cells, by turns of class 0 and 1; four are intermediate."""
    one = cells(IDS, ~np.isin(IDS, wrong), **given)
    return dataclasses.replace(one, **{kind: np.asarray(names)[IDS // 20]})


def lines_of(*found):
    return read_csv(subgroups_table(study_of(found)).to_csv())


def test_scores_by_hand():
    """Of 20 intermediate cells 5 are wrong, 4 of them of class 0; of 20 positive ones 1."""
    one = divided([0, 1, 2, 3, 5, 21], dice=np.where(IDS < 20, 0.9, 0.95))
    dim, bright = lines_of(result("a", one))
    assert (dim["method"], dim["intensity"], dim["cells"], dim["specimens"]) == (
        "a", "intermediate", "20", "4",
    )  # fmt: skip
    assert (bright["intensity"], bright["cells"], bright["run_paths"]) == (
        "positive", "20", "runs/s/a/seed0",
    )  # fmt: skip
    assert float(dim["accuracy"]) == pytest.approx(15 / 20)
    assert float(dim["mean_class_accuracy"]) == pytest.approx((6 / 10 + 9 / 10) / 2)
    assert float(dim["f1"]) == pytest.approx((12 / 17 + 18 / 23) / 2)
    assert float(dim["dice"]) == pytest.approx(0.9)
    assert float(bright["accuracy"]) == pytest.approx(19 / 20)
    low, high = (float(dim[f"accuracy_specimens_{end}"]) for end in ("low", "high"))
    assert low < 15 / 20 < high
    text = read_markdown(subgroups_table(study_of([result("a", one)])).to_markdown())
    assert text[0] == [
        "Method", "Intensity", "Cells", "Specimens", "Accuracy", "95 % interval",
        "Mean class accuracy", "F1", "Dice",
    ]  # fmt: skip
    interval = f"{100 * low:.2f}–{100 * high:.2f}"
    assert text[1][:7] == ["a", "intermediate", "20", "4", "75.00", interval, "75.00"]


def test_without_specimens_the_interval_is_over_cells():
    one = divided([0, 1, 2, 3, 5, 21], known=False)
    table = subgroups_table(study_of([result("a", one)]))
    line, text = read_csv(table.to_csv())[0], read_markdown(table.to_markdown())[1]
    ends = [float(line[f"accuracy_cells_{end}"]) for end in ("low", "high")]
    assert (line["specimens"], line["accuracy_specimens_low"], line["dice"]) == ("", "", "")
    assert text[3:6] == ["–", "75.00", "–".join(f"{100 * end:.2f}" for end in ends)]
    assert text[8] == "–"


def test_seeds_are_averaged_and_a_cell_without_intensity_is_in_no_row():
    first, second = divided([0, 1]), divided([0, 1, 2, 3], names=("intermediate", ""))
    dim, bright = lines_of(result("a", first), result("a", second, seed="1"))
    assert (dim["cells"], bright["cells"]) == ("20", "20")
    assert float(dim["accuracy"]) == pytest.approx((18 / 20 + 16 / 20) / 2)
    assert float(dim["accuracy_sd"]) == pytest.approx(np.std([0.9, 0.8], ddof=1))
    assert (float(bright["accuracy"]), bright["accuracy_sd"]) == (1, "")
    own = make_estimates([first.rows(IDS[:20]), second.rows(IDS[:20])])["accuracy"]
    assert float(dim["accuracy_specimens_low"]) == pytest.approx(own.interval.low)


def test_patterns_stand_where_intensities_are_the_classes():
    one = divided([0], names=("Golgi", "NuMem"), kind="pattern")
    table = subgroups_of([one])
    assert table.title == "Results by pattern"
    assert [row.values["pattern"] for row in table.rows] == ["Golgi", "NuMem"]
    assert read_markdown(table.to_markdown())[0][:2] == ["Pattern", "Cells"]


def test_sets_without_intensities_have_no_such_table():
    assert subgroups_table(study_of([result("a", cells(IDS, IDS >= 0))])) is None
    assert subgroups_of([cells(IDS, IDS >= 0)]) is None


def test_masks_alone_have_a_dice():
    one = divided([], classify=False, dice=np.full(40, 0.5))
    (dim, _) = lines_of(result("a", one))
    assert (dim["accuracy"], dim["f1"], float(dim["dice"])) == ("", "", 0.5)


def test_all_four_ways_of_writing_it():
    table = subgroups_table(study_of([result("a", divided([0]))]))
    assert table.outputs == ("md", "tex", "csv", "html")
    assert r"\caption{Results by intensity.}" in table.to_latex()
    assert '<th scope="col">Intensity</th>' in table.to_html(lambda cell: cell.text)
