"""Runs from Python: the same numbers as the commands, and words for what is wrong."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hep2gan
from hep2gan.api import frames
from hep2gan.cli import predict
from tests.helpers.commands import call, inside_copy

RUN = Path("runs/default/proposed/seed0")
pytestmark = pytest.mark.filterwarnings("ignore:every mask is empty")


@pytest.fixture(scope="module")
def cells(trained_run):
    """Files of eight synthetic cells of the training."""
    files = sorted(next(iter(sorted((trained_run / "stores").glob("synthetic_*")))).glob("*.png"))
    return [file for file in files if "Mask" not in file.name][:8]


@pytest.fixture(scope="module")
def run(trained_run):
    return hep2gan.load_run(trained_run / RUN, accelerator="cpu")


def pixels(files):
    return [np.asarray(Image.open(file)) for file in files]


def test_importing_takes_neither_torch_nor_hydra():
    code = (
        "import sys, hep2gan; hep2gan.train, hep2gan.find_runs, hep2gan.Hep2ganError, dir(hep2gan)"
    )
    names = "{'torch', 'hydra', 'pandas', 'matplotlib', 'lightning', 'pydantic'}"
    words = [sys.executable, "-c", f"{code}; print({names} & set(sys.modules))"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"
    assert set(hep2gan.__all__) <= set(dir(hep2gan))
    assert all(getattr(hep2gan, name).__doc__ for name in set(hep2gan.__all__) - {"__version__"})
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = hep2gan.trian


def test_the_page_names_what_there_is(run):
    page = (Path(__file__).parents[2] / "docs/python.md").read_text()
    assert set(re.findall(r"\bhep2gan\.(\w+)", page)) <= set(hep2gan.__all__)
    assert all(f"`{name}`" in page for name in set(hep2gan.__all__) - {"__version__"})
    assert all(
        hasattr(hep2gan.Run, name) or name == "path" for name in re.findall(r"\brun\.(\w+)", page)
    )
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        compile(block, "page", "exec")


def test_a_folder_gives_what_the_command_writes(run, cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for file in cells:
        shutil.copy(file, Path("images"))
    assert call(predict, str(run.path), "images", "accelerator=cpu", "overlays=false") == 0
    found = run.predict("images")
    rows = list(csv.DictReader(Path("predictions/predictions.csv").read_text().splitlines()))
    written = [
        {key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()}
        for row in found.to_frame().to_dict("records")
    ]
    assert written == rows
    assert len(written) == 8
    for cell in found:
        mask = np.asarray(Image.open(Path("predictions/masks") / Path(cell.name).name))
        assert np.array_equal(mask, cell.mask * 255)
        assert cell.label == max(cell.probabilities, key=cell.probabilities.get)
    assert found.classes == run.classes == tuple(found[0].probabilities)


def test_arrays_give_what_their_files_give_in_the_order_given(run, cells):
    backwards = cells[::-1]
    of_files = run.predict(backwards)
    assert [cell.name for cell in of_files] == [str(file) for file in backwards]
    of_arrays = run.predict(pixels(backwards))
    assert [cell.name for cell in of_arrays] == [f"array {number}" for number in range(8)]
    for one, other in zip(of_files, of_arrays, strict=True):
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.image, other.image)
        assert one.probabilities == other.probabilities
    assert of_arrays.labels == of_files.labels
    assert len(of_arrays[2:4]) == 2
    assert [each.shape for each in of_arrays.masks] == [each.shape for each in pixels(backwards)]


def test_the_rule_of_levels(run, cells):
    (eight,) = pixels(cells[:1])
    (expected,) = run.predict(eight)
    # 257 · 255 = 65535; the others say what white is.
    for array, white in (
        (eight.astype(np.uint16) * 257, None),
        (eight / 255, 1),
        (eight * 1.0, 255),
    ):
        (cell,) = run.predict(array, white_level=white)
        assert np.array_equal(cell.mask, expected.mask)
        assert cell.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    with pytest.raises(hep2gan.Hep2ganError, match=r"scale is unknown.*white_level"):
        run.predict(eight / 255)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"array 0 has shape \(4, 5, 3\).*image\[\.\.\., 1\]"),
        (np.zeros((0, 5), np.uint8), r"array 0 has shape \(0, 5\)"),
        (np.zeros((4, 5), bool), "array 0 holds bool"),
        (np.full((4, 5), -1.0), "array 0 holds negative or non-finite values"),
        (np.full((4, 5), np.nan), "array 0 holds negative or non-finite values"),
        (np.full((4, 5), 300, np.int64), "array 0 holds signed, 32-bit or float values"),
        (np.zeros((40, 2000), np.uint8), "array 0 has 2000 × 40 pixels: one file is one cell"),
        ([], "no images are given"),
        ("nowhere", "nowhere does not exist"),
        (3, "images holds int"),
        (["a.png", 3], "images holds int"),
    ],
)
def test_what_is_no_image_is_refused_in_words(run, array, words):
    with pytest.raises(hep2gan.Hep2ganError, match=words):
        run.predict(array)


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(run, cells, tmp_path):
    for file in cells[:2]:
        shutil.copy(file, tmp_path)
    shutil.copy(cells[2], tmp_path / "x_Mask.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"2 images left out\n(.|\n)*broken.png"):
        found = run.predict([tmp_path, np.zeros((3, 3, 3)), pixels(cells[:1])[0]])
    shown = "<predictions for 3 images; 2 could not be read; not predicted: 1 mask>"
    assert repr(found) == shown
    names = [cell.name for cell in found]
    assert names == [*(str(tmp_path / file.name) for file in cells[:2]), "array 2"]
    assert len(found.problems) == 2
    assert "broken.png" in found.problems[0]
    assert "array 1 has shape" in found.problems[1]
    files = sorted(tmp_path.glob("[!b]*.png"))
    with pytest.warns(UserWarning, match="1 mask among the images"):
        assert [cell.name for cell in run.predict(files)] == names[:2]
    with pytest.raises(hep2gan.Hep2ganError, match="2 images cannot be read"):
        run.predict([tmp_path / "broken.png", np.zeros((3, 3, 3))])


def test_masks_that_are_all_alike_are_told(run, cells, monkeypatch):
    # The networks of the fixture have seen too little to find a nucleus.
    with pytest.warns(UserWarning, match="every mask is empty: look at them"):
        assert not any(mask.any() for mask in run.predict(cells[:2]).masks)


def test_nothing_is_left_behind(trained_run, cells):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    hep2gan.load_run(trained_run / RUN, accelerator="cpu").predict(cells[0])
    assert torch.equal(torch.rand(2), expected)


def test_a_run_says_what_it_is(run, trained_run, monkeypatch):
    monkeypatch.chdir(trained_run)
    assert repr(run) == f"<run {RUN}>"
    assert run.finished
    assert run.config["trainer"]["max_epochs"] == 2
    assert 0 < run.metrics["test/auroc"] <= 1
    with pytest.raises(hep2gan.Hep2ganError, match=r"no run folder.*name a run in it"):
        hep2gan.load_run("runs")


def test_a_table_of_runs(trained_run, tmp_path_factory):
    with inside_copy(tmp_path_factory, trained_run):
        for number, epochs in ((1, 2), (2, 5), (3, 2)):
            shutil.copytree(RUN, RUN.with_name(f"seed{number}"))
            config = RUN.with_name(f"seed{number}") / "config.yaml"
            text = config.read_text().replace("\nseed: 0", f"\nseed: {number}")
            config.write_text(text.replace("max_epochs: 2", f"max_epochs: {epochs}"))
        (RUN.with_name("seed2") / "DONE").unlink()
        (RUN.with_name("seed3") / "metrics.json").write_text("{")
        runs = hep2gan.find_runs("runs")
        assert repr(runs) == "<4 runs, 3 finished>"
        table = runs.to_frame()
        assert list(table.index) == [f"default/proposed/seed{number}" for number in range(4)]
        settings = ["study", "name", "seed", "finished", "trainer.max_epochs"]
        assert list(table.columns[:5]) == settings
        assert table["trainer.max_epochs"].tolist() == [2, 2, 5, 2]
        assert table["finished"].tolist() == [True, True, False, True]
        auroc = table["test/auroc"]
        assert auroc.isna().tolist() == [False, False, True, True]
        assert auroc.iloc[0] == hep2gan.load_run(RUN).metrics["test/auroc"]
        assert table["problem"].isna().tolist() == [True, True, True, False]
        assert "hep2gan-evaluate" in table["problem"].iloc[3]
        assert "loss.beta" in runs[:2].to_frame(["loss.beta"]).columns
        with pytest.raises(hep2gan.Hep2ganError, match="no run has a setting 'beta'"):
            runs.to_frame(["beta"])
        with pytest.raises(hep2gan.Hep2ganError, match="not finished"):
            _ = runs[2].metrics
    with pytest.raises(hep2gan.Hep2ganError, match="nowhere is no folder"):
        hep2gan.find_runs("nowhere")


def test_without_pandas_the_extra_is_named(run, cells, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(hep2gan.Hep2ganError, match=r'Fix: pip install "hep2gan\[notebook\]"'):
        run.predict(cells[0]).to_frame()
    with pytest.raises(hep2gan.Hep2ganError, match="pandas, which is not installed"):
        frames.import_pandas()
