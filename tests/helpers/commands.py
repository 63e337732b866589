"""Run the commands in this process, as their console scripts do."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from filelock import FileLock

from hep2gan.cli.app import config_folder


def call(command: ModuleType, *arguments: str) -> int:
    """The exit status of a command, 0 if it returns."""
    before, sys.argv = sys.argv, [f"hep2gan-{command.__name__.rpartition('.')[2]}", *arguments]
    try:
        command.main()
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before


@contextmanager
def folder_after(
    factory: pytest.TempPathFactory, *commands: tuple[ModuleType, *tuple[str, ...]]
) -> Iterator[Path]:
    """A new folder in which these commands were run and succeeded; the current one meanwhile."""
    folder = factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command, *arguments in commands:
            assert call(command, *arguments) == 0
        yield folder


def built_once(
    factory: pytest.TempPathFactory, name: str, *commands: tuple[ModuleType, *tuple[str, ...]]
) -> Path:
    """A folder in which these commands were run, by the first worker of pytest-xdist that asks."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with folder_after(factory, *commands) as made:
                pass
            made.rename(folder)
    return folder


@contextmanager
def inside_copy(factory: pytest.TempPathFactory, folder: Path) -> Iterator[Path]:
    """Work inside a copy of `folder`, which others use too."""
    copy = factory.mktemp("copy") / folder.name
    shutil.copytree(folder, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        yield copy


def make_program(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a Python program on the path, alone."""
    file = folder / name
    file.write_text(f"#!{sys.executable}\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def slurm_settings() -> dict[str, Any]:
    """The settings of hydra/launcher=slurm as they come."""
    found = yaml.safe_load((config_folder() / "hydra/launcher/slurm.yaml").read_text())
    return {key: value for key, value in found.items() if key != "_target_"}


@contextmanager
def power_cut_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The first training in the block breaks down when its first epoch has been saved."""
    from hep2gan.training.callbacks.checkpoint import EpochCheckpoint

    save = EpochCheckpoint.on_train_epoch_end

    def save_and_break(self: EpochCheckpoint, trainer: Any, task: Any) -> None:
        save(self, trainer, task)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(EpochCheckpoint, "on_train_epoch_end", save_and_break)
        with pytest.raises(RuntimeError, match="power cut"):
            yield
