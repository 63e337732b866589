"""Which words of a command name models, and which runs a folder stands for."""

from pathlib import Path

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.inference.members import count_models, list_members, require_one_for_checkpoint


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("proposed/seed0", "proposed/seed1", "proposed/seed2", "resnet50/seed0"):
        folder = Path("runs/default") / run
        folder.mkdir(parents=True)
        for name in ("config.yaml", "store.json", "DONE"):
            (folder / name).touch()
    Path("runs/default/proposed/seed1/DONE").unlink()
    Path("export").mkdir()
    Path("export/model.json").touch()
    Path("images/one/two").mkdir(parents=True)
    Path("images/one/config.yaml").touch()  # of another program


METHOD, STUDY = "runs/default/proposed", "runs/default"


@pytest.mark.parametrize(
    ("words", "models"),
    [
        (["a.png"], 1),
        ([METHOD, "images"], 1),
        ([METHOD, "images", f"{METHOD}/seed0"], 1),
        ([f"{METHOD}/seed0", f"{METHOD}/seed2", "images"], 2),
        ([f"{METHOD}/seed0", "export", "images"], 2),
        ([METHOD, "runs/default/resnet50", "images", "more"], 2),
        # The folder in which the runs lie may hold the images; a run does not.
        ([f"{METHOD}/seed0", "runs"], 1),
        ([f"{METHOD}/seed0", STUDY], 1),
        ([f"{METHOD}/seed0", f"{METHOD}/seed2"], 2),
        ([f"{METHOD}/seed0", "x.png", f"{METHOD}/seed2"], 1),
        ([], 0),
    ],
)
def test_leading_words_are_models(words, models):
    assert count_models(words) == models


def test_a_method_s_folder_is_its_finished_runs():
    found = list_members([METHOD])
    assert found.names == [f"{METHOD}/seed0", f"{METHOD}/seed2"]
    assert found.left_out == [f"{METHOD}/seed1"]
    assert len(list_members([STUDY]).names) == 3
    # Named by itself, a run that is not finished predicts with its newest weights.
    assert list_members([f"{METHOD}/seed1"]).names == [f"{METHOD}/seed1"]


def test_each_model_counts_once():
    named = [f"{METHOD}/seed2", METHOD, f"./{METHOD}/seed0/", "export"]
    assert list_members(named).names == [f"{METHOD}/seed2", f"{METHOD}/seed0", "export"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (["nowhere"], "nowhere is no run folder"),
        (["images"], "images is no run folder"),
        # Of all studies: their runs have different classes.
        (["runs"], r"runs is no run folder.*name a run in it: runs/default/proposed/seed0"),
        ([], "run is an empty list"),
    ],
)
def test_what_names_no_model_is_refused(named, words):
    with pytest.raises(Hep2ganError, match=words):
        list_members(named)


def test_a_method_without_a_finished_run_is_refused():
    for done in Path(METHOD).glob("*/DONE"):
        done.unlink()
    with pytest.raises(Hep2ganError, match="no run in runs/default/proposed is finished"):
        list_members([METHOD])


def test_a_checkpoint_is_of_one_run():
    require_one_for_checkpoint(list_members([f"{METHOD}/seed0"]), "last.ckpt")
    with pytest.raises(Hep2ganError, match=r"2 runs predict together.*leave checkpoint out"):
        require_one_for_checkpoint(list_members([METHOD]), "last.ckpt")
