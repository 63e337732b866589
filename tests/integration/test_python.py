"""hep2gan.train() is the command, to the bit; stops, errors and the tour as a notebook has them."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import hep2gan
from hep2gan.runs.checkpoints import list_checkpoints
from tests.helpers.started import NETS, SMALL, assert_same_training, environment, final, train

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
# Two epochs of small networks, which are classes of one's own.
SAME = (*SMALL, *NETS, "trainer.threads=1", "trainer.max_epochs=2")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def surroundings():
    root = logging.getLogger()
    return (
        Path.cwd(),
        {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        (root.level, list(root.handlers), sys.stdout, sys.stderr, list(sys.argv), list(sys.path)),
        (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), dict(os.environ)),
    )


def test_train_is_the_command_to_the_bit_and_leaves_nothing_behind(here, capsys):
    before = surroundings()
    run = hep2gan.train(*SAME, "study=python")
    assert surroundings() == before
    assert "epoch 2/2" in capsys.readouterr().out
    assert run.path == Path("runs/python/proposed/seed0").absolute()
    train(here, *SAME, "study=command")
    assert_same_training(final(run.path), final(here / "runs/command/proposed/seed0"))
    assert run.metrics == hep2gan.load_run("runs/command/proposed/seed0").metrics
    (cell,) = run.predict(np.eye(40, dtype=np.uint8))
    assert cell.mask.shape == (40, 40)
    # Once more, it is finished and left alone; quiet on demand.
    capsys.readouterr()
    assert hep2gan.train(*SAME, "study=python", verbose=False).metrics == run.metrics
    assert capsys.readouterr().out == ""
    with pytest.raises(hep2gan.Hep2ganError, match=r"trainer\.max_epoch") as caught:
        hep2gan.train("data=phantom", "trainer.max_epoch=2")
    assert "Did you mean trainer.max_epochs" in caught.value.fact
    page = run.report("page/report.html")
    assert page == Path("page/report.html").absolute()
    assert page.stat().st_size > 10_000


@pytest.mark.usefixtures("here")
def test_an_interrupted_training_saves_and_the_same_call_goes_on(capsys):
    words = (*SAME[:-1], "trainer.max_epochs=12", "study=stopped")
    run = Path("runs/stopped/proposed/seed0")

    def interrupt():
        while not list_checkpoints(run / "checkpoints"):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        hep2gan.train(*words)
    assert "Stopped by SIGINT" in (shown := capsys.readouterr().out)
    assert "Traceback" not in shown
    assert not hep2gan.load_run(run).finished
    assert np.isfinite(hep2gan.train(*words).metrics["test/dice"])
    assert f"Resuming {run}" in capsys.readouterr().out


def test_the_tour_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    file = ROOT / "experiments/tour.ipynb"
    assert file.stat().st_size < 300_000
    text = file.read_text()
    assert not [place for place in (f"{ROOT.parent}/", "/home/", "/tmp/") if place in text]
    notebook = nbformat.read(file, 4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=400, resources=resources).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 2
