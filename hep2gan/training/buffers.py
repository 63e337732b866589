"""Buffers of batch normalisation over several ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hep2gan.training import distributed


def average_statistics(task: nn.Module) -> None:
    """Make all ranks' buffers equal: running statistics averaged, the rest as on rank 0.

    Each rank has seen its share of every batch; Lightning would keep rank 0's statistics alone,
    and evaluate the others with their own. All ranks must call it.
    """
    if distributed.world() == 1:
        return
    averaged = list(running_statistics(task).values())
    seen = {id(tensor) for tensor in averaged}
    others = [b for b in task.buffers() if id(b) not in seen and b.numel()]
    if averaged:
        # Two copies between host and device, not two a layer.
        together = torch.cat([tensor.detach().reshape(-1).double() for tensor in averaged]).cpu()
        dist.all_reduce(together, group=distributed.host_group())
        together = (together / distributed.world()).to(averaged[0].device)
        for tensor, mean in zip(
            averaged, torch.split(together, [t.numel() for t in averaged]), strict=True
        ):
            tensor.copy_(mean.view_as(tensor))
    for tensor in others:
        value = tensor.detach().cpu()
        dist.broadcast(value, src=0, group=distributed.host_group())
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
