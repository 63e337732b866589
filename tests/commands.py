"""Run the commands in this process, as their console scripts do."""

import sys
from types import ModuleType


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
