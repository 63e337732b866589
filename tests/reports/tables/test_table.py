"""One table, four writers: what a cell holds is in all of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hep2gan.reports.build import make_tables
from hep2gan.reports.external import ExternalResult
from hep2gan.reports.tables.catalogue import find_tables
from hep2gan.reports.tables.estimates import make_estimates
from hep2gan.reports.tables.table import Cell, Part, Row, Table, value_cell
from hep2gan.runs.external import ExternalTest
from tests.helpers.made_up_results import (
    CLASSES,
    cells,
    read_csv,
    read_markdown,
    result,
    study_of,
)
from tests.helpers.scored_fields import made_fields_test

RUN = Path("runs/s/a_b/seed0")


def table(**keywords):
    rows = [
        Row([Cell("Method", "a_b", {"method": "a_b"}, runs=[RUN], code=True)], [[_dice(0.5)]]),
        Row([Cell("Method", "Paper: x")], [[Cell("Dice", "40.00")]], kind="paper"),
        Row([Cell("Method", "c", {"method": "c"}, code=True)], [[_dice(None)]]),
    ]
    return Table("Masks", rows, **keywords)


def _dice(value):
    return value_cell("Dice", "dice", value, "{:.2f}".format)


def html(one):
    return one.to_html(lambda cell: cell.text)


def test_a_new_column_is_in_all_four():
    one = table()
    column = value_cell("Boundary F1", "boundary_f1", 0.25, "{:.3f}".format)
    rows = [row._replace(parts=[[*row.parts[0], column]]) for row in one.rows]
    wider = dataclasses.replace(one, rows=rows)
    assert read_markdown(wider.to_markdown())[:2] == [
        ["Method", "Dice", "Boundary F1"],
        ["a_b", "0.50", "0.250"],
    ]
    assert r"Method & Dice & Boundary F1 \\" in wider.to_latex()
    assert r"a\_b & 0.50 & 0.250 \\" in wider.to_latex()
    assert read_csv(wider.to_csv())[0]["boundary_f1"] == "0.25"
    assert '<td data-label="Boundary F1">0.250</td>' in html(wider)
    for text in (one.to_markdown(), one.to_latex(), one.to_csv(), html(one)):
        assert "oundary" not in text


def test_values_that_are_not_there_and_rows_of_the_paper():
    one = table()
    assert "| `c` | – |" in one.to_markdown()
    assert "| *Paper: x* | *40.00* |" in one.to_markdown()
    assert '<tr class="paper"><th scope="row">Paper: x</th>' in html(one)
    assert one.to_csv() == f"method,dice,run_paths\na_b,0.5,{RUN}\nc,,\n"


def test_parts_have_the_rows_that_have_cells_in_them():
    more = Row([Cell("Method", "d", {"method": "d"})], [(), [Cell("Seeds", "2", {"seeds": 2})]])
    parts = [Part("Overlap", label="overlap", ruled=True), Part("Against", "a_b")]
    one = dataclasses.replace(table(parts=parts), rows=[*table().rows, more])
    assert one.to_markdown().startswith("# Masks\n\n| Method | Dice |")
    assert "## Against `a_b`\n\n| Method | Seeds |\n| :-- | --: |\n| d | 2 |" in one.to_markdown()
    assert one.to_latex().count(r"\begin{table*}") == 2
    assert "\\caption{Overlap.}\n\\label{tab:overlap}" in one.to_latex()
    assert "\\caption{Against a\\_b.}" in one.to_latex()
    assert one.to_latex().count(r"\midrule") == 3
    assert html(one).count("<table") == 2
    assert one.to_csv().splitlines()[0] == "method,dice,seeds,run_paths"
    assert "Against" not in table(parts=parts).to_markdown()


def test_notes_findings_and_runs():
    one = table(notes=["Of 2 %."], findings=[("a_b", "as good as any.")])
    assert "\n- `a_b`: as good as any.\n" in one.to_markdown()
    assert one.to_markdown().endswith(f"Of 2 %.\n\nRuns:\n\n- `a_b`: `{RUN}`\n")
    assert f"% a_b: {RUN}\n" in one.to_latex()
    assert r"Of 2 \%." in one.to_latex()
    assert html(one).endswith('</table>\n<p class="small">Of 2 %.</p>\n')


def test_html_escapes_and_describes():
    rows = [Row([Cell("A", "<b>")], [[Cell('"B"', "<i>", note="n")]]), Row([Cell("A", "all")])]
    found = Table("T", [*rows, rows[0]._replace(kind="total")], [Part("<u>")]).to_html(
        lambda cell: cell.text + cell.note, "part-1"
    )
    assert '<p class="small" id="part-1-note-1">&lt;u&gt;.</p>' in found
    assert '<table class="" aria-describedby="part-1-note-1">' in found
    assert '<th scope="row">&lt;b&gt;</th><td data-label="&#34;B&#34;">&lt;i&gt;n</td>' in found
    assert '<tr><th scope="row" colspan="2">all</th></tr>' in found
    assert found.index("</tbody>\n<tfoot><tr>") > found.index("colspan")
    assert ' aria-labelledby="part-1"' in table().to_html(str, "part-1")


def study():
    """Runs that make every table: two kinds of split in two folds, known specimens, masks.

    Each kind is of a set of its own, and was tested on the other's as well, with whole fields.
    """
    rng = np.random.default_rng(0)
    intensity = np.repeat(["intermediate", "positive"], 10)
    results = [
        result(
            f"m,split={kind},split.fold={fold}",
            dataclasses.replace(
                cells(ids, rng.random(20) < 0.8, dice=rng.random(20)), intensity=intensity
            ),
            metrics={"test/dice": 0.9, "baseline/otsu_dice": 0.7},
            fingerprint=kind,
            kind=kind,
            folds=2,
            fold=fold,
        )
        for kind in ("random", "block")
        for fold, ids in enumerate((range(20), range(20, 40)))
    ]
    found = study_of(results)
    own = {m.title: make_estimates(list(m.tests.values())) for m in found.methods}
    facts = {
        kind: ExternalTest(
            store=kind, data=kind, fingerprint=kind, synthetic=False, checkpoint=None,
            cells=40, tested=40, classes=dict(zip(CLASSES, CLASSES, strict=True)), left_out={},
            absent=[], identical=[], rule="",
        )
        for kind in ("random", "block")
    }  # fmt: skip
    found.__dict__["external"] = [
        ExternalResult(
            m, kind, facts[kind], m.cells, own[m.title], make_estimates([m.cells]),
            metrics=({"baseline/ellipse_dice": 0.9},), fields=(made_fields_test(),),
        )
        for m, kind in zip(found.methods, ("block", "random"), strict=True)
    ]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def every():
    return make_tables(study(), find_tables())


@pytest.mark.parametrize("name", find_tables())
def test_every_table_comes_through_every_writer(every, name):
    one = every[name]
    headings = {
        cell.heading
        for row in one.rows
        for part in row.parts
        for cell in (*row.head, *part)
        if any(cell.heading for cell in part)
    } - {""}
    columns = dict.fromkeys(column for row in one.rows for column in row.values)
    assert [*columns, "run_paths"] == one.to_csv().splitlines()[0].split(",")
    assert len(read_csv(one.to_csv())) == sum(bool(row.values) for row in one.rows)
    assert headings == {name for row in read_markdown(one.to_markdown()) for name in row} & headings
    escaped = one.to_latex().replace(r"\%", "%")
    for heading in headings:
        assert heading in escaped
        assert f'<th scope="col">{heading}</th>' in html(one).replace("&#39;", "'")
