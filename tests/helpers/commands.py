"""Run the commands in this process, as their console scripts do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


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
