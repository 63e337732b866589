"""DDP for three networks that take turns: each backward reduces its own network's gradients."""

from typing import Any, cast

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.strategies import DDPStrategy, Strategy
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hep2gan.config import TrainerSettings
from hep2gan.training.devices import resolve_device
from hep2gan.training.module import SegmentationGuidedClassification


class PerNetworkDDP(DDPStrategy):
    """Wrap each of the module's `optimized_modules` by itself, not the module as a whole.

    Lightning's own strategy puts one DistributedDataParallel around everything; with three
    backward passes a step it raises, or, looking for unused parameters, reduces every network's
    gradients three times. Here a step moves each trained gradient once, overlapped with the
    backward that makes it, and the names in checkpoints stay as they are.
    """

    def configure_ddp(self) -> None:
        """Called by Lightning in place of wrapping the whole module."""
        task = self.lightning_module
        assert isinstance(task, SegmentationGuidedClassification)
        task.optimized_modules = {
            name: self._wrapped(part) for name, part in task.optimized_modules.items()
        }

    def _wrapped(self, part: nn.Module) -> nn.Module:
        if not any(parameter.requires_grad for parameter in part.parameters()):
            return part
        return DistributedDataParallel(
            part,
            device_ids=self.determine_ddp_device_ids(),
            # `sync_batch_norm_statistics` averages them once an epoch.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )

    def teardown(self) -> None:
        """Give the bare networks back to the task."""
        task = self.lightning_module
        if isinstance(task, SegmentationGuidedClassification):
            task.optimized_modules = {
                name: part.module if isinstance(part, DistributedDataParallel) else part
                for name, part in task.optimized_modules.items()
            }
        super().teardown()


class SyncBatchNormConversion(LayerSync):
    """Batch statistics over all devices, for torch's layers and for timm's.

    Lightning's own plugin takes timm's layers of batch normalisation with activation, which
    Xception has, for plain ones, and loses the activation.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the layers in `model` before training; parameters stay the same objects.

        Args:
            model: The module.

        Returns:
            The module with synchronised layers.
        """
        return cast(nn.Module, convert_sync_batchnorm(model))

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave the layers: outside of training a synchronised layer is an ordinary one.

        Args:
            model: The module.

        Returns:
            The same module.
        """
        return model


def devices_and_strategy(settings: TrainerSettings, *plugins: Any) -> dict[str, Any]:
    """Choose the Trainer's arguments for one device, or for the ranks that were started.

    Args:
        settings: The group `trainer` of the configuration.
        plugins: More plugins of the Trainer.

    Returns:
        Arguments of Lightning's Trainer by name.
    """
    several = settings.world_size > 1
    # Named, since Lightning would else guess Slurm from the environment and take its signals over.
    environment = TorchElasticEnvironment() if several else LightningEnvironment()
    strategy: Strategy | str = PerNetworkDDP() if several else "auto"
    synchronised = [SyncBatchNormConversion()] if several and settings.sync_batchnorm else []
    return {
        # Named, since Lightning would take a Mac's GPU for auto and for gpu.
        "accelerator": resolve_device(settings.accelerator).type,
        "devices": settings.devices,
        "num_nodes": settings.num_nodes,
        "strategy": strategy,
        "plugins": [environment, *plugins, *synchronised],
    }


def disable_lightning_signal_handlers(trainer: L.Trainer) -> None:
    """Stop Lightning from answering SIGTERM, which it does with a collective inside the handler.

    It also broadcasts a flag and waits for the device before every batch; `StopConsensus` works
    beside the training instead.

    Args:
        trainer: The trainer, before its fit.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
