"""One command for the Python interface: `python -m hep2gan.cli.child ANSWER COMMAND WORDS…`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hep2gan.cli.app import config_folder, execute
from hep2gan.cli.errors import to_readable
from hep2gan.cli.pack import pack
from hep2gan.cli.predict import predict
from hep2gan.cli.report import report
from hep2gan.cli.terminal import prepare_output
from hep2gan.cli.train import train
from hep2gan.io import share_machine, write_json

COMMANDS: dict[str, tuple[Callable[[dict[str, Any]], Path], tuple[str, ...]]] = {
    "train": (train, ()),
    "pack": (pack, ()),
    "predict": (predict, ("run+", "inputs*")),
    "report": (report, ("runs*",)),
}
"""The function of each command and the keys of its positional arguments."""


def main() -> None:
    """Run a command as its console script does, and leave its result or its error in a file.

    The file is a JSON object: `path`, what the command wrote; or `error`, the parts of a
    Hep2ganError. Without the file, what was printed last tells how the command ended.
    """
    file, command, *words = sys.argv[1:]
    sys.argv = [f"hep2gan-{command}", *words]
    prepare_output()
    share_machine()
    if command == "train":
        from hep2gan.training.distributed import exit_with_parent

        exit_with_parent()
    task, positionals = COMMANDS[command]
    try:
        answer: dict[str, Any] = {"path": str(execute(task, command, positionals))}
    except KeyboardInterrupt:
        print("Interrupted.", flush=True)
        sys.exit(130)
    except Exception as error:
        explained = to_readable(error, config_folder() / f"{command}.yaml")
        if explained is None:
            raise
        answer = {"error": [explained.fact, explained.rule, explained.fix]}
    write_json(Path(file), answer)


if __name__ == "__main__":
    main()
