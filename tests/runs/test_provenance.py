"""Where a run comes from, with a repository and networks whose answers are known."""

import json
import subprocess

import pytest
import torch

from hep2gan.runs.provenance import provenance, revision, versions, write_provenance


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package, a conf folder and something else."""
    for name in ("hep2gan/__init__.py", "conf/train.yaml", "notes.txt", ".gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("venv\n" if name == ".gitignore" else "a\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")
    return tmp_path


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_the_revision_is_the_checkouts(checkout):
    assert revision(checkout / "hep2gan") == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("file", "dirty"),
    [("hep2gan/__init__.py", True), ("hep2gan/new.py", True), ("conf/train.yaml", True),
     ("notes.txt", False)],
)  # fmt: skip
def test_changed_code_is_marked_and_nothing_else(checkout, file, dirty):
    (checkout / file).write_text("b\n")
    assert revision(checkout / "hep2gan").endswith("-dirty") is dirty


def test_a_wheel_has_no_revision(tmp_path, checkout):
    inside = checkout / "venv/hep2gan"
    inside.mkdir(parents=True)
    (inside / "__init__.py").touch()
    assert revision(inside) is None


def test_a_hooks_environment_points_elsewhere(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert revision(checkout / "hep2gan") is not None


def test_without_git_there_is_no_revision(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert revision(checkout / "hep2gan") is None


def test_a_record_holds_the_facts_of_data_split_and_networks():
    data = {"name": "mine", "fingerprint": "abc", "cells": 9}
    split = {"kind": "random", "seed": 3, "train": 7, "test": 2}
    training = {"max_epochs": 4, "init_from": None}
    facts = {"data": data, "split": split, "training": training, "evaluation": {"precision": "x"}}
    record = provenance(parameters={"generator": 5}, **facts)
    assert record["training"] == training
    assert record["data"] == {"name": "mine", "fingerprint": "abc", "cells": 9}
    assert record["split"] == {"kind": "random", "seed": 3, "train": 7, "test": 2}
    assert record["parameters"] == {"generator": 5}


def test_versions_are_those_installed():
    found = versions()
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"]
    assert {"lightning", "timm", "wandb"} <= found.keys()


def test_earlier_starts_are_kept_where_they_differ(tmp_path):
    path = tmp_path / "provenance.json"
    for record in ({"revision": "a"}, {"revision": "a"}, {"revision": "b"}, {"revision": "c"}):
        write_provenance(path, record)
    found = json.loads(path.read_text())
    assert found == {"revision": "c", "earlier": [{"revision": "a"}, {"revision": "b"}]}
    path.write_text("half")
    write_provenance(path, {"revision": "d"})
    assert json.loads(path.read_text()) == {"revision": "d"}
