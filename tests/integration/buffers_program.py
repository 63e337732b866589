"""A rank that shows its batch-norm statistics where they count."""

import hashlib
import json
import sys
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from hep2gan.config import TrainerSettings
from hep2gan.runs.checkpoints import list_checkpoints, read_checkpoint
from hep2gan.training import distributed
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint
from hep2gan.training.strategy import devices_and_strategy
from tests.helpers import tiny

seen = {"training": [], "validation": [], "test": []}


def digest(tensors):
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


def means(task):
    return task.generator[1].running_mean.tolist()


class Watch(L.Callback):
    def on_train_batch_end(self, trainer, task, *_):
        seen["training"].append(means(task))

    def on_validation_batch_start(self, trainer, task, *_):
        seen["validation"].append(digest(task.buffers()))
        self.at_validation = means(task)

    def on_test_batch_start(self, trainer, task, *_):
        seen["test"].append(digest(task.buffers()))


def main(folder):
    settings = TrainerSettings(accelerator="cpu", devices=2)
    distributed.init_process_group(settings)
    watch = Watch()
    trainer = L.Trainer(
        **devices_and_strategy(settings, AtomicCheckpointIO()), max_epochs=1, logger=False,
        callbacks=[watch, EpochCheckpoint(folder)], enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
    )  # fmt: skip
    task = tiny.task()
    mine = DataLoader(
        [tiny.batch(seed=s + 10 * distributed.rank()) for s in range(3)], batch_size=None
    )
    trainer.fit(task, mine, mine)
    distributed.barrier()
    kept = read_checkpoint(list_checkpoints(folder)[0])["state_dict"]
    trainer.test(task, mine, verbose=False)
    own = dict(task.named_buffers())
    print(
        json.dumps(
            seen
            | {
                "at_validation": watch.at_validation,
                "in_checkpoint": all(torch.equal(kept[k], v) for k, v in own.items() if k in kept),
            }
        )
    )
    distributed.destroy_process_group()


main(Path(sys.argv[1]))
