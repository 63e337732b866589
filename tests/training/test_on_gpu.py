"""The training step on a real GPU: nothing waits for it, and no switch changes what is learnt."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch

from hep2gan.config import TrainerSettings
from hep2gan.data.splits import SplitSettings, make_split
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_optimizer
from hep2gan.training.callbacks.checkpoint import EpochCheckpoint, SeedEachBatch
from hep2gan.training.callbacks.collapse import CollapseMonitor
from hep2gan.training.callbacks.metrics import LogLosses, ThroughputMonitor
from hep2gan.training.callbacks.networks import CompileNetworks, ExponentialMovingAverage
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.nonfinite import StopAtNonfinite
from hep2gan.training.profiler import StepProfiler
from hep2gan.training.trainer import prepare_networks
from tests.helpers import tiny
from tests.helpers.made_store import made_store
from tests.training.test_build import built
from tests.training.test_module import Rows

pytestmark = pytest.mark.gpu

EVERY = 5


class NoWaiting(L.Callback):
    """Any wait for the device between two logged batches is an error."""

    def on_train_batch_start(self, trainer, task, batch, batch_idx):
        if (batch_idx + 1) % EVERY == 0:
            torch.cuda.set_sync_debug_mode("default")

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        # After the first batches, in which libraries look for their fastest kernels.
        if (batch_idx + 1) % EVERY == 0 and batch_idx + 1 < trainer.num_training_batches:
            torch.cuda.set_sync_debug_mode("error")

    def on_exception(self, *_):
        torch.cuda.set_sync_debug_mode("default")


def data(store, resident, **given):
    split = make_split(store, SplitSettings(test_fraction=0.1))
    return CellDataModule(store, split, batch_size=6, cache_on_device=resident, **given)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_nothing_waits_between_two_logged_batches(tmp_path, resident, precision):
    store = made_store(np.arange(200) % 6, size=64)
    task = built("scale=laptop", "pretrained=false")
    prepare_networks(task, TrainerSettings(tf32=True, channels_last=True))
    watched = NoWaiting()
    trainer = L.Trainer(
        accelerator="gpu", devices=1, precision=precision, max_epochs=2, logger=Rows(),
        callbacks=[
            EpochCheckpoint(tmp_path), SeedEachBatch(0), CollapseMonitor(),
            StopAtNonfinite(tmp_path, store.id, EVERY), ThroughputMonitor(),
            LogLosses(EVERY), ExponentialMovingAverage(0.9), watched,
        ],
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        limit_train_batches=4 * EVERY,
        # Its events are no wait; all of its steps are behind the last batch that is watched.
        profiler=StepProfiler(task, RunFolder(tmp_path), steps=8 * EVERY, cells=6),
    )  # fmt: skip
    strong = Augmentation(rotation=90, gain=(0.8, 1.2), noise=0.02, blur=(0.0, 1.0))
    trainer.fit(task, data(store, resident, augmentation=strong, channels_last=True))
    assert torch.cuda.get_sync_debug_mode() == 0


def weights(switch):
    """Of the tiny networks after four epochs on the GPU, with one switch."""
    task = tiny.task()
    # Of Adam's first updates the sign may hang on a rounding.
    sgd = {"kind": torch.optim.SGD, "lr": 0.01, "momentum": 0.9}
    factory = partial(build_optimizer, fused=switch == "fused", **sgd)
    task._optimizer_factories = dict.fromkeys(task.networks, factory)
    last = switch == "channels_last"
    prepare_networks(task, TrainerSettings(tf32=False, channels_last=last))
    compiled = [CompileNetworks(switch)] if switch in (True, "reduce-overhead") else []
    trainer = L.Trainer(
        accelerator="gpu", devices=1, max_epochs=4, logger=False, callbacks=compiled,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    store = made_store(np.arange(40) % tiny.CLASSES)
    resident = switch == "resident"
    trainer.fit(task, data(store, resident, channels_last=last))
    return {name: value.cpu() for name, value in task.state_dict().items()}


@pytest.fixture(scope="module")
def plain():
    return weights(None)


@pytest.mark.parametrize(
    "switch", ["resident", "channels_last", "fused", True, "reduce-overhead"], ids=str
)
def test_a_switch_changes_roundings_alone(plain, switch):
    found = weights(switch)
    assert found.keys() == plain.keys()
    for name, value in plain.items():
        assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-3), name


def test_cuda_graphs_are_replayed():
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    weights("reduce-overhead")
    assert counters["inductor"]["cudagraph_skips"] == 0
    assert counters["inductor"]["cudagraph_recorded_non_static_inputs"] > 0
