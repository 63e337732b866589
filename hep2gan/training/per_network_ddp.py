"""DDP for networks that take turns, such as a GAN's: each is wrapped by itself.

It knows nothing of this project's networks: any LightningModule with `optimized_modules` can use
it, see docs/ddp.md.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.training.torch_versions import wrap_in_ddp


class TakesTurns(Protocol):
    """What `PerNetworkDDP` needs of a LightningModule, which optimizes by hand.

    Attributes:
        optimized_modules: What each backward pass trains, by any name; together they hold every
            trained parameter. It is a plain dict beside the attributes that hold the networks, so
            that names in checkpoints stay as they are. While it is trained on several ranks, its
            values are the wrapped networks: what a backward is to train is called through it.
            Networks that only judge or generate are called by their own attributes, frozen
            (`toggle_optimizer`) or under `torch.no_grad`.
    """

    optimized_modules: dict[str, nn.Module]


class PerNetworkDDP(DDPStrategy):
    """Wrap each of the module's `optimized_modules` by itself, not the module as a whole.

    Lightning's own strategy puts one DistributedDataParallel around everything; with several
    backward passes a step it raises, or, looking for unused parameters, reduces every network's
    gradients at every pass. Here a step moves each trained gradient once, overlapped with the
    backward that makes it, and the names in checkpoints stay as they are.

    Buffers are not sent: running statistics of batch normalisation differ between ranks, and a
    checkpoint has those of rank 0, unless the layers are synchronised (`sync_batchnorm=True` of
    the Trainer) or averaged (`distributed.sync_batch_norm_statistics` does so here).

    Args:
        stream: The stream of a GPU on which the wrappers are made, and with them the nodes that add
            up gradients: that of a CUDA graph which will hold the step. None for the current one.
        **options: Those of DDPStrategy; what it hands to DistributedDataParallel goes to each
            network's.

    Raises:
        Hep2ganError: An option is about one wrapper around everything.
    """

    def __init__(
        self, *, stream: Callable[[torch.device], torch.cuda.Stream] | None = None, **options: Any
    ) -> None:
        of_one = {"ddp_comm_state", "ddp_comm_hook", "ddp_comm_wrapper", "model_averaging_period"}
        if given := sorted(of_one & options.keys()):
            raise Hep2ganError(
                f"PerNetworkDDP was given {', '.join(given)}",
                "each network has a wrapper of its own, and a hook a state for each",
                "leave it out, and call register_comm_hook of the wrapped networks in a subclass's"
                " configure_ddp",
            )
        super().__init__(**options)
        self._stream = stream

    def configure_ddp(self) -> None:
        """Called by Lightning in place of wrapping the whole module.

        Raises:
            Hep2ganError: The module does not say which networks it trains, or not of all.
        """
        task = _checked(self.lightning_module)
        task.optimized_modules = {
            name: self._wrapped(part) for name, part in task.optimized_modules.items()
        }

    def _wrapped(self, part: nn.Module) -> nn.Module:
        if not any(parameter.requires_grad for parameter in part.parameters()):
            return part
        options = {"gradient_as_bucket_view": True} | self._ddp_kwargs
        on_gpu = self.root_device.type == "cuda"
        with torch.cuda.stream(self._stream(self.root_device) if self._stream and on_gpu else None):
            return wrap_in_ddp(part, device_ids=self.determine_ddp_device_ids(), **options)

    def teardown(self) -> None:
        """Give the bare networks back to the module."""
        parts = getattr(self.lightning_module, "optimized_modules", None)
        if isinstance(parts, dict):
            cast(TakesTurns, self.lightning_module).optimized_modules = {
                name: part.module if isinstance(part, DistributedDataParallel) else part
                for name, part in parts.items()
            }
        super().teardown()


def _checked(module: nn.Module | None) -> TakesTurns:
    """The module, where its `optimized_modules` hold all that is trained."""
    assert module is not None
    parts = getattr(module, "optimized_modules", None)
    if not isinstance(parts, dict) or not parts:
        raise Hep2ganError(
            f"{type(module).__name__} has no dict optimized_modules",
            "PerNetworkDDP wraps each network that a backward pass trains by itself",
            "set self.optimized_modules = {name: network, …} in __init__",
        )
    held = {id(parameter) for part in parts.values() for parameter in part.parameters()}
    missing = [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in held
    ]
    if missing:
        raise Hep2ganError(
            f"optimized_modules of {type(module).__name__} lack what it trains\n"
            f"{bullet_list(missing, limit=5)}\n",
            "their gradients would differ between the ranks",
            "add the network that holds them, or set requires_grad=False",
        )
    return cast(TakesTurns, module)
