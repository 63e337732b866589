"""The ranks of a run, a process for each device: started here, or by srun on each machine."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hep2gan.cli.worker import config_file
from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores
from hep2gan.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

_SECONDS_TO_SAVE = 120
"""Seconds that ranks may take to finish their batch and save before they are killed; a user's
TORCH_ELASTIC_SHUTDOWN_TIMEOUT comes first."""


class _Node(NamedTuple):
    """This machine among those of the run. endpoint: host and port of the first one."""

    number: int
    endpoint: str
    job: str


def launch_ranks(values: Mapping[str, Any], settings: TrainerSettings, run: RunFolder) -> None:
    """Start a process for each device of this machine, and wait until all have ended.

    Args:
        values: The resolved configuration, in plain containers.
        settings: Its group `trainer`.
        run: The run's folder.

    Raises:
        Hep2ganError: A device or a machine is missing, or a rank failed.
        RunStopped: A signal stopped the run.
    """
    from hydra.core.utils import env_override
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from hep2gan.training.devices import require_devices
    from hep2gan.training.signals import RunStopped, stop_signals
    from hep2gan.training.torch_versions import launch_options, shutdown_seconds, stopping_ranks

    require_devices(settings)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    node = _node(settings.num_nodes)
    stops = stop_signals(), shutdown_seconds(_SECONDS_TO_SAVE)
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
        **launch_options(*stops),
    )
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    stop_signal: int | None = None
    try:
        with (
            config_file(values) as file,
            env_override(_environment(settings.devices)),
            stopping_ranks(*stops),
        ):
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


def _environment(ranks: int) -> dict[str, str]:
    """Variables of the ranks; those that the user has set stay as they are."""
    variables = {
        # More threads than cores slow all of them down.
        "OMP_NUM_THREADS": str(max(1, available_cores() // ranks)),
    }
    return {name: os.environ.get(name, value) for name, value in variables.items()}


# ---------------------------------------------------------------------- Slurm


def _srun_tasks() -> int | None:
    """Tasks of the srun step that this process is one of; None outside Slurm's steps."""
    if "SLURM_STEP_ID" not in os.environ or "SLURM_PROCID" not in os.environ:
        return None
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1")))


def adopt_srun_rank(settings: TrainerSettings) -> None:
    """Let srun's task k be rank k, when it started one task for each device.

    Args:
        settings: The group `trainer` of the configuration.
    """
    if not _srun_tasks() == settings.world_size > 1 or "RANK" in os.environ:
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
