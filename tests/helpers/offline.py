"""Offline wandb for tests: no key, no home, no variables of an outer run."""

import os

from tests.helpers.wandb_reader import ended_run


def without_wandb_settings(monkeypatch, home):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def runs(folder):
    """The offline runs that `wandb sync` would upload from a run folder, oldest first."""
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    return [ended_run(path) for path in paths]


def curve(run, name, axis="epoch"):
    return [(row[axis], row[name]) for row in run["history"] if name in row]
