"""From one composed configuration to the processes that train it, under every launcher."""

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hep2gan.cli.launch.idle import keys_without_effect
from hep2gan.cli.settings import StartOptions
from hep2gan.config import TrainConfig, TrainerSettings, parse_sound_part
from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores
from hep2gan.runs.folder import RunFolder
from hep2gan.settings import parse

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


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
    run = RunFolder.from_config(values)
    run.refuse_links()
    options = parse(StartOptions, {key: values[key] for key in _START if key in values})
    config, invalid = parse_sound_part(run_settings(values), options.trusted)
    idle = keys_without_effect(config.to_plain(), overrides)
    notes = [f"{key} has no effect: {reason}" for key, reason in idle.items()]
    if options.doctor or invalid:
        _preflight(config, run, invalid, notes, doctor=options.doctor)
        return
    for note in notes:
        log.warning(note)
    ranks = config.trainer.world_size
    if _srun_tasks() == ranks > 1:
        _adopt_srun_rank(config.trainer)
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
            train_run(config, run)
    else:
        _launch_ranks(values, config.trainer, run)


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


@contextmanager
def config_file(values: Mapping[str, Any]) -> Iterator[Path]:
    """Write the configuration to a temporary file for `hep2gan.cli.worker`; delete it afterwards.

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


class _Node(NamedTuple):
    """This machine among those of the run. endpoint: host and port of the first one."""

    number: int
    endpoint: str
    job: str


def _launch_ranks(values: Mapping[str, Any], settings: TrainerSettings, run: RunFolder) -> None:
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from hep2gan.training.devices import require_devices
    from hep2gan.training.signals import RunStopped, stop_signals

    require_devices(settings.accelerator, settings.devices)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    node = _node(settings.num_nodes)
    agent = LaunchConfig(
        min_nodes=settings.num_nodes,
        max_nodes=settings.num_nodes,
        nproc_per_node=settings.devices,
        run_id=node.job if node else uuid.uuid4().hex,
        rdzv_backend="static" if node else "c10d",
        rdzv_endpoint=node.endpoint if node else "localhost:0",
        rdzv_configs={"rank": node.number, "timeout": 600} if node else {},
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle=",".join(number.name for number in stop_signals()),
    )
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    stop_signal: int | None = None
    try:
        with config_file(values) as file, _environment(settings.devices):
            elastic_launch(agent, sys.executable)("-m", "hep2gan.cli.worker", str(file))
    except SignalException as stop:
        stop_signal = int(stop.sigval)
    except ChildFailedError as error:
        stop_signal = _signal_or_raise(error, run.path)
    except (DistError, RendezvousError) as error:
        raise Hep2ganError(
            f"the {settings.num_nodes} machines of the run have not met ({str(error)[:200]})",
            "a run needs all of them",
            "check that they reach each other, and run the same command again",
        ) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if stop_signal is not None:
        handler = handlers.get(signal.Signals(stop_signal))
        # Slurm's launcher puts the job into the queue again in its handler.
        if callable(handler) and handler is not signal.default_int_handler:
            handler(stop_signal, None)
        raise RunStopped(stop_signal)


def _signal_or_raise(error: "ChildFailedError", run: Path) -> int:
    """The signal that the ranks stopped for; else raise which rank failed, and how."""
    from hep2gan.training.distributed import worker_log
    from hep2gan.training.signals import EXIT_STATUS

    # When one rank dies the others fail too, or are terminated. The cause is the one that a signal
    # killed, or else the one that printed an error of its own (status 2).
    likelihood = {2: 1, 1: 3, -signal.SIGTERM: 4}

    def order(item: tuple[int, Any]) -> tuple[int, int]:
        rank, status = item[0], item[1].exitcode
        return likelihood.get(status, 0 if status < 0 else 2), rank

    rank, failure = min(error.failures.items(), key=order)
    status = failure.exitcode
    stops = {143: signal.SIGTERM} | {number: name for name, number in EXIT_STATUS.items()}
    if status in stops:
        return int(stops[status])
    if rank == 0 and status == 2:
        sys.exit(2)  # It has printed why.
    how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
    advice = f"read {worker_log(run, rank)}; then " if rank else ""
    raise Hep2ganError(
        f"rank {rank} ended with {how}",
        "a run needs all of its ranks",
        f"{advice}give the same command again: the run resumes from its last checkpoint",
    )


@contextmanager
def _environment(ranks: int) -> Iterator[None]:
    """Share the CPU's cores among the ranks; more threads than cores slow all of them down."""
    variables = {
        "OMP_NUM_THREADS": str(max(1, available_cores() // ranks)),
        # Seconds that ranks may take to finish their batch and save before they are killed.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "120",
    }
    new = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


# ---------------------------------------------------------------------- Slurm


def _srun_tasks() -> int | None:
    """Tasks of the srun step that this process is one of; None outside Slurm's steps."""
    if "SLURM_STEP_ID" not in os.environ or "SLURM_PROCID" not in os.environ:
        return None
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1")))


def _adopt_srun_rank(settings: TrainerSettings) -> None:
    """Let srun's task k be rank k, when it started one task for each device."""
    if "RANK" in os.environ:
        return
    node = _slurm_node()
    address, _, port = node.endpoint.rpartition(":")
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "GROUP_RANK": os.environ["SLURM_NODEID"],
        "LOCAL_WORLD_SIZE": str(settings.devices),
        "WORLD_SIZE": str(settings.world_size),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }


def _node(nodes: int) -> _Node | None:
    if nodes == 1:
        return None
    if _srun_tasks() == nodes:
        return _slurm_node()
    raise Hep2ganError(
        f"trainer.num_nodes is {nodes}",
        "a launcher starts one process on each machine: srun, or torchrun with --nnodes",
        f"use hydra/launcher=slurm, or torchrun --nnodes {nodes} --nproc-per-node N … -m"
        f" hep2gan.cli.train trainer=ddp trainer.num_nodes={nodes} trainer.devices=N",
    )


def _slurm_node() -> _Node:
    from hep2gan.cli.launch.slurm import hostnames

    hosts = hostnames(os.environ["SLURM_JOB_NODELIST"])
    job = os.environ["SLURM_JOB_ID"]
    # Every node must compute the same port by itself; jobs that share a node need different ones.
    port = 20000 + int(job) % 10000
    return _Node(int(os.environ["SLURM_NODEID"]), f"{hosts[0]}:{port}", job)
