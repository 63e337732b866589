"""One process of a run, from a composed configuration: `python -m hep2gan.cli.worker FILE`."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hep2gan.cli.errors import exit_with_error
from hep2gan.cli.terminal import prepare_output
from hep2gan.errors import Hep2ganError, from_os_error
from hep2gan.io import share_machine
from hep2gan.runs.folder import RunFolder


def main() -> None:
    """Train the configuration of the file; end when the process that started this one ends."""
    prepare_output()
    share_machine()
    from hep2gan.training.distributed import exit_with_parent

    exit_with_parent()
    run_config(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


def run_config(config: Mapping[str, Any]) -> None:
    """Train a configuration, alone or as one of several ranks; print errors as commands do."""
    from hep2gan.cli.launch.local import launch

    try:
        run = RunFolder.from_config(config)
        run.refuse_links()
        _log_to_folder(run.path)
        launch(config)
    except Exception as error:
        explained = error if isinstance(error, Hep2ganError) else from_os_error(error)
        if explained is None:
            raise
        from hep2gan.training.waits import LostRankError

        # Not 2: the launcher looks for the rank that was the first to end.
        exit_with_error(explained, 1 if isinstance(explained, LostRankError) else 2)


def _log_to_folder(folder: Path) -> None:
    """Set up logging as conf/hydra/job_logging/run.yaml does in Hydra's own process."""
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(message)s"))
    handlers: list[logging.Handler] = [console]
    if os.environ.get("RANK", "0") == "0":
        folder.mkdir(parents=True, exist_ok=True)
        name, errors = folder / "train.log", "backslashreplace"
        file = logging.FileHandler(name, encoding="utf-8", errors=errors)
        file.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.INFO, handlers=handlers)


if __name__ == "__main__":
    main()
