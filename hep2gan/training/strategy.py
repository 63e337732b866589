"""DDP for three networks that take turns: each backward reduces its own network's gradients."""

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.strategies import DDPStrategy, Strategy
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hep2gan.training.module import SegmentationGuidedClassification

Hook = Callable[[Any, Any], torch.futures.Future[Tensor]]


class PerNetworkDDP(DDPStrategy):
    """Wrap each of the module's `optimized_modules` by itself, not the module as a whole.

    Lightning's own strategy puts one DistributedDataParallel around everything; with three
    backward passes a step it raises, or, looking for unused parameters, reduces every network's
    gradients three times. Here a step moves each trained gradient once, overlapped with the
    backward that makes it, and the names in checkpoints stay as they are.

    hook: a communication hook for every part, with a state of its own: (state, hook).
    """

    def __init__(self, hook: tuple[Any, Hook] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hook = hook
        self._bare: dict[str, nn.Module] = {}

    def configure_ddp(self) -> None:
        """Called by Lightning in place of wrapping the whole module."""
        task = self.lightning_module
        assert isinstance(task, SegmentationGuidedClassification)
        self._bare = task.optimized_modules
        task.optimized_modules = {name: self._wrapped(m) for name, m in self._bare.items()}

    def _wrapped(self, part: nn.Module) -> nn.Module:
        if not any(parameter.requires_grad for parameter in part.parameters()):
            return part
        wrapped = DistributedDataParallel(
            part,
            device_ids=self.determine_ddp_device_ids(),
            # `sync_batch_norm_statistics` averages them once an epoch.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
        if self._hook:
            wrapped.register_comm_hook(*self._hook)
        return wrapped

    def teardown(self) -> None:
        """Give the bare networks back to the task."""
        task = self.lightning_module
        if isinstance(task, SegmentationGuidedClassification) and self._bare:
            task.optimized_modules = self._bare
        super().teardown()


class SyncBatchNormConversion(LayerSync):
    """Batch statistics over all devices, for torch's layers and for timm's.

    Lightning's own plugin takes timm's layers of batch normalisation with activation, which
    Xception has, for plain ones, and loses the activation.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Exchange the layers within `model`, before training; parameters stay the same objects."""
        return cast(nn.Module, convert_sync_batchnorm(model))

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave them: outside of training such a layer is an ordinary one."""
        return model


def devices_and_strategy(settings: Any, *plugins: Any) -> dict[str, Any]:
    """Return the Trainer's arguments for one device, or for the ranks that were started."""
    several = settings["devices"] * settings["nodes"] > 1
    # Named, since Lightning would else guess Slurm from the environment and take its signals over.
    environment = TorchElasticEnvironment() if several else LightningEnvironment()
    strategy: Strategy | str = PerNetworkDDP() if several else "auto"
    synchronised = [SyncBatchNormConversion()] if several and settings.get("sync_batchnorm") else []
    return {
        "accelerator": settings["accelerator"],
        "devices": settings["devices"],
        "num_nodes": settings["nodes"],
        "strategy": strategy,
        "plugins": [environment, *plugins, *synchronised],
    }


def disable_lightning_signal_handlers(trainer: L.Trainer) -> None:
    """Keep Lightning from answering SIGTERM, which it does with a collective inside the handler.

    It also broadcasts a flag and waits for the device before every batch; ours travels beside the
    training (see `StopConsensus`).
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
