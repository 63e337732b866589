import pytest

from hep2gan.cli import report
from hep2gan.errors import Hep2ganError
from hep2gan.reports import build
from hep2gan.reports.build import make_tables, table_files
from hep2gan.reports.tables.catalogue import find_tables
from tests.helpers.commands import call
from tests.helpers.made_up_results import cells, read_csv, read_markdown, result, study_of
from tests.helpers.report_fixtures import another, make_predictions, write_run

MYLAB = """
from hep2gan.reports.tables.catalogue import report_table
from hep2gan.reports.tables.leakage import leakage_table
from hep2gan.reports.tables.table import Row, Table, method_cell, value_cell


@report_table("hardest", order=0)
def hardest_table(study):
    rows = []
    for method in study.methods:
        missed = int((method.cells.predicted != method.cells.label).sum())
        rows.append(Row([method_cell(method)], [[value_cell("Missed", "missed", missed)]]))
    return Table("Cells that were missed", rows, outputs=("md", "tex", "csv", "html"))
"""


def study(**split):
    """Two methods; the better one of two seeds."""
    right = [1] * 30 + [0] * 10
    found = [result("proposed", cells(range(40), right), seed=seed, **split) for seed in "01"]
    return [*found, result("without_gm", cells(range(40), right[::-1]), seed="1", **split)]


def texts(results):
    return table_files(make_tables(study_of(results), find_tables()))


def test_table_one_is_always_made_and_the_others_where_the_runs_allow():
    names = ["table_1.md", "table_1.tex", "table_1.csv"]
    last = ["classes.md", "classes.csv", "specimens.csv"]
    assert list(texts(study())) == [*names, *last]
    assert list(texts(study(folds=5, fold=0))) == [*names, "folds.md", "folds.csv", *last]
    several = [*study(), *study(kind="block")]
    assert list(texts(several)) == [*names, "leakage.md", "leakage.csv", *last]
    masks = cells(range(4), [1] * 4, dice=[0.9] * 4, classify=False)
    found = texts([result("m", masks, metrics={"test/dice": 0.9})])
    assert list(found) == [*names, "baselines.md", "baselines.csv"]
    unknown = [result("m", cells(range(4), [1] * 4, known=False))]
    assert list(texts(unknown)) == [*names, *last[:2]]
    assert {name.partition(".")[0] for name in texts(several)} < set(find_tables())


def test_numbers_and_runs_of_the_files():
    first, second = read_csv(texts(study())["table_1.csv"])
    assert (first["method"], second["method"]) == ("without_gm", "proposed")
    assert float(second["accuracy"]) == pytest.approx(0.75)
    assert second["run_paths"] == "runs/s/proposed/seed0;runs/s/proposed/seed1"


def test_the_same_runs_give_the_same_bytes():
    assert texts(study()) == texts(study())


def test_a_table_of_a_users_own_is_one_function_in_one_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(build, "study_figures", lambda *_: ())
    (tmp_path / "mylab_tables.py").write_text(MYLAB)
    known = make_predictions(counts=(4, 4), size=32)
    for seed, name in enumerate(("proposed", "without_gm")):
        write_run(tmp_path / "runs" / name / "seed0", another(known, seed), name)
    runs = ["runs/proposed/seed0", "runs/without_gm/seed0"]
    assert call(report, *runs, "tables=[mylab_tables]") == 0
    folder = tmp_path / "report"
    lines = read_csv((folder / "hardest.csv").read_text())
    missed = [int(line["missed"]) for line in lines]
    assert [line["method"] for line in lines] == ["without_gm", "proposed"]
    rows = read_markdown((folder / "hardest.md").read_text())
    assert [int(row[1]) for row in rows[1:]] == missed
    assert f"& {missed[0]} \\\\" in (folder / "hardest.tex").read_text()
    page = (folder / "report.html").read_text()
    assert page.index(">Cells that were missed</h2>") < page.index(">Class by class</h2>")
    for number in missed:
        assert f'<td data-label="Missed">{number}</td>' in page
    capsys.readouterr()
    for module, words in (("os", "tables=os has no table"), ("mylab_tabels", "cannot be imported")):
        assert call(report, *runs, f"tables=[{module}]", "output=other/report.html") == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_two_tables_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "twice_tables.py").write_text(MYLAB.replace('"hardest"', '"folds"'))
    with pytest.raises(Hep2ganError, match="two tables are named folds"):
        find_tables(["twice_tables"])
