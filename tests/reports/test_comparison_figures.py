import dataclasses

import numpy as np
import pytest
from PIL import Image

from hep2gan.errors import Hep2ganError
from hep2gan.reports import comparison_figures
from hep2gan.reports.comparison_figures import write_comparison_figures

NAMES = ["figure_2", "figure_3", "figure_4", "figure_5", "calibration"]


@pytest.fixture(scope="module")
def written(methods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return folder, write_comparison_figures(methods, folder)


def test_every_figure_is_written_in_three_formats(written):
    folder, paths = written
    assert paths == {name: folder / f"{name}.png" for name in NAMES}
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}.{form}" for name in NAMES for form in ("pdf", "svg", "png")
    )
    for name, path in paths.items():
        with Image.open(path) as image:
            image.load()
            assert image.width <= 7.17 * 200
        assert (folder / f"{name}.pdf").read_bytes().rstrip().endswith(b"%%EOF")
        assert "</svg>" in (folder / f"{name}.svg").read_text(encoding="utf-8")


def test_the_same_methods_give_the_same_bytes(written, methods, tmp_path, monkeypatch):
    kept = {name: comparison_figures.COMPARISONS[name] for name in ("figure_3",)}
    monkeypatch.setattr(comparison_figures, "COMPARISONS", kept)
    write_comparison_figures(methods, tmp_path)
    for form in ("pdf", "svg", "png"):
        again = (tmp_path / f"figure_3.{form}").read_bytes()
        assert again == (written[0] / f"figure_3.{form}").read_bytes()


def test_figures_that_no_method_has_are_left_out_and_old_files_go(predictions, tmp_path):
    for form in ("pdf", "svg", "png"):
        (tmp_path / f"figure_5.{form}").write_bytes(b"of an earlier comparison")
    (tmp_path / "notes.txt").write_text("the user's own")
    bare = dataclasses.replace(predictions, probabilities=None, features=None)
    assert list(write_comparison_figures({"only masks": bare}, tmp_path)) == ["figure_2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "figure_2.pdf",
        "figure_2.png",
        "figure_2.svg",
        "notes.txt",
    ]


def test_inconsistent_predictions_are_refused_before_anything_is_written(methods, tmp_path):
    broken = dataclasses.replace(methods["Proposed"], label=np.full(62, 9))
    with pytest.raises(Hep2ganError, match="label"):
        write_comparison_figures({**methods, "broken": broken}, tmp_path / "new")
    assert not (tmp_path / "new").exists()
