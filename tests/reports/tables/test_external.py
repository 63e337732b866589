"""External tests beside the runs' own, seeds pooled, and the matrix of training and test sets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hep2gan.reports.figures.cross_set import plot_cross_set
from hep2gan.reports.study import read_runs, read_study
from hep2gan.reports.tables.external import cross_set_table, external_table
from hep2gan.runs.external import ExternalTest
from hep2gan.runs.folder import RunFolder
from tests.helpers.made_up_results import read_csv
from tests.helpers.report_fixtures import make_predictions, write_run


def add_external(
    run: Path,
    name: str,
    fingerprint: str,
    right: list[bool],
    specimens: list[int] | None = None,
    ellipse: float = 0.9,
) -> None:
    """A test of cells of class 0, each right or taken for class 1."""
    known = make_predictions((len(right), 1), size=16)
    rows = np.arange(len(right))
    probabilities = np.eye(2, dtype=np.float32)[[0 if one else 1 for one in right]]
    fields = ("id", "label", "image", "truth", "crop_size", "mask", "features")
    found = replace_rows(known, fields, rows)
    found["specimen"] = np.asarray([-1] * len(right) if specimens is None else specimens)
    folder = run / "external" / name
    folder.mkdir(parents=True)
    replace(known, probabilities=probabilities, **found).save(folder / "predictions.npz")
    classes = {known.classes[0]: known.classes[0]}
    ExternalTest(
        store="stores/other", data="other", fingerprint=fingerprint, synthetic=False,
        checkpoint=None, cells=len(right), tested=len(right), classes=classes, left_out={},
        absent=[known.classes[1]], identical=[], rule="",
    ).save(folder)  # fmt: skip
    RunFolder(folder).save_metrics({"baseline/ellipse_dice": ellipse})


def replace_rows(known, fields, rows):
    return {name: getattr(known, name)[rows] for name in fields}


def a_run(folder, method="proposed", seed=0, fingerprint="a", cells=(3, 3)):
    run = write_run(folder / method / f"seed{seed}", make_predictions(cells, 16), method, seed)
    split = run / "split.json"
    text = split.read_text()
    split.write_text(
        text.replace('"settings": {', f'"settings": {{"fingerprint": "{fingerprint}", ')
    )
    return run


def test_seeds_are_pooled_and_own_cells_stand_beside(tmp_path):
    runs = [a_run(tmp_path, seed=seed) for seed in (0, 1)]
    add_external(runs[0], "lab2", "b", [True, True, True, False])
    add_external(runs[1], "lab2", "b", [True, True, False, False])
    study = read_study(read_runs(runs), figures=False)
    table = external_table(study)
    (row,) = read_csv(table.to_csv())
    assert float(row["accuracy_external"]) == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert float(row["accuracy_external_sd"]) == pytest.approx(np.std([0.75, 0.5], ddof=1))
    own = [float(np.mean(one.cells.predicted == one.cells.label)) for one in study.results]
    assert float(row["accuracy_own"]) == pytest.approx(np.mean(own))
    # Four cells, not eight: a seed does not make a cell another one.
    assert (row["cells"], row["seeds"], row["classes"], row["of_classes"]) == ("4", "2", "1", "2")
    assert row["specimens"] == ""
    assert row["synthetic_set"] == "false"
    assert "| `lab2` | 4 cells | 1 of 2 |" in table.to_markdown()
    assert cross_set_table(study) is None


def test_intervals_are_over_specimens_where_they_are_known(tmp_path):
    run = a_run(tmp_path)
    add_external(run, "lab2", "b", [True] * 6 + [False] * 6, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    (row,) = read_csv(external_table(read_study(read_runs([run]), figures=False)).to_csv())
    low, high = (
        float(row["accuracy_external_specimens_low"]),
        float(row["accuracy_external_cells_low"]),
    )
    assert low < high < 0.5
    text = external_table(read_study(read_runs([run]), figures=False)).to_markdown()
    assert f"50.00 ({100 * low:.2f}–" in text


def test_runs_without_external_tests_have_no_table(tmp_path):
    assert external_table(read_study(read_runs([a_run(tmp_path)]), figures=False)) is None


def test_one_name_on_two_sets_is_two_rows(tmp_path):
    runs = [a_run(tmp_path, seed=seed) for seed in (0, 1)]
    add_external(runs[0], "lab2", "b", [True])
    add_external(runs[1], "lab2", "c", [True])
    table = external_table(read_study(read_runs(runs), figures=False))
    assert [row["fingerprint"] for row in read_csv(table.to_csv())] == ["b", "c"]


def test_the_matrix_has_own_cells_on_its_diagonal(tmp_path):
    one, other = a_run(tmp_path, "m,data.lab=0"), a_run(tmp_path, "m,data.lab=1", 0, "b")
    add_external(one, "lab_1", "b", [True, False, False, False])
    add_external(one, "lab_2", "c", [True], ellipse=0.6)
    add_external(other, "lab_0", "a", [True, True, True, False], ellipse=0.7)
    study = read_study(read_runs([one, other]), figures=False)
    matrix = study.cross_set
    assert matrix.sets == ("lab_0", "lab_1", "lab_2")
    own = [float(np.mean(result.cells.predicted == result.cells.label)) for result in study.results]
    means = [[e and e.mean for e in row.of("accuracy")] for row in matrix.rows]
    assert means == [[pytest.approx(own[0]), 0.25, 1.0], [0.75, pytest.approx(own[1]), None]]
    assert [row.own for row in matrix.rows] == [0, 1]
    first, second, ellipse = read_csv(cross_set_table(study).to_csv())
    assert (first["trained_on"], second["trained_on"]) == ("lab_0", "lab_1")
    assert first["lab_1_accuracy"] == "0.25"
    assert second["lab_2_accuracy"] == ""
    text = cross_set_table(study).to_markdown()
    assert "| On lab_0 | On lab_1 | On lab_2 |" in text
    assert text.count("own: ") == 4  # accuracy and Dice
    dice = [result.cells.dice.mean() for result in study.results]
    assert float(first["lab_0_dice"]) == pytest.approx(dice[0])
    assert float(second["lab_1_dice"]) == pytest.approx(dice[1])
    found = study.external[0].estimates["dice"].mean
    assert float(first["lab_1_dice"]) == pytest.approx(found)
    # Own cells and those of others alike: the mean over all tests on a set.
    floor = study.results[0].run.metrics["baseline/ellipse_dice"]
    assert float(ellipse["lab_0_dice"]) == pytest.approx((floor + 0.7) / 2)
    assert float(ellipse["lab_2_dice"]) == pytest.approx(0.6)
    assert (ellipse["trained_on"], ellipse["lab_0_accuracy"]) == ("", "")
    assert text.count("inscribed ellipse") == 1
    ax = plot_cross_set(matrix).axes[0]
    shown = [text.get_text().split("\n")[0] for text in ax.texts]
    assert shown == [f"{100 * own[0]:.1f}", "25.0", "100.0", "75.0", f"{100 * own[1]:.1f}", "–"]
    assert [patch.get_xy() for patch in ax.patches] == [(-0.47, -0.45), (0.53, 0.55)]


def test_a_set_that_nobody_else_was_tested_on_goes_by_its_own_name(tmp_path):
    one, other = a_run(tmp_path, "m,data.lab=0"), a_run(tmp_path, "m,data.lab=1", 0, "b")
    add_external(one, "lab_2", "c", [True])
    add_external(other, "lab_2", "c", [True])
    matrix = read_study(read_runs([one, other]), figures=False).cross_set
    assert matrix.sets == ("phantom a", "phantom b", "lab_2")


def test_links_in_the_folder_of_tests_are_refused(tmp_path):
    run = a_run(tmp_path)
    (run / "external").mkdir()
    (run / "external" / "lab2").symlink_to(tmp_path)
    with pytest.raises(Exception, match="is a link to"):
        RunFolder.open(run)
