"""A rank of two, of which only the second meets a batch that is not finite."""

import json
import sys
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.utils.data import DataLoader

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.training import distributed
from hep2gan.training.nonfinite import SkipNonfinite, StopAtNonfinite
from hep2gan.training.per_network_ddp import PerNetworkDDP
from tests.helpers import tiny

IDS = np.asarray([f"cell{row}" for row in range(200)])


def batches(rank, poisoned):
    made = [tiny.batch(seed=step + 10 * rank) for step in range(5)]
    made = [b._replace(rows=b.rows + 10 * step + 100 * rank) for step, b in enumerate(made)]
    if rank == 1 and poisoned:
        made[2].image[0] = torch.nan
    return made if poisoned is not None else [b for step, b in enumerate(made) if step != 2]


def main(folder, policy, poisoned):
    distributed.init_process_group(TrainerSettings(accelerator="cpu"))
    stop = policy == "stop"
    task = tiny.task()
    callbacks = [StopAtNonfinite(Path(folder), IDS, 3) if stop else SkipNonfinite()]
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=PerNetworkDDP(), max_epochs=1, logger=False,
        plugins=[TorchElasticEnvironment()], enable_checkpointing=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    found = {"error": None}
    try:
        trainer.fit(task, DataLoader(batches(trainer.global_rank, poisoned), batch_size=None))
    except Hep2ganError as error:
        found["error"] = str(error)
    found["weights"] = torch.cat([p.detach().reshape(-1) for p in task.parameters()]).tolist()
    print(json.dumps(found))
    distributed.destroy_process_group()


main(sys.argv[1], sys.argv[2], {"yes": True, "left out": None}[sys.argv[3]])
