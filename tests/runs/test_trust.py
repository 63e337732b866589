import json

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.trust import Trust
from tests.helpers.made_up_trust import TRUST, WITHOUT


@pytest.mark.parametrize("trust", [TRUST, WITHOUT])
def test_round_trip(trust, tmp_path):
    trust.save(tmp_path / "trust.json")
    assert Trust.load(tmp_path / "trust.json") == trust
    assert [path.name for path in tmp_path.iterdir()] == ["trust.json"]


def test_a_run_that_was_not_tested_has_none(tmp_path):
    assert Trust.load(tmp_path / "trust.json") is None


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0},
        {"temperature": float("inf")},
        {"temperature": "warm"},
        {"calibration_error": 1.5},
        {"part": "training"},
        {"unlike": {"squared": 3}},
        {"further": 1},
        {"cells": 0},
    ],
)
def test_a_damaged_file_names_the_command(change, tmp_path):
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(TRUST.to_plain() | change))
    with pytest.raises(Hep2ganError, match=rf"{next(iter(change))}.*hep2gan-evaluate {tmp_path}"):
        Trust.load(path)
    path.write_text("{")
    with pytest.raises(Hep2ganError, match="hep2gan-evaluate"):
        Trust.load(path)


def test_classes_of_another_run_are_refused():
    assert TRUST.require_classes(("a", "b")) is TRUST
    with pytest.raises(Hep2ganError, match="is of the classes a, b"):
        TRUST.require_classes(("b", "a"))


def test_a_checkpoint_is_named_alike_where_the_run_is_moved_to(tmp_path):
    run = RunFolder(tmp_path / "run")
    assert run.name_checkpoint(run.checkpoints / "best.ckpt") == "checkpoints/best.ckpt"
    assert run.name_checkpoint(tmp_path / "best.ckpt") == str(tmp_path / "best.ckpt")
