"""A rank that trains somebody else's GAN, with PerNetworkDDP where there are several."""

import json
import sys

import lightning as L
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from hep2gan.training.per_network_ddp import PerNetworkDDP

STEPS, CELLS = 5, 8


class GAN(L.LightningModule):
    """Lightning's own example of a GAN, with the one attribute that PerNetworkDDP needs."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        self.discriminator = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.optimized_modules = {"g": self.generator, "d": self.discriminator}

    def training_step(self, batch: tuple[Tensor, Tensor]) -> None:
        noise, real = batch
        of_generator, of_discriminator = self.optimizers()
        self.toggle_optimizer(of_generator)
        fake = self.optimized_modules["g"](noise)
        self.update(of_generator, score(self.discriminator(fake), 1.0))
        self.untoggle_optimizer(of_generator)
        self.toggle_optimizer(of_discriminator)
        judge = self.optimized_modules["d"]
        self.update(of_discriminator, score(judge(real), 1.0) + score(judge(fake.detach()), 0.0))
        self.untoggle_optimizer(of_discriminator)

    def update(self, optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self):
        networks = (self.generator, self.discriminator)
        return [torch.optim.Adam(network.parameters(), lr=0.01) for network in networks]


def score(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Counting(PerNetworkDDP):
    def configure_ddp(self) -> None:
        super().configure_ddp()
        for network in self.lightning_module.optimized_modules.values():
            network.register_comm_hook(None, self.count)

    sent = 0

    def count(self, state, bucket):
        self.sent += bucket.buffer().numel()
        return allreduce_hook(state, bucket)


def main(ranks: int) -> None:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    gan = GAN()
    strategy = Counting() if ranks > 1 else "auto"
    trainer = L.Trainer(
        accelerator="cpu", devices=ranks, strategy=strategy, max_epochs=1, logger=False,
        plugins=[TorchElasticEnvironment()] if ranks > 1 else [], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    noise, real = torch.randn(STEPS, CELLS, 4), torch.randn(STEPS, CELLS, 3)
    own = slice(trainer.global_rank, None, ranks)
    trainer.fit(gan, DataLoader([(n[own], r[own]) for n, r in zip(noise, real, strict=True)],
                                batch_size=None))  # fmt: skip
    found = {
        "weights": {name: value.tolist() for name, value in gan.state_dict().items()},
        "sent": getattr(strategy, "sent", 0) / STEPS,
        "trained": sum(parameter.numel() for parameter in gan.parameters()),
        "bare": all(type(part) is nn.Sequential for part in gan.optimized_modules.values()),
    }
    print(json.dumps(found))


main(int(sys.argv[1]))
