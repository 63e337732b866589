import dataclasses
import re

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports import study, study_figures
from hep2gan.reports.build import PAGE, page_file, write_report
from tests.helpers.report_fixtures import add_stand_ins, another, write_page, write_run
from tests.reports.test_study import folds

TABLES = ["table_1.md", "table_1.tex", "table_1.csv", "baselines.md", "baselines.csv"]
TABLES += ["classes.md", "classes.csv", "specimens.csv"]


@pytest.fixture(scope="module")
def runs(predictions, tmp_path_factory):
    """Two methods on the same cells of known specimens, the second of two seeds."""
    place = tmp_path_factory.mktemp("runs") / "default"
    known = dataclasses.replace(predictions, specimen=predictions.label * 3 + 1)
    other = another(known, 1)
    runs = [
        write_run(place / "proposed" / "seed0", other),
        write_run(place / "without_gm" / "seed0", known, "without_gm"),
        write_run(place / "without_gm" / "seed1", other, "without_gm", 1),
    ]
    return [add_stand_ins(run) for run in runs]


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    return write_report(runs, folder, title="Study <A>", question="Is it so?")


def test_the_page_comes_first_then_tables_then_figures_for_paper_and_screen(written):
    figures = ["figure_2", "figure_3", "figure_4", "figure_5", "calibration", "intervals"]
    figures += ["specimens_without_gm", "specimens_proposed"]
    assert [path.name for path in written[:9]] == ["report.html", *TABLES]
    names = [path.name for path in written[9:]]
    assert names == sorted(names, key=lambda name: (names.index(name) // 2, name[-3:]))
    assert set(figures) < {name.partition(".")[0] for name in names}
    assert all(path.stat().st_size for path in written)
    assert sorted(written) == sorted(written[0].parent.iterdir())


def test_the_page_is_in_the_order_of_a_report(written):
    page = written[0].read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page) == [
        "Leakage between training and test", "What was run", "Results",
        "Masks beside trivial baselines", "Class by class", "Methods side by side",
        "Accuracy and its interval", "Calibration", "Accuracy by specimen", "Where to look first",
        "Single runs",
    ]  # fmt: skip
    assert '<h1>Study &lt;A&gt;</h1>\n<p class="question">Is it so?</p>' in page
    assert "<title>Study &lt;A&gt; – hep2gan report</title>" in page
    assert page.count('<details class="run">') == 3
    parts = page.partition("Single runs</h2>")[0].partition("Methods side by side</h2>")[2]
    assert re.findall(r'<h3 class="picture">([^<]*)</h3>', parts) == [
        "Contours", "Confusion matrices", "ROC curves", "Features, by t-SNE",
        "Accuracy by specimen: without_gm", "Accuracy by specimen: proposed",
        "Lowest Dice: without_gm", "Most confident errors: without_gm",
    ]  # fmt: skip


def test_what_stands_in_the_page_are_the_files(written):
    import base64

    page = written[0].read_text(encoding="utf-8")
    picture = written[0].parent / "figure_3.png"
    assert base64.b64encode(picture.read_bytes()).decode() in page


def test_only_what_is_named(runs, tmp_path, unrendered):
    found = write_report(runs[1:], tmp_path, only=["table_1", "figure_3"])
    assert [path.name for path in found] == [*TABLES[:3], "figure_3.pdf", "figure_3.png"]
    found = write_report(runs[1:], tmp_path, only=["specimens"])
    assert [path.name for path in found] == ["specimens.csv", "specimens.pdf", "specimens.png"]
    (page,) = write_report(runs[:1], tmp_path, only=[PAGE], page="mine.html")
    assert page == tmp_path / "mine.html"


def test_one_run_has_files_of_its_own(runs, tmp_path, unrendered):
    names = [path.name for path in write_report(runs[:1], tmp_path)]
    assert {"report.html", "table_1.md", "figure_2.pdf", "worst_segmented.png"} < set(names)
    assert "intervals.pdf" not in names
    assert "Methods side by side" not in (tmp_path / "report.html").read_text("utf-8")


def test_a_report_takes_the_place_of_the_one_before(runs, tmp_path, caplog, unrendered):
    caplog.set_level("INFO")
    several = {path.name for path in write_report(runs, tmp_path)}
    assert caplog.messages == []
    # Of the same name as a figure before, and of one that no report has.
    (tmp_path / "intervals.png").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    single = {path.name for path in write_report(runs[:1], tmp_path)}
    left = {path.name for path in tmp_path.iterdir()}
    assert left == single | {"intervals.png", "notes.txt"}
    gone = several - left
    assert {"intervals.pdf", "specimens_proposed.pdf"} < gone
    assert caplog.messages == [f"removed {len(gone)} files of the page that was there"]
    write_report(runs, tmp_path, only=["figure_3"])
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize(
    "listed", ['{"../mine.csv": "DIGEST"}', '{"sub/x": "DIGEST"}', '["mine.csv"]', "{", "1"]
)
def test_a_page_of_others_removes_nothing(listed, runs, tmp_path):
    import hashlib

    folder = tmp_path / "report"
    (folder / "sub").mkdir(parents=True)
    for name in ("mine.csv", "report/mine.csv", "report/sub/x"):
        (tmp_path / name).write_text("mine")
    listed = listed.replace("DIGEST", hashlib.sha256(b"mine").hexdigest())
    (folder / "report.html").write_text(f"<!-- written beside this page: {listed} -->\n")
    write_page(runs[:1], folder / "report.html")
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {"mine.csv", "report/mine.csv", "report/sub/x"} < names


def test_folds_have_one_row_and_one_panel(predictions, tmp_path, unrendered):
    found = [add_stand_ins(run) for run in folds(tmp_path, predictions, write_run)]
    page = write_page(found, tmp_path / "folds.html").read_text("utf-8")
    to_folds = [f'<a href="#run-{n + 1}" title="m,split.fold={n}/seed0">{n}</a>' for n in (0, 1)]
    links = f'<span class="runs">seed 0, folds {", ".join(to_folds)}</span>'
    assert f'<th scope="row">m, 2 folds of seed 0 {links}</th>' in page
    assert ">Cross-validation</h2>" in page
    assert "Shown is the first seed of each method, its folds pooled." in page
    assert "Features, by t-SNE</h3>" not in page


def test_methods_of_other_classes_are_not_shown_together(runs, predictions, tmp_path, unrendered):
    named = dataclasses.replace(predictions, classes=tuple("abcdef"))
    other = add_stand_ins(write_run(tmp_path / "default" / "other" / "seed0", named, "other"))
    page = write_page([runs[0], other], tmp_path / "report.html").read_text("utf-8")
    assert "The methods have different classes and are not shown in one figure." in page
    assert "Confusion matrices" not in page
    assert "Accuracy and its interval" in page


def test_what_many_methods_lack_is_said_and_the_rest_is_plotted(
    runs, tmp_path, monkeypatch, caplog, unrendered
):
    monkeypatch.setattr(study, "MOST_METHODS", 1)
    words = "2 methods are too many to be shown side by side: figures have room for 1."
    found = {path.name for path in write_report(runs, tmp_path)}
    assert [one.startswith(words) for one in caplog.messages] == [True]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert re.search(rf">Methods side by side</h2>\s*<p>{words} Name the runs of fewer", page)
    assert "Confusion matrices" not in page
    drawn = {"specimens_proposed.pdf", "worst_segmented_without_gm.pdf", "intervals.pdf"}
    assert drawn < found
    assert "figure_3.pdf" not in found
    caplog.clear()
    write_report(runs, tmp_path, only=["table_1", "intervals"])
    assert caplog.messages == []
    with pytest.raises(Hep2ganError, match=r"make no figure_3: 2 methods are too many"):
        write_report(runs, tmp_path, only=["figure_3"])


def test_specimens_of_many_methods_are_the_bests_and_the_references(
    runs, tmp_path, monkeypatch, unrendered
):
    monkeypatch.setattr(study_figures, "_FEW", 1)
    names = ["specimens.csv", "specimens_without_gm.pdf", "specimens_without_gm.png"]
    found = write_report(runs, tmp_path, only=["specimens"])
    assert [path.name for path in found] == names
    found = write_report(runs, tmp_path, only=["specimens"], reference="proposed")
    assert [path.name for path in found[::2]] == [names[0], names[2], "specimens_proposed.png"]


def test_names_that_are_none_and_figures_that_runs_do_not_make(runs, predictions, tmp_path):
    with pytest.raises(Hep2ganError, match=r"no table or figure 'figure_6'.*figure_5"):
        write_report(runs, tmp_path, only=["figure_6"])
    bare = dataclasses.replace(predictions, mask=None)
    run = write_run(tmp_path / "default" / "bare" / "seed0", bare, "bare")
    with pytest.raises(Hep2ganError, match="these runs make no figure_2"):
        write_report([run], tmp_path / "new", only=["figure_2"])
    assert not (tmp_path / "new").exists()
    with pytest.raises(Hep2ganError, match=r"choose from report, table_1, .*, figure_2"):
        write_report([run], tmp_path / "new", only=["figure_9"])


def test_damaged_runs_leave_nothing(runs, predictions, tmp_path):
    damaged = write_run(tmp_path / "default" / "m" / "seed0", predictions, "m")
    (damaged / "predictions.npz").write_bytes(b"")
    with pytest.raises(Hep2ganError, match=r"seed0/predictions.npz cannot be read"):
        write_report([runs[0], damaged], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_gets_report_html(tmp_path):
    assert page_file(tmp_path) == tmp_path / "report.html"
    assert page_file(tmp_path / "a.html") == tmp_path / "a.html"


@pytest.mark.parametrize("name", ["report.pdf", "folder"])
def test_an_output_that_is_no_html_file(tmp_path, name):
    with pytest.raises(Hep2ganError, match=r"no HTML file.*Fix: output=.*report\.html"):
        page_file(tmp_path / name)


def test_an_output_below_a_file_cannot_be_written(runs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Hep2ganError, match=r"cannot be written \(.*\)\. Fix: choose another"):
        write_page(runs[:1], tmp_path / "file" / "report.html")
