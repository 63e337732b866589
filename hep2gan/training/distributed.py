"""The processes that train one run together: who this one is, and talk between them on the host."""

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
_PATIENCE = timedelta(hours=6)


class _Host:
    """The gloo group for the host's talk, apart from the gradients' group."""

    group: dist.ProcessGroup | None = None


def is_first_process() -> bool:
    """Whether this process is the only one of the run, or the first of those that were started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def is_launched() -> bool:
    """Whether a launcher (torchrun or ours) started this process as one of several ranks."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def world_size() -> int:
    """Number of ranks that train this run; 1 before `init_process_group`."""
    return dist.get_world_size() if _Host.group else 1


def rank() -> int:
    """This process's number among them; rank 0 writes."""
    return dist.get_rank() if _Host.group else 0


def host_group() -> dist.ProcessGroup | None:
    """The group for tensors on the CPU; None in a process on its own."""
    return _Host.group


def init_process_group(accelerator: str) -> None:
    """Meet the other ranks (NCCL on GPUs, gloo on the CPU); nothing to do in a single process."""
    if not is_launched() or _Host.group:
        return
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    if on_gpu:
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise Hep2ganError(
                f"rank {os.environ['RANK']} has no GPU of its own ({torch.cuda.device_count()}"
                f" here, {local + 1} or more wanted)",
                "each rank of a node needs one",
                "set trainer.devices to the GPUs of a node, or trainer.accelerator=cpu",
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=_PATIENCE, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=_PATIENCE)
    _Host.group = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_PATIENCE))


def destroy_process_group() -> None:
    """Say goodbye to the other ranks."""
    if _Host.group:
        _Host.group = None
        dist.destroy_process_group()


def barrier() -> None:
    """Go on when every rank has come here."""
    if _Host.group:
        dist.barrier(_Host.group)


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Rank 0 does the block alone, then the others do: they find what it wrote.

    Where rank 0 fails the others raise Hep2ganError: left in the wait they would not hear that the
    launcher wants them to end.
    """
    if rank() > 0:
        if not broadcast(None):
            raise Hep2ganError("rank 0 could not begin", "the ranks of a run begin together")
        yield
        return
    went_well = False
    try:
        yield
        went_well = True
    finally:
        broadcast(went_well)


def gather(part: Any) -> list[Any]:
    """`part` of every rank, in their order, on rank 0; an empty list on the others."""
    if not _Host.group:
        return [part]
    parts: list[Any] = [None] * world_size()
    dist.gather_object(part, parts if rank() == 0 else None, group=_Host.group)
    return parts if rank() == 0 else []


def broadcast(value: Any) -> Any:
    """What rank 0 has."""
    if not _Host.group:
        return value
    box = [value]
    dist.broadcast_object_list(box, group=_Host.group)
    return box[0]


def check_same_config(config: Mapping[str, Any]) -> None:
    """Raise Hep2ganError, on every rank, unless all were started with the same configuration."""
    if not _Host.group:
        return
    every: list[Any] = [None] * world_size()
    dist.all_gather_object(every, dict(config), group=_Host.group)
    for other, theirs in enumerate(every):
        if found := [how for _, how in config_diff(every[0], theirs)]:
            raise Hep2ganError(
                f"rank 0 and rank {other} were started with different configurations\n"
                f"{bullet_list(found)}\n",
                "the ranks of a run train one configuration",
                "start each rank with the same command line",
            )


def exit_with_parent() -> None:
    """On Linux, let the kernel end this process when the one that started it dies.

    Else ranks whose launcher was killed would go on writing beside those of the next start.
    """
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def redirect_worker_output(folder: Path) -> None:
    """Send what ranks other than 0 print to rank<k>.log in `folder`."""
    if rank() == 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with worker_log(folder, rank()).open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def worker_log(folder: Path, number: int) -> Path:
    """Where a rank other than 0 leaves what it prints."""
    return folder / f"rank{number}.log"


class StopConsensus:
    """Makes one rank's wish to stop known to all, so that all stop after the same batch.

    Asked after every batch, it starts a reduction of one number on the host and hands out the
    result of the batch before: nobody waits for the network, nor for a GPU.
    """

    def __init__(self, request: SignalHandler) -> None:
        self._request = request
        self._pending: tuple[Any, torch.Tensor] | None = None
        self._agreed: int | None = None

    def ask(self) -> int | None:
        """The signal to stop for, the same on every rank; None to go on."""
        if world_size() == 1:
            return self._request.signum
        agreed = self.settle()
        flag = torch.tensor(self._request.signum or 0)
        work = dist.all_reduce(flag, dist.ReduceOp.MAX, host_group(), async_op=True)
        self._pending = (work, flag)
        return agreed

    def settle(self) -> int | None:
        """Wait for what was asked last."""
        if world_size() == 1:
            return self._request.signum
        if self._pending is not None:
            work, flag = self._pending
            work.wait()
            self._pending = None
            self._agreed = self._agreed or int(flag) or None
        return self._agreed


def sync_batch_norm_statistics(task: nn.Module) -> None:
    """Make all ranks' buffers equal: running statistics averaged, the rest as on rank 0.

    Each rank has seen its share of every batch; Lightning would keep rank 0's statistics alone,
    and evaluate the others with their own. All ranks must call it.
    """
    if world_size() == 1:
        return
    averaged = list(running_statistics(task).values())
    seen = {id(tensor) for tensor in averaged}
    others = [b for b in task.buffers() if id(b) not in seen and b.numel()]
    if averaged:
        # Two copies between host and device, not two a layer.
        together = torch.cat([tensor.detach().reshape(-1).double() for tensor in averaged]).cpu()
        dist.all_reduce(together, group=host_group())
        together = (together / world_size()).to(averaged[0].device)
        for tensor, mean in zip(
            averaged, torch.split(together, [t.numel() for t in averaged]), strict=True
        ):
            tensor.copy_(mean.view_as(tensor))
    for tensor in others:
        value = tensor.detach().cpu()
        dist.broadcast(value, src=0, group=host_group())
        tensor.copy_(value)


def running_statistics(task: nn.Module) -> dict[str, Tensor]:
    """Running means and variances of batch normalisation, by their names in the state_dict."""
    return {
        f"{name}.{kind}" if name else kind: tensor
        for name, module in task.named_modules()
        if isinstance(module, _NormBase)
        for kind in ("running_mean", "running_var")
        if (tensor := getattr(module, kind)) is not None
    }
