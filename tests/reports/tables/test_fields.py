"""Tests on whole fields in the tables and on the page."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.reports.build import write_report
from hep2gan.reports.figures.catalogue import render_figure
from hep2gan.reports.figures.fields import FieldExample, plot_fields
from hep2gan.reports.study import read_runs, read_study
from hep2gan.reports.tables.fields import fields_by_class_table, fields_table
from hep2gan.runs.fields import fields_test
from tests.helpers.made_up_results import read_csv
from tests.helpers.scored_fields import FIRST, SECOND, THIRD, made_fields_test
from tests.reports.tables.test_external import a_run, add_external


def add_fields(run, fields=(FIRST, SECOND, THIRD), **changed):
    """The fields of an external test, which are scored as the helper says."""
    add_external(run, "lab2", "b", [True, False])
    test = made_fields_test(fields, **changed)
    test.save(run / "external" / "lab2")
    return test


def study_of(*runs):
    return read_study(read_runs(runs), figures=False)


def test_the_file_is_read_as_it_was_written(tmp_path):
    run = a_run(tmp_path)
    assert fields_test(run, "lab2") is None
    written = add_fields(run)
    assert fields_test(run, "lab2") == written
    (run / "external/lab2/fields.json").write_text('{"finder": 5}')
    with pytest.raises(Hep2ganError, match=r"fields.json cannot be read.*as=lab2 and cells="):
        fields_test(run, "lab2")


def test_what_a_test_says_in_words(tmp_path):
    said = "\n".join(add_fields(a_run(tmp_path)).lines())
    assert "3 fields, cells found by ThresholdFinder for nuclei of 60 px" in said
    assert "left out: field 9_p0, 2 of its 40 cells were in training" in said
    assert (
        "at IoU 0.5: average precision 0.500, F1 0.667; 3 of 5 cells found, 1 found that are none"
        in said
    )
    assert "Dice of found cells: outline 0.750, generated mask 0.750" in said
    assert (
        "accuracy of found cells 0.667, of the same cells cut out by their true outlines 0.667:"
        " +0.0 points" in said
    )
    assert "accuracy of all true cells 0.800; found and right: 0.400 of them" in said
    assert "2 specimens: 1 right by the vote of their cells (95 % interval 0.095–0.905)" in said
    assert "not scored: 2 cells mitotic, 1 of them found" in said


def test_a_row_for_a_method_on_a_set(tmp_path):
    run = a_run(tmp_path)
    add_fields(run)
    table = fields_table(study_of(run))
    (row,) = read_csv(table.to_csv())
    assert (row["set"], row["fields"], row["true_cells"], row["extra"]) == ("lab2", "3", "5", "1")
    assert float(row["average_precision_50"]) == 0.5
    assert float(row["average_precision_75"]) == pytest.approx(1 / 8)
    assert float(row["accuracy_found"]) == pytest.approx(2 / 3)
    assert (row["difference"], row["specimens_by_majority"]) == ("0.0", "0.5")
    assert float(row["specimens_by_majority_low"]) == pytest.approx(0.0945, abs=1e-4)
    text = table.to_markdown()
    assert "| AP at IoU 0.5 |" in text
    assert "50.00 (9.45–90.55)" in text
    assert "\\label{tab:fields_classes}" in table.to_latex()
    a, b = read_csv(fields_by_class_table(study_of(run)).to_csv())
    assert (a["class"], a["cells"], b["class"], b["found"]) == ("A", "3", "B", "0.5")
    assert float(a["accuracy_on_true"]) == 0.5


def test_seeds_have_a_mean_and_a_deviation(tmp_path):
    runs = [a_run(tmp_path, seed=seed) for seed in (0, 1)]
    add_fields(runs[0])
    add_fields(runs[1], outline_dice=0.85)
    (row,) = read_csv(fields_table(study_of(*runs)).to_csv())
    assert float(row["outline_dice"]) == pytest.approx(0.8)
    assert float(row["outline_dice_sd"]) == pytest.approx(np.std([0.75, 0.85], ddof=1))
    # An interval of one seed is not that of the mean.
    assert row["specimens_by_majority_low"] == ""


def test_a_run_that_only_segments_has_no_classes(tmp_path):
    run = a_run(tmp_path)
    alone = [replace(one, votes=None, predicted={}) for one in (FIRST, SECOND)]
    add_fields(run, alone)
    table = fields_table(study_of(run))
    assert "Accuracy, found" not in table.to_markdown()
    assert "Accuracy, found" not in fields_by_class_table(study_of(run)).to_markdown()


def test_runs_without_fields_have_no_table(tmp_path):
    run = a_run(tmp_path)
    add_external(run, "lab2", "b", [True])
    assert fields_table(study_of(run)) is fields_by_class_table(study_of(run)) is None


def test_the_page_shows_the_tables_and_the_fields(tmp_path, unrendered):
    run = a_run(tmp_path)
    add_fields(run)
    page = write_report([run], tmp_path / "r")[0].read_text()
    assert ">Whole fields</h2>" in page
    assert ">Whole fields by class</h2>" in page
    assert "Worst and best field" not in page
    (run / "external/lab2/figures").mkdir()
    picture = run / "external/lab2/figures/fields.png"
    Image.new("RGB", (80, 60)).save(picture)
    assert "Worst and best field" in write_report([run], tmp_path / "r")[0].read_text()
    other = a_run(tmp_path, "intensity")
    both = write_report([run, other], tmp_path / "both")[0].read_text()
    assert "Fields of lab2" in both
    picture.write_bytes(picture.read_bytes()[:60])
    assert "Worst and best field" not in write_report([run], tmp_path / "r")[0].read_text()


def test_outlines_lie_on_the_pixels_edges():
    """A cell of 2 × 3 pixels, one in two pieces, and one that is not scored."""
    truth, found = np.zeros((2, 20, 30), np.int32)
    truth[4:6, 10:13] = 1
    truth[15:18, 2:5] = 2
    found[4:6, 10:13] = 7
    found[10:12, 20:22] = found[14:16, 20:22] = 8
    figure = plot_fields([FieldExample("one", np.zeros((20, 30), np.uint8), truth, found, {2})])
    true, left_out, own = figure.axes[0].collections
    (outline,) = true.get_segments()
    assert outline.min(axis=0).tolist() == [9.5, 3.5]
    assert outline.max(axis=0).tolist() == [12.5, 5.5]
    assert len(left_out.get_segments()) == 1
    assert len(own.get_segments()) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "true", "found", "true, not scored",
    ]  # fmt: skip
    assert render_figure(figure)[:4] == b"\x89PNG"
