"""The ranks of a run: joining them, collectives on the host, one stop and one set of statistics."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _NormBase

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.runs.folder import config_diff
from hep2gan.training.devices import choose_process_group_backend, device_of_rank, resolve_device
from hep2gan.training.signals import SignalHandler
from hep2gan.training.torch_versions import let_gloo_settle

_TO_COME = timedelta(minutes=10)
"""For the ranks to come together at the start."""
_TO_ANSWER = timedelta(minutes=30)
"""For a rank that saves or evaluates while the others wait."""
_TO_PREPARE = timedelta(hours=6)
"""For rank 0 to make and pack a store while the others wait."""

host_group: dist.ProcessGroup | None = None
"""The gloo group for tensors on the host, apart from the gradients' group; None in one process."""

_store: Store | None = None
"""What the ranks met in."""


def is_first_process() -> bool:
    """Whether this process is the only one of the run, or the first of those that were started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def world_size() -> int:
    """Number of ranks that train this run; 1 before `init_process_group`."""
    return dist.get_world_size() if host_group else 1


def rank() -> int:
    """This process's number among the ranks; rank 0 writes."""
    return dist.get_rank() if host_group else 0


def init_process_group(settings: TrainerSettings) -> None:
    """Join the other ranks that torchrun or `launch` started, by NCCL or gloo.

    Args:
        settings: The group `trainer` of the configuration.

    Raises:
        Hep2ganError: This rank has no GPU, NCCL cannot work so, or the others do not come.
    """
    global host_group, _store
    launched = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not launched or host_group:
        return
    options: dict[str, Any] = {"backend": choose_process_group_backend(settings)}
    if resolve_device(settings.accelerator, "trainer.accelerator").type == "cuda":
        device = _own_gpu(settings.share_device)
        if options["backend"] == "nccl":
            options["device_id"] = device
    _store, number, ranks = _meet()
    met = PrefixStore("default", _store)
    dist.init_process_group(store=met, rank=number, world_size=ranks, timeout=_TO_ANSWER, **options)
    host_group = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_TO_ANSWER))


def _own_gpu(share: bool) -> torch.device:
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    device = device_of_rank(local, gpus, share)
    if device is None:
        raise Hep2ganError(
            f"rank {os.environ['RANK']} has no GPU of its own ({gpus} here, {local + 1} or more"
            " needed)",
            "each rank of a node needs one",
            "set trainer.devices to the GPUs of a node, or trainer.accelerator=cpu; to try several"
            " ranks on one card, trainer.share_device=true",
        )
    torch.cuda.set_device(device)
    return device


def _meet() -> tuple[Store, int, int]:
    """The store in which all ranks have come together, this rank's number and that of all."""
    try:
        store, rank, size = next(rendezvous("env://", timeout=_TO_COME))
        store.set(f"here/{rank}", "")
        store.wait([f"here/{other}" for other in range(size)], _TO_COME)
    except (dist.DistError, RuntimeError, ValueError) as error:
        number, ranks, *place = (
            os.environ.get(name, "?")
            for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        )
        raise Hep2ganError(
            f"rank {number} has not met all of {ranks} ranks at {':'.join(place)}"
            f" ({str(error).splitlines()[0][:200]})",
            f"the ranks of a run come together within {_TO_COME.total_seconds() / 60:g} minutes",
            "start all of them at once, with MASTER_ADDR and MASTER_PORT of the machine of rank 0,"
            " which the others can reach; or leave torchrun out on one machine",
        ) from error
    return store, rank, size


def destroy_process_group() -> None:
    """Leave the other ranks; nothing to do in a single process."""
    global host_group, _store
    if host_group:
        let_gloo_settle()
        host_group = _store = None
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
        if _answer_of_rank_zero() != b"begun":
            raise Hep2ganError("rank 0 could not begin", "the ranks of a run begin together")
        yield
        return
    answer = "failed"
    try:
        yield
        answer = "begun"
    finally:
        if _store:
            _store.set(_ANSWER, answer)


_ANSWER = "rank zero"


def _answer_of_rank_zero() -> bytes:
    """What rank 0 says when it is ready; asked for, since it may take longer than a collective."""
    assert _store is not None
    end = time.monotonic() + _TO_PREPARE.total_seconds()
    while not _store.check([_ANSWER]):
        if time.monotonic() > end:
            hours = _TO_PREPARE.total_seconds() / 3600
            raise Hep2ganError(
                f"rank 0 has not begun within {hours:g} hours",
                "the others wait while it makes and packs the cells",
                "pack the store first, by hep2gan-pack",
            )
        time.sleep(0.05)
    return bytes(_store.get(_ANSWER))


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
