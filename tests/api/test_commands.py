"""Commands from Python: refusals before a process starts, and what the process answers."""

import json
import sys

import pytest

import hep2gan
from hep2gan.api import commands
from hep2gan.cli import child


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("-m", "seed=0,1"), "given '-m'"),
        (("method=proposed", "--cfg"), "given '--cfg'"),
        (("proposed",), "given 'proposed'"),
        ((3,), "given 3"),
        (("data=phantom", "doctor=true"), "given doctor=true.*hep2gan-train doctor=true"),
    ],
)
def test_what_is_no_setting_of_one_run_is_refused(words, fact):
    with pytest.raises(hep2gan.Hep2ganError, match=fact):
        hep2gan.train(*words)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "ended by SIGKILL: SIGKILL often means that memory ran out. Fix: call it again"),
        (143, "ended by SIGTERM. Fix: call it again"),
        (1, r"exit status 1 \(ValueError: no\)"),
    ],
)
def test_ends_without_an_answer_are_explained(status, words):
    with pytest.raises(hep2gan.Hep2ganError, match=words):
        raise commands._explain_status("train", status, "ValueError: no")


def answer(tmp_path, monkeypatch, *words):
    file = tmp_path / "answer.json"
    monkeypatch.setattr(sys, "argv", ["child", str(file), *words])
    monkeypatch.chdir(tmp_path)
    child.main()
    return json.loads(file.read_text())


def test_the_child_answers_with_what_was_written(tmp_path, monkeypatch):
    words = ("data=phantom", "data.count=30", "data.size=32")
    found = answer(tmp_path, monkeypatch, "pack", *words)
    assert found == {"path": str(tmp_path / "stores/phantom_30_0_lab0_32")}
    assert (tmp_path / "stores/phantom_30_0_lab0_32/manifest.json").is_file()


def test_the_child_answers_with_the_parts_of_an_error(tmp_path, monkeypatch):
    found = answer(tmp_path, monkeypatch, "report", "nowhere", "output=page.html")
    fact, rule, fix = found["error"]
    assert (fact, rule) == ("nowhere is no run folder", "a run folder holds config.yaml")
    assert fix.startswith("give a folder that hep2gan-train wrote")
    fact, _, _ = answer(tmp_path, monkeypatch, "pack", "data=phantm")["error"]
    assert "Did you mean data=phantom?" in fact
    assert fact.endswith("See hep2gan-pack --help for every group and key.\n")
