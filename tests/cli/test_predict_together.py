"""Several runs, views and class activation maps through the command and from Python."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hep2gan
from hep2gan.cli import export, predict
from hep2gan.data.patterns import CLASSES
from hep2gan.inference.ensemble import spread
from tests.helpers.commands import call, inside_copy

METHOD = "runs/default/proposed"
RUNS = f"{METHOD}/seed0", f"{METHOD}/seed1"
pytestmark = pytest.mark.filterwarnings("ignore:every mask is empty")


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_run):
    """A folder with a trained run, one that names the opposite, an unfinished one, and cells."""
    with inside_copy(tmp_path_factory, trained_run) as folder:
        for seed in (1, 2):
            shutil.copytree(RUNS[0], f"{METHOD}/seed{seed}")
        for file in Path(RUNS[1], "checkpoints").glob("*.ckpt"):
            state = torch.load(file, weights_only=True)
            state["state_dict"]["classifier.output.weight"] *= -1
            torch.save(state, file)
        Path(METHOD, "seed2/DONE").unlink()
        Path("images").mkdir()
        for file in sorted(Path("stores/synthetic_96_0_lab0").glob("*[0-9].png"))[::20]:
            shutil.copy(file, "images")
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


def predicted(output, *arguments):
    assert call(predict, *arguments, f"output={output}", "accelerator=cpu") == 0
    with Path(output, "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def chances(rows):
    return np.array([[float(row[name]) for name in CLASSES] for row in rows])


def test_the_runs_of_a_method_predict_together(capsys):
    singles = [predicted(f"out_{Path(run).name}", run, "images") for run in RUNS]
    capsys.readouterr()
    together = predicted("together", METHOD, "images")
    said = capsys.readouterr().out
    assert f"2 runs predict together:\n  - {RUNS[0]}\n  - {RUNS[1]}\n" in said
    assert f"left out, as they are not finished:\n  - {METHOD}/seed2\n" in said
    opinions = np.array([chances(rows) for rows in singles])
    assert chances(together) == pytest.approx(opinions.mean(axis=0), abs=2e-6)
    spreads = [float(row["spread"]) for row in together]
    assert spreads == pytest.approx(spread(opinions), abs=3e-6)
    assert max(spreads) > 1e-5
    assert "spread" not in singles[0][0]
    # The same by name, in Python, and through a list.
    assert predicted("by_name", *RUNS, "images") == together
    assert predicted("by_list", f"run=[{','.join(RUNS)}]", "inputs=images") == together
    ensemble = hep2gan.load_ensemble(RUNS, accelerator="cpu")
    found = ensemble.predict("images")
    assert [cell.spread for cell in found] == pytest.approx(spreads, abs=1e-6)
    assert ensemble.classes == tuple(CLASSES)
    assert repr(ensemble) == "<ensemble of 2 runs>"
    assert found.to_frame()["spread"].tolist() == [cell.spread for cell in found]


def test_unfinished_runs_are_told_in_python():
    with pytest.warns(UserWarning, match="not finished\n.*seed2"):
        ensemble = hep2gan.load_ensemble(METHOD)
    assert [run.path.name for run in ensemble.members] == ["seed0", "seed1"]


def test_views_and_maps(capsys):
    rows = predicted("views", RUNS[0], "images", "views=true", "overlays=cam")
    run = hep2gan.load_run(RUNS[0], accelerator="cpu")
    found = run.predict("images", views=True)
    assert [float(row["spread"]) for row in rows] == pytest.approx(
        [cell.spread for cell in found], abs=1e-5
    )
    once = run.predict("images")
    assert [cell.spread for cell in once] == [None] * len(once)
    assert once[0].probabilities != found[0].probabilities
    for cell in found:
        picture = np.asarray(Image.open(Path("views/overlays", Path(cell.name).name)))
        assert picture.shape == (*cell.image.shape, 3)
        assert (picture != picture[:, :, :1]).any(axis=2).mean() > 0.02


@pytest.mark.integration
def test_exports_take_part_and_have_no_maps(capsys):
    assert call(export, RUNS[1]) == 0
    members = RUNS[0], f"{RUNS[1]}/export"
    by_torch, mixed = predicted("t", *RUNS, "images"), predicted("m", *members, "images")
    assert chances(mixed) == pytest.approx(chances(by_torch), abs=1e-4)
    capsys.readouterr()
    assert call(predict, *members, "images", "overlays=cam", "output=never") == 2
    assert "a graph of ONNX is among the networks" in capsys.readouterr().err
    assert not Path("never").exists()
    found = hep2gan.load_ensemble(members).predict("images")
    given = np.array([list(cell.probabilities.values()) for cell in found])
    assert given == pytest.approx(chances(mixed), abs=1e-6)
