"""One device or several ranks: the strategy and plugins of the Trainer."""

from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.strategies import Strategy
from timm.layers import convert_sync_batchnorm
from torch import nn

from hep2gan.config import TrainerSettings
from hep2gan.training.devices import (
    choose_process_group_backend,
    device_of_rank,
    resolve_device,
)
from hep2gan.training.per_network_ddp import PerNetworkDDP
from hep2gan.training.step_graph import graph_stream


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
    device = resolve_device(settings.accelerator)
    shares = several and settings.share_device and device.type == "cuda"
    strategy: Strategy | str = _distributed(settings, shares) if several else "auto"
    synchronised = [SyncBatchNormConversion()] if several and settings.sync_batchnorm else []
    return {
        # Named, since Lightning would take a Mac's GPU for auto and for gpu.
        "accelerator": device.type,
        # Where ranks share GPUs the strategy names that of each.
        "devices": "auto" if shares else settings.devices,
        "num_nodes": settings.num_nodes,
        "strategy": strategy,
        "plugins": [environment, *plugins, *synchronised],
    }


def _distributed(settings: TrainerSettings, shares: bool) -> PerNetworkDDP:
    """DDP of each network; where ranks share GPUs, with the GPU of each rank of this machine."""
    backend = choose_process_group_backend(settings)
    # What gloo adds up on the hosts is in no graph.
    recorded = settings.cuda_graph and backend == "nccl"
    options: dict[str, Any] = {
        "process_group_backend": backend,
        "stream": graph_stream if recorded else None,
    }
    if shares:
        gpus = torch.cuda.device_count()
        options["parallel_devices"] = [
            device_of_rank(local, gpus, share=True) for local in range(settings.devices)
        ]
    return PerNetworkDDP(**options)


def disable_lightning_signal_handlers(trainer: L.Trainer) -> None:
    """Stop Lightning from answering SIGTERM, which it does with a collective inside the handler.

    It also broadcasts a flag and waits for the device before every batch; `StopConsensus` works
    beside the training instead.

    Args:
        trainer: The trainer, before its fit.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
