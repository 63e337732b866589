import numpy as np
import pytest

from hep2gan.reports.tables.baselines import baselines_table
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of


def run(name, count, value, *, start=0, **keywords):
    names = ("dice", "jaccard", "boundary_f1", "hd95")
    metrics = {f"test/{key}": value for key in names} | {"test/hd95": 10 * value}
    metrics |= {f"baseline/ellipse_{key}": 0.945 for key in names} | {"baseline/ellipse_hd95": 2.0}
    metrics |= {"baseline/otsu_dice": 0.777}
    dice = np.full(count, value) + np.linspace(-0.01, 0.01, count)
    tested = cells(np.arange(start, start + count), np.ones(count), dice=dice)
    return result(name, tested, metrics=metrics, **keywords)


def made():
    return study_of(
        [
            run("proposed,split.fold=0", 10, 0.96, folds=2, fold=0),
            run("proposed,split.fold=1", 30, 0.92, start=10, folds=2, fold=1),
            run("proposed", 20, 0.97, seed="1"),
            run("mine", 20, 0.94),
            result("resnet50", cells(range(5), [1] * 5), metrics={"test/accuracy": 0.5}),
        ]
    )


@pytest.fixture(scope="module")
def lines():
    found = read_csv(baselines_table(made()).to_csv())
    return {(line["method"], line["measure"]): line for line in found}


def test_means_over_seeds_with_folds_weighed_by_cells(lines):
    assert {name for name, _ in lines} == {"proposed", "mine"}
    line = lines["proposed", "dice"]
    assert float(line["mean"]) == pytest.approx((0.93 + 0.97) / 2)
    assert float(line["sd"]) == pytest.approx(np.std([0.93, 0.97], ddof=1))
    assert float(line["ellipse"]) == pytest.approx(0.945)
    assert (line["mean_mask"], float(line["otsu"])) == ("", pytest.approx(0.777))
    assert float(line["interval_low"]) < float(line["mean"]) < float(line["interval_high"])
    assert lines["proposed", "boundary_f1"]["interval_low"] == ""
    assert lines["mine", "dice"]["sd"] == ""


def test_what_a_baseline_does_as_well_is_marked(lines):
    assert lines["proposed", "dice"]["better_than_all"] == "true"
    assert lines["mine", "dice"]["better_than_all"] == "false"
    # 9.4 px are worse than 2 px.
    assert lines["mine", "hd95"]["better_than_all"] == "false"


def test_text_reads_back():
    table = baselines_table(made())
    lines = read_markdown(table.to_markdown())
    dice = next(line for line in lines if line[:2] == ["mine", "Dice"])
    assert dice[2] == "94.00"
    assert dice[4:] == ["94.50", "–", "77.70", "20 cells", "no better than a baseline"]
    hausdorff = next(line for line in lines if line[:2] == ["mine", "95 % Hausdorff, px"])
    assert hausdorff[2:6] == ["9.40", "–", "2.00", "–"]
    found = read_csv(table.to_csv())
    assert found[0]["method"] == "proposed"
    assert float(found[0]["mean"]) == (0.93 + 0.97) / 2
    assert (found[0]["mean_mask"], found[0]["otsu"]) == ("", "0.777")
    assert found[0]["run_paths"].count("runs/") == 3
    ends = [f"{100 * float(found[0][f'interval_{end}']):.2f}" for end in ("low", "high")]
    assert lines[1][3] == "–".join(ends)
