"""A rank that counts the bytes of gradients it sends, under our strategy and under Lightning's."""

import json
import sys

import lightning as L
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader

from hep2gan.training.per_network_ddp import PerNetworkDDP
from tests.helpers import tiny

STEPS = 4
sent = []


def counting(state, bucket):
    sent.append(bucket.buffer().numel() * bucket.buffer().element_size())
    return allreduce_hook(state, bucket)


class WholeDDP(DDPStrategy):
    def configure_ddp(self):
        super().configure_ddp()
        self.model.register_comm_hook(None, counting)


class CountingDDP(PerNetworkDDP):
    def configure_ddp(self):
        super().configure_ddp()
        for network in self.lightning_module.optimized_modules.values():
            network.register_comm_hook(None, counting)


def strategy(kind):
    if kind == "ours":
        return CountingDDP()
    return WholeDDP(find_unused_parameters=kind == "whole_unused")


def main(kind):
    task = tiny.task()
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy(kind), max_epochs=1, logger=False,
        plugins=[TorchElasticEnvironment()], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    batches = [tiny.batch(seed=step + 10 * trainer.global_rank) for step in range(STEPS)]
    trained = sum(p.numel() * p.element_size() for p in task.parameters())
    try:
        trainer.fit(task, DataLoader(batches, batch_size=None))
    except RuntimeError as error:
        print(json.dumps({"error": str(error)}))
        return
    weights = torch.cat([p.detach().reshape(-1).double() for p in task.parameters()])
    print(
        json.dumps({"sent": sum(sent) / STEPS, "trained": trained, "weights": weights.sum().item()})
    )


main(sys.argv[1])
