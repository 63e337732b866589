"""Random numbers of a training step, so that a resumed run repeats them."""

from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback


class SeedEachBatch(Callback):
    """Seed torch for (seed, epoch, batch, rank): a resumed run samples what an unbroken one would.

    Dropout samples from it; orders and augmentation have generators of their own. No random state
    need be saved.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called before every step."""
        # The leading 3 keeps these numbers apart from those of orders and augmentation.
        numbers = [3, self._seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
        # Not torch.manual_seed: where no GPU is in use, each call keeps the text of three stack
        # traces for devices that may be initialised later.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
