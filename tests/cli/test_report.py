"""hep2gan-report: what is text on its command line, and what is refused."""

from pathlib import Path

import pytest

from hep2gan.cli import report
from hep2gan.cli.app import quote_text
from tests.helpers.commands import call
from tests.helpers.report_fixtures import another, make_predictions, write_run


def test_text_is_taken_word_for_word():
    assert quote_text("title=it's") == r"title='it\'s'"
    assert quote_text("output=a,b/c.html") == "output='a,b/c.html'"
    assert [quote_text(word) for word in ("title=null", "title=", "title='x'", "runs/a", "-m")] == [
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
    capsys.readouterr()
    found = list((tmp_path / "report").iterdir())
    assert call(report, "runs/seed0", "output=report.pdf") == 2
    assert "output report.pdf is no folder and no HTML file" in capsys.readouterr().err
    assert call(report, "runs/seed0") == 0
    said = f"report/report.html\nand {len(found) - 1} files of tables and figures beside it\n"
    assert capsys.readouterr().out == said
    assert {"report.html", "table_1.tex", "figure_3.pdf"} < {path.name for path in found}


@pytest.mark.integration
def test_methods_against_one_of_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = make_predictions(counts=(4, 4), size=32)
    for seed, name in enumerate(("proposed", "robust", "a,b=c")):
        write_run(tmp_path / "runs" / name / "seed0", another(known, seed), name)
    runs = ["runs/proposed/seed0", "runs/robust/seed0", "runs/a,b=c/seed0"]
    assert call(report, *runs, "reference=a,b=c") == 0
    table = (tmp_path / "report" / "table_1.md").read_text(encoding="utf-8")
    assert "## Each method against `a,b=c`" in table
    assert table.count(" | `a,b=c` | 8 | ") == 2
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("Against a,b=c: ") == 2
    assert call(report, *runs, "reference=vgg16", "output=other/report.html") == 2
    assert "reference=vgg16 names none of the methods" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_studys_folder_stands_for_what_is_finished_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = make_predictions(counts=(2, 2), size=32)
    for seed in range(4):
        write_run(Path(f"runs/s/proposed/seed{seed}"), cells, seed=seed)
    Path("runs/s/proposed/seed1/DONE").unlink()
    for file in Path("runs/s/proposed/seed3").iterdir():
        if file.is_file():
            file.unlink()
    Path("runs/s/proposed/seed3/output.log").touch()
    # A dashboard's folder in a run holds a config.yaml of its own.
    for name in ("seed0/wandb/files", "seed1/wandb/files"):
        Path(f"runs/s/proposed/{name}").mkdir(parents=True)
        Path(f"runs/s/proposed/{name}/config.yaml").touch()
    assert call(report, "runs/s", "files=false") == 0
    assert capsys.readouterr().out == (
        "report/report.html\nleft out, not finished\n"
        "  - runs/s/proposed/seed1\n  - runs/s/proposed/seed3\n"
    )
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "seed2" in page
    for seed in (0, 2):
        Path(f"runs/s/proposed/seed{seed}/DONE").unlink()
    assert call(report, "runs/s", "output=other") == 2
    assert "no run in runs/s is finished" in capsys.readouterr().err
    Path("empty").mkdir()
    assert call(report, "empty") == 2
    assert "empty is no run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("output=null", "output is null: it must be a non-empty string. Fix: set output="),
        ("runs=null", "runs is null"),
        ("titel=x", "Did you mean title"),
    ],
)
def test_what_is_refused(override, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = [] if override.startswith("runs") else ["runs/seed0"]
    assert call(report, *runs, override) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
