"""One process of a run, from a composed configuration: `python -m hep2gan.cli.worker FILE`."""

import json
import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hep2gan.cli.errors import exit_with_error
from hep2gan.cli.terminal import prepare_output
from hep2gan.errors import Hep2ganError, from_os_error
from hep2gan.io import share_machine


def main() -> None:
    """Train the configuration of the file; end when the process that started this one ends."""
    prepare_output()
    share_machine()
    from hep2gan.training.distributed import exit_with_parent

    exit_with_parent()
    run_config(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


@contextmanager
def config_file(values: Mapping[str, Any]) -> Iterator[Path]:
    """Write the configuration to a temporary file for `main`; delete it afterwards.

    Args:
        values: The resolved configuration, in plain containers.

    Yields:
        The file, which only this user can read.
    """
    file = Path(tempfile.gettempdir()) / f"hep2gan-{uuid.uuid4().hex}.json"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(dict(values), out)
        yield file
    finally:
        file.unlink(missing_ok=True)


def run_config(config: Mapping[str, Any]) -> None:
    """Train a configuration, alone or as one of several ranks; print errors as commands do.

    Args:
        config: The resolved configuration of hep2gan-train.
    """
    from hep2gan.cli.local import launch

    try:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        launch(config)
    except Exception as error:
        explained = error if isinstance(error, Hep2ganError) else from_os_error(error)
        if explained is None:
            raise
        from hep2gan.training.waits import LostRankError

        # Not 2: the launcher looks for the rank that was the first to end.
        exit_with_error(explained, 1 if isinstance(explained, LostRankError) else 2)


if __name__ == "__main__":
    main()
