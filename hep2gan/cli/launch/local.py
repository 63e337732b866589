"""From one composed configuration to the processes that train it, under every launcher."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores
from hep2gan.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


log = logging.getLogger(__name__)

Config = Mapping[str, Any]

# How long ranks may take to finish their batch and save before they are killed.
_GRACE_SECONDS = "120"


def launch(config: Config) -> None:
    """Train, in this process or in one for each device, and return when all is done.

    In a process that torchrun or srun started as one of the ranks it takes that rank's place;
    otherwise it starts the ranks of this machine itself, from this very configuration and not from
    the command line, which in a sweep is another one.

    Args:
        config: resolved, with `trusted`, and `doctor` where nothing but the checks is asked for.
    """
    # Before anything is logged, which opens train.log.
    run = RunFolder.from_config(config)
    run.refuse_links()
    trusted = config["trusted"]
    if not isinstance(trusted, list) or not all(name and isinstance(name, str) for name in trusted):
        fact, rule = f"trusted is {trusted!r}", "it must be a list of packages"
        raise Hep2ganError(fact, rule, "set trusted=[mylab.nets], for example")
    if config.get("doctor"):
        _preflight(config, run)
        return
    counts = [config["trainer"][key] for key in ("devices", "nodes")]
    # Wrong counts are refused with everything else that is wrong, by a single process.
    ranks = math.prod(counts) if all(isinstance(n, int) and n > 0 for n in counts) else 1
    if _srun_tasks() == ranks > 1:
        _adopt_srun_rank(config)
    started = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else None
    if started is not None and started != ranks:
        raise Hep2ganError(
            f"{started} processes were started, the configuration has {ranks}"
            f" ({config['trainer']['nodes']} nodes of {config['trainer']['devices']} devices)",
            "each rank is one device",
            "set trainer.devices and trainer.nodes to what the launcher starts, or trainer=ddp",
        )
    # A forest needs no ranks.
    if ranks == 1 or started is not None or config["forest"]:
        from hep2gan.training.run import train_run

        train_run(run_settings(config), run, config["trusted"])
    else:
        _launch_ranks(config)


def run_settings(config: Config) -> dict[str, Any]:
    """The settings of a run, without those of this start alone."""
    return {key: value for key, value in config.items() if key not in ("trusted", "doctor")}


def _preflight(config: Config, run: RunFolder) -> None:
    """Check everything, start nothing; exit status 2 where something stands in the way."""
    if os.environ.get("RANK", "0") != "0":
        return
    from hep2gan.training.preflight import run_preflight

    report = run_preflight(run_settings(config), run, config["trusted"])
    for line in report.lines():
        log.info(line)
    if report.problems:
        sys.exit(2)


@contextmanager
def config_file(config: Config) -> Iterator[Path]:
    """A temporary file with the configuration, for `hep2gan.cli.worker`."""
    file = Path(tempfile.gettempdir()) / f"hep2gan-{uuid.uuid4().hex}.json"
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(dict(config), out)
        yield file
    finally:
        file.unlink(missing_ok=True)


class _Node(NamedTuple):
    """This machine among those of the run. endpoint: host and port of the first one."""

    number: int
    endpoint: str
    job: str


def _launch_ranks(config: Config) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from hep2gan.training.devices import require_devices
    from hep2gan.training.signals import RunStopped, stop_signals

    settings = config["trainer"]
    require_devices(settings["accelerator"], settings["devices"])
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    node = _node(settings["nodes"])
    rendezvous: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    if node:
        rendezvous = {
            "rdzv_backend": "static",
            "rdzv_endpoint": node.endpoint,
            "rdzv_configs": {"rank": node.number, "timeout": 900},
        }
    agent = LaunchConfig(
        min_nodes=settings["nodes"],
        max_nodes=settings["nodes"],
        nproc_per_node=settings["devices"],
        run_id=node.job if node else uuid.uuid4().hex,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        signals_to_handle=",".join(number.name for number in stop_signals()),
        **rendezvous,
    )
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    stop_signal: int | None = None
    try:
        with config_file(config) as file, _environment(settings["devices"]):
            elastic_launch(agent, sys.executable)("-m", "hep2gan.cli.worker", str(file))
    except SignalException as stop:
        stop_signal = int(stop.sigval)
    except ChildFailedError as error:
        stop_signal = _signal_or_raise(error, Path(config["run_dir"]))
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
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": _GRACE_SECONDS,
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


def _adopt_srun_rank(config: Config) -> None:
    """Let srun's task k be rank k, when it started one task for each device."""
    if "RANK" in os.environ:
        return
    node = _slurm_node()
    address, _, port = node.endpoint.rpartition(":")
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "GROUP_RANK": os.environ["SLURM_NODEID"],
        "LOCAL_WORLD_SIZE": str(config["trainer"]["devices"]),
        "WORLD_SIZE": str(config["trainer"]["devices"] * config["trainer"]["nodes"]),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }


def _node(nodes: int) -> _Node | None:
    if nodes == 1:
        return None
    if _srun_tasks() == nodes:
        return _slurm_node()
    raise Hep2ganError(
        f"trainer.nodes is {nodes}",
        "a launcher starts one process on each machine: srun, or torchrun with --nnodes",
        f"use hydra/launcher=slurm, or torchrun --nnodes {nodes} --nproc-per-node N … -m"
        f" hep2gan.cli.train trainer=ddp trainer.nodes={nodes} trainer.devices=N",
    )


def _slurm_node() -> _Node:
    hosts = subprocess.run(
        ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    job = os.environ["SLURM_JOB_ID"]
    # Every node must compute the same port by itself; jobs that share a node need different ones.
    port = 20000 + int(job) % 10000
    return _Node(int(os.environ["SLURM_NODEID"]), f"{hosts[0]}:{port}", job)
