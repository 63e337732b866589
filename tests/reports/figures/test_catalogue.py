import dataclasses
import io
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import catalogue as figures
from hep2gan.reports.figures.catalogue import (
    COMPARISON_FIGURES,
    FigureSpec,
    render_figure,
    write_figures,
)
from hep2gan.reports.figures.confusion import plot_confusion

ALL = ["contours", "confusion", "tsne", "roc", "calibration", "trust"]
ALL += ["worst_segmented", "worst_classified", "curves"]


@pytest.fixture
def written(finished):
    return {name: finished / "figures" / f"{name}.png" for name in ALL}


def test_every_figure_is_written_as_png_and_pdf(finished):
    assert sorted(path.name for path in (finished / "figures").iterdir()) == sorted(
        f"{name}.{form}" for name in ALL for form in ("png", "pdf")
    )


def test_the_paths_of_the_png_files_come_back(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RUN_FIGURES", figures.RUN_FIGURES[1:2])
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train/generator/total\n0,1,2.0\n", encoding="utf-8")
    written = write_figures(predictions, tmp_path / "figures", path)
    names = ("confusion", "curves")
    assert written == {name: tmp_path / "figures" / f"{name}.png" for name in names}


def test_png_files_have_200_dots_per_inch_and_print_width(written, predictions, print_resolution):
    with Image.open(io.BytesIO(render_figure(plot_confusion(predictions)))) as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert image.width >= 3.5 * 200
    for path in written.values():
        with Image.open(path) as image:
            image.load()
            assert image.width <= 7.17 * image.info["dpi"][0]
    with Image.open(written["contours"]) as image:
        assert image.width == pytest.approx(7.16 * image.info["dpi"][0], abs=0.5)


def test_pdf_files_are_whole_and_hold_fonts_as_truetype(predictions):
    content = render_figure(plot_confusion(predictions), "pdf")
    assert content.startswith(b"%PDF")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert b"/TrueType" in content or b"/CIDFontType2" in content


def test_figures_that_the_method_does_not_have_are_skipped_and_old_files_go(
    predictions, tmp_path, monkeypatch
):
    (tmp_path / "tsne.png").write_bytes(b"of an earlier evaluation")
    (tmp_path / "notes.txt").write_text("the user's own")
    monkeypatch.setattr(figures, "render_figure", lambda *_: b"a picture")
    bare = dataclasses.replace(predictions, probabilities=None, features=None)
    written = write_figures(bare, tmp_path, tmp_path / "no_metrics.csv")
    assert list(written) == ["contours", "worst_segmented"]
    assert not (tmp_path / "tsne.png").exists()
    assert (tmp_path / "notes.txt").exists()
    unguided = dataclasses.replace(predictions, mask=None)
    assert list(write_figures(unguided, tmp_path)) == [
        "contours",
        "confusion",
        "tsne",
        "roc",
        "calibration",
        "trust",
        "worst_classified",
    ]


def test_inconsistent_predictions_are_refused_before_anything_is_written(predictions, tmp_path):
    broken = np.full_like(predictions.probabilities, np.nan)
    with pytest.raises(Hep2ganError, match="diverge"):
        write_figures(dataclasses.replace(predictions, probabilities=broken), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_interrupted_write_leaves_the_old_file(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "RUN_FIGURES", figures.RUN_FIGURES[1:2])
    write_figures(predictions, tmp_path)
    before = (tmp_path / "confusion.png").read_bytes()

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        write_figures(predictions, tmp_path)
    assert (tmp_path / "confusion.png").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.pdf", "confusion.png"]


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_the_same_predictions_give_the_same_bytes(predictions, form):
    first, second = (render_figure(plot_confusion(predictions), form) for _ in range(2))
    assert first == second


def test_figures_can_be_drawn_in_several_threads(predictions):
    alone, found = render_figure(plot_confusion(predictions)), []
    threads = [
        threading.Thread(target=lambda: found.append(render_figure(plot_confusion(predictions))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 2


def test_pyplot_is_never_imported(predictions):
    import subprocess
    import sys

    code = (
        "import sys, hep2gan.reports.build, hep2gan.reports.figures.overlay;"
        "print([m for m in ('matplotlib.pyplot', 'torch', 'lightning', 'omegaconf') "
        "if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_comparisons_bear_the_papers_numbers():
    names = ["figure_2", "figure_3", "figure_4", "figure_5", "calibration"]
    assert [spec.name for spec in COMPARISON_FIGURES] == names


@pytest.mark.parametrize("spec", COMPARISON_FIGURES, ids=lambda spec: spec.name)
def test_every_comparison_is_no_wider_than_a_page_or_left_out(spec, methods):
    figure = spec.plot(methods)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() <= 7.17
    assert spec.plot({}) is None


def test_a_figure_of_one_of_several_methods_bears_its_name():
    spec = FigureSpec("specimens", "Accuracy by specimen", "", lambda _: None, "study/proposed")
    assert spec.file == "specimens_study_proposed"
    assert spec.heading == "Accuracy by specimen: study/proposed"
    assert spec._replace(method="").file == "specimens"
