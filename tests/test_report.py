"""hep2gan-report: what is text on its command line, and what is refused."""

import pytest

from hep2gan import report
from hep2gan.report import verbatim
from tests.commands import call
from tests.reports.conftest import make_predictions, write_run


def test_text_is_taken_word_for_word():
    assert verbatim("title=it's") == r"title='it\'s'"
    assert verbatim("output=a,b/c.html") == "output='a,b/c.html'"
    assert [verbatim(word) for word in ("title=null", "title=", "title='x'", "runs/a", "-m")] == [
        "title=null", "title=", "title='x'", "runs/a", "-m",
    ]  # fmt: skip


def test_title_question_and_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "seed0", make_predictions(counts=(2, 2), size=32))
    words = (
        "title=2019",
        "question=Masks, or (true) masks?",
        "output=a,b/report.html",
        "files=false",
    )
    assert call(report, "runs/seed0", *words, "files=false") == 0
    assert capsys.readouterr().out == "a,b/report.html\n"
    page = (tmp_path / "a,b" / "report.html").read_text(encoding="utf-8")
    assert '<h1>2019</h1>\n<p class="question">Masks, or (true) masks?</p>' in page


def test_tables_and_figures_lie_beside_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "seed0", make_predictions(counts=(2, 2), size=32))
    assert call(report, "runs/seed0") == 0
    found = list((tmp_path / "report").iterdir())
    said = f"report/report.html\nand {len(found) - 1} files of tables and figures beside it\n"
    assert capsys.readouterr().out == said
    assert {"report.html", "table_1.tex", "figure_3.pdf"} < {path.name for path in found}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("output=null", "output is None: it must be text. Fix: output=report.html."),
        ("output=report.pdf", "output report.pdf is no folder and no HTML file"),
        ("runs=null", "runs is None"),
        ("titel=x", "Did you mean title"),
    ],
)
def test_what_is_refused(override, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = [] if override.startswith("runs") else ["runs/seed0"]
    assert call(report, *runs, override) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
