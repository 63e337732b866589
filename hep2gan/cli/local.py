"""From one composed configuration to the processes that train it, under every launcher."""

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hep2gan.cli.idle import keys_without_effect
from hep2gan.cli.ranks import adopt_srun_rank, launch_ranks
from hep2gan.cli.settings import StartOptions
from hep2gan.config import TrainConfig, parse_sound_part
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.runs.folder import RunFolder
from hep2gan.settings import parse

log = logging.getLogger(__name__)


def launch(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
    """Train, in this process or in one for each device, and return when all is done.

    In a process that torchrun or srun started as one of the ranks it becomes that rank. Otherwise
    it starts the ranks of this machine itself, from this very configuration: in a sweep the command
    line describes another one.

    Args:
        values: The resolved configuration with `trusted` and `doctor`, in plain containers.
        overrides: What the command line sets of it; a sweep has told of those of its jobs.

    Raises:
        Hep2ganError: The run cannot start; lists everything that is wrong.
    """
    options = parse(StartOptions, {key: values[key] for key in _START if key in values})
    if options.fast_dev_run and not options.doctor:
        _try_out(values, overrides, options)
    else:
        _start(values, overrides, options)


def _try_out(values: Mapping[str, Any], overrides: Sequence[str], options: StartOptions) -> None:
    """Train a few batches in a folder beside the run's, which stays only where something fails."""
    from hep2gan.training.fast_dev_run import is_short, shorten

    _, invalid = parse_sound_part(run_settings(values), options.trusted)
    # A rank that this command has started, or settings that are refused next.
    if invalid or is_short(values):
        _start(values, overrides, options)
        return
    batches = int(options.fast_dev_run)
    short = shorten(values, batches)
    folder = RunFolder.from_config(short).path
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        shutil.rmtree(folder, ignore_errors=True)
    _start(short, overrides, options)
    if is_first:
        log.info(
            "fast_dev_run: %s of each part went the whole way; nothing is kept.",
            pluralize(batches, "batch", "batches"),
        )
        shutil.rmtree(folder, ignore_errors=True)


def _start(values: Mapping[str, Any], overrides: Sequence[str], options: StartOptions) -> None:
    """Check the configuration, then train it in this process or in one for each device."""
    run = RunFolder.from_config(values)
    run.refuse_links()
    config, invalid = parse_sound_part(run_settings(values), options.trusted)
    idle = keys_without_effect(config.to_plain(), overrides)
    notes = [f"{key} has no effect: {reason}" for key, reason in idle.items()]
    if options.doctor or invalid:
        _preflight(config, run, invalid, notes, doctor=options.doctor)
        return
    for note in notes:
        log.warning(note)
    ranks = config.trainer.world_size
    adopt_srun_rank(config.trainer)
    started = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else None
    if started is not None and started != ranks:
        raise Hep2ganError(
            f"{started} processes were started, the configuration has {ranks}"
            f" ({config.trainer.num_nodes} nodes of {config.trainer.devices} devices)",
            "each rank is one device",
            "set trainer.devices and trainer.num_nodes to what the launcher starts, or trainer=ddp",
        )
    # A forest needs no ranks.
    if ranks == 1 or started is not None or config.model.baseline:
        from hep2gan.training.run import train_run

        with _log_file(run, config):
            train_run(config, run, int(options.fast_dev_run) or None)
    else:
        launch_ranks(values, config.trainer, run)


_START = tuple(StartOptions.model_fields)
"""Keys that are about one start and no part of the run."""


def run_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the settings that concern this start alone.

    Args:
        values: The resolved configuration of hep2gan-train.

    Returns:
        The configuration without the keys of `StartOptions`.
    """
    return {key: value for key, value in values.items() if key not in _START}


def _preflight(
    config: TrainConfig,
    run: RunFolder,
    invalid: Mapping[str, Hep2ganError],
    notes: Sequence[str],
    *,
    doctor: bool,
) -> None:
    """Check everything, start nothing.

    With doctor=true the results are printed, and the exit status is 2 where something prevents
    the start; otherwise an error lists it.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    from hep2gan.training.preflight import run_preflight
    from hep2gan.training.preflight_report import Note

    report = run_preflight(config, run, invalid)
    report.add("settings", map(Note, notes))
    if not doctor:
        report.require(str(run.path))
    for line in report.lines():
        log.info(line)
    if report.problems:
        sys.exit(2)


class _LateFileHandler(logging.FileHandler):
    """Makes the file, and the folder for it, when there is something to write."""

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


@contextmanager
def _log_file(run: RunFolder, config: TrainConfig) -> Iterator[None]:
    """Keep the messages of the first rank in train.log; a finished run is left alone."""
    if run.done_with(config.to_plain()) or os.environ.get("RANK", "0") != "0":
        yield
        return
    handler = _LateFileHandler(
        run.path / "train.log", delay=True, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
