"""Updates whose loss or gradients are NaN or infinite: left out."""

import logging
import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from hep2gan.errors import counted
from hep2gan.training import distributed

log = logging.getLogger(__name__)

Policy = Literal["stop", "skip"]
"""At a loss that is not finite: see `nonfinite` and this module."""


class SkipNonfinite:
    """Leave out updates whose total or gradients are not finite, on all ranks alike.

    The device is waited for at every update. Weights and optimizer state of that network stay as
    they are; the running statistics of all networks forget the batch.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, int] = {}
        self.batches = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._in_batch = False

    def begin(self, networks: Iterable[nn.Module]) -> None:
        """Remember the buffers before a batch."""
        self._kept = [(b, b.clone()) for network in networks for b in network.buffers()]
        self._in_batch = False

    def allows(self, name: str, loss: Tensor, optimizer: Optimizer, *, scaled: bool) -> bool:
        """Whether the update may be made; call after the backward pass.

        scaled: gradients are scaled for float16, whose scaler looks after their overflows itself.
        """
        bad = ~loss.detach().isfinite().all()
        if not scaled:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            if gradients := [p.grad for p in parameters if p.grad is not None]:
                # The largest magnitude: a sum of squares would overflow first.
                bad = bad | ~nn.utils.get_total_norm(gradients, math.inf).isfinite()
        if not _on_any_rank(bool(bad)):
            return True
        optimizer.zero_grad()
        self.skipped[name] = self.skipped.get(name, 0) + 1
        self._in_batch = True
        return False

    def end(self) -> bool:
        """Whether the batch counts; puts the buffers back where it does not."""
        if self._in_batch:
            self.batches += 1
            for buffer, before in self._kept:
                buffer.copy_(before)
        return not self._in_batch

    def flush(self, epoch: int, networks: Iterable[str]) -> dict[str, float]:
        """alarm/skipped/<network>: skipped updates of the epoch; starts anew."""
        found, self.skipped, self.batches = self.skipped, {}, 0
        for name, number in found.items():
            log.warning(
                "Epoch %d: skipped %s of the %s, not finite.",
                epoch,
                counted(number, "update"),
                name,
            )
        return {f"alarm/skipped/{name}": float(found.get(name, 0)) for name in networks}

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a checkpoint within an epoch."""
        return {"skipped": dict(self.skipped), "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self.batches = dict(state["skipped"]), state["batches"]


def _on_any_rank(bad: bool) -> bool:
    if distributed.world() == 1:
        return bad
    flag = torch.tensor(int(bad))
    dist.all_reduce(flag, dist.ReduceOp.MAX, distributed.host_group())
    return bool(flag)
