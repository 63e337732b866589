"""The ranks of a run: joining them, collectives on the host, one stop and one set of statistics."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.runs.folder import config_diff
from hep2gan.training.signals import SignalHandler

# Long enough for one rank to pack a store while the others wait.
_TIMEOUT = timedelta(hours=6)

host_group: dist.ProcessGroup | None = None
"""The gloo group for tensors on the host, apart from the gradients' group; None in one process."""


def is_first_process() -> bool:
    """Whether this process is the only one of the run, or the first of those that were started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def world_size() -> int:
    """Number of ranks that train this run; 1 before `init_process_group`."""
    return dist.get_world_size() if host_group else 1


def rank() -> int:
    """This process's number among the ranks; rank 0 writes."""
    return dist.get_rank() if host_group else 0


def init_process_group(accelerator: str) -> None:
    """Join the other ranks that torchrun or `launch` started: NCCL on GPUs, gloo on the CPU.

    Args:
        accelerator: "cpu", "gpu" or "auto".

    Raises:
        Hep2ganError: This rank has no GPU of its own.
    """
    global host_group
    launched = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not launched or host_group:
        return
    if accelerator != "cpu" and torch.cuda.is_available():
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise Hep2ganError(
                f"rank {os.environ['RANK']} has no GPU of its own ({gpus} here, {local + 1} or more"
                " needed)",
                "each rank of a node needs one",
                "set trainer.devices to the GPUs of a node, or trainer.accelerator=cpu",
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=_TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=_TIMEOUT)
    host_group = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_TIMEOUT))


def destroy_process_group() -> None:
    """Leave the other ranks; nothing to do in a single process."""
    global host_group
    if host_group:
        host_group = None
        dist.destroy_process_group()


def barrier() -> None:
    """Wait until every rank has come here."""
    if host_group:
        dist.barrier(host_group)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Run the block on rank 0, then on the others, which find what it wrote.

    Where rank 0 fails the others raise Hep2ganError: left in the wait they would not hear that the
    launcher wants them to end.
    """
    if rank() > 0:
        if not broadcast(None):
            raise Hep2ganError("rank 0 could not begin", "the ranks of a run begin together")
        yield
        return
    succeeded = False
    try:
        yield
        succeeded = True
    finally:
        broadcast(succeeded)


def gather(value: Any) -> list[Any]:
    """Gather the values of all ranks on rank 0.

    Args:
        value: This rank's value; it must be picklable.

    Returns:
        The values in the order of the ranks; an empty list on ranks other than 0.
    """
    if not host_group:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.gather_object(value, values if rank() == 0 else None, group=host_group)
    return values if rank() == 0 else []


def broadcast(value: Any) -> Any:
    """Send rank 0's value to every rank.

    Args:
        value: The value; only that of rank 0 counts, and it must be picklable.

    Returns:
        Rank 0's value.
    """
    if not host_group:
        return value
    values = [value]
    dist.broadcast_object_list(values, group=host_group)
    return values[0]


def check_same_config(config: Mapping[str, Any]) -> None:
    """Check, on every rank, that all were started with the same configuration.

    Args:
        config: This rank's configuration, in plain containers.

    Raises:
        Hep2ganError: The configurations of two ranks differ.
    """
    configs = broadcast(gather(dict(config)))
    for other, theirs in enumerate(configs):
        if differences := [text for _, text in config_diff(configs[0], theirs)]:
            raise Hep2ganError(
                f"rank 0 and rank {other} were started with different configurations\n"
                f"{bullet_list(differences)}\n",
                "the ranks of a run train one configuration",
                "start each rank with the same command line",
            )


def exit_with_parent() -> None:
    """On Linux, let the kernel end this process when the one that started it dies.

    Otherwise ranks whose launcher was killed would keep writing beside those of the next start.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


def redirect_worker_output(folder: Path) -> None:
    """Redirect what ranks other than 0 print to rank<k>.log.

    Args:
        folder: The run's folder, created if it does not exist.
    """
    if rank() == 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with worker_log(folder, rank()).open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def worker_log(folder: Path, number: int) -> Path:
    """Return the file that a rank other than 0 prints to.

    Args:
        folder: The run's folder.
        number: The rank.

    Returns:
        Path of the file, which need not exist.
    """
    return folder / f"rank{number}.log"


class StopConsensus:
    """Let all ranks stop after the same batch when one of them was asked to.

    Polled after every batch, it starts a reduction of one number on the host and returns the result
    of the batch before: no rank waits for the network, nor for a GPU.

    Args:
        handler: Receives the signals of this process.
    """

    def __init__(self, handler: SignalHandler) -> None:
        self._handler = handler
        self._pending: tuple[Any, Tensor] | None = None
        self._agreed: int | None = None

    def poll(self) -> int | None:
        """Return the signal to stop for, the same on every rank; None to continue."""
        agreed = self.wait()
        if world_size() > 1:
            flag = torch.tensor(self._handler.signum or 0)
            self._pending = (
                dist.all_reduce(flag, dist.ReduceOp.MAX, host_group, async_op=True),
                flag,
            )
        return agreed

    def wait(self) -> int | None:
        """Wait for the reduction of the last poll, and return the signal to stop for, or None."""
        if world_size() == 1:
            return self._handler.signum
        if self._pending is not None:
            work, flag = self._pending
            work.wait()
            self._pending = None
            self._agreed = self._agreed or int(flag) or None
        return self._agreed


def sync_batch_norm_statistics(task: nn.Module) -> None:
    """Make the buffers of all ranks equal: running statistics averaged, the rest as on rank 0.

    Each rank has seen its share of every batch; Lightning would keep rank 0's statistics alone, and
    evaluate the others with their own. All ranks must call it.

    Args:
        task: The module, whose buffers are changed in place.
    """
    if world_size() == 1:
        return
    statistics = list(running_statistics(task).values())
    averaged = {id(tensor) for tensor in statistics}
    others = [b for b in task.buffers() if id(b) not in averaged and b.numel()]
    if statistics:
        # Two copies between host and device, not two a layer.
        flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in statistics]).cpu()
        dist.all_reduce(flat, group=host_group)
        means = torch.split(
            (flat / world_size()).to(statistics[0].device), [t.numel() for t in statistics]
        )
        for tensor, mean in zip(statistics, means, strict=True):
            tensor.copy_(mean.view_as(tensor))
    for tensor in others:
        value = tensor.detach().cpu()
        dist.broadcast(value, src=0, group=host_group)
        tensor.copy_(value)


def running_statistics(task: nn.Module) -> dict[str, Tensor]:
    """Collect the running statistics of batch normalisation.

    Args:
        task: The module.

    Returns:
        Means and variances by their names in the state_dict.
    """
    return {
        f"{name}.{kind}" if name else kind: tensor
        for name, module in task.named_modules()
        if isinstance(module, _NormBase)
        for kind in ("running_mean", "running_var")
        if (tensor := getattr(module, kind)) is not None
    }
