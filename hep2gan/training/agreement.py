"""All ranks stopping after the same batch."""

from typing import Any

import torch
import torch.distributed as dist

from hep2gan.training import distributed
from hep2gan.training.signals import StopRequest


class Agreement:
    """Makes one rank's wish to stop known to all, so that all stop after the same batch.

    Asked after every batch, it starts a reduction of one number on the host and hands out the
    result of the batch before: nobody waits for the network, nor for a GPU.
    """

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self._pending: tuple[Any, torch.Tensor] | None = None
        self._agreed: int | None = None

    def ask(self) -> int | None:
        """The signal to stop for, the same on every rank; None to go on."""
        if distributed.world() == 1:
            return self._request.signum
        agreed = self.settle()
        flag = torch.tensor(self._request.signum or 0)
        work = dist.all_reduce(flag, dist.ReduceOp.MAX, distributed.host_group(), async_op=True)
        self._pending = (work, flag)
        return agreed

    def settle(self) -> int | None:
        """Wait for what was asked last."""
        if distributed.world() == 1:
            return self._request.signum
        if self._pending is not None:
            work, flag = self._pending
            work.wait()
            self._pending = None
            self._agreed = self._agreed or int(flag) or None
        return self._agreed
