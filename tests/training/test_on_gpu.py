"""The training step on a real GPU: nothing waits for it, and no switch changes what is learnt."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch

from hep2gan.config import TrainerSettings
from hep2gan.data.splits import SplitSettings, make_split
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import TrainingPosition, latest_readable
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_optimizer
from hep2gan.training.callbacks.checkpoint import AtomicCheckpointIO, EpochCheckpoint, SeedEachBatch
from hep2gan.training.callbacks.collapse import CollapseMonitor
from hep2gan.training.callbacks.cuda_graph import ReplayStep
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
@pytest.mark.parametrize("replayed", [False, True])
def test_nothing_waits_between_two_logged_batches(tmp_path, resident, precision, replayed):
    store = made_store(np.arange(200) % 6, size=64)
    task = built("scale=laptop", "pretrained=false")
    prepare_networks(task, TrainerSettings(tf32=True, channels_last=True))
    watched = NoWaiting()
    trainer = L.Trainer(
        accelerator="gpu", devices=1, precision=precision, max_epochs=2, logger=Rows(),
        callbacks=[
            EpochCheckpoint(tmp_path), SeedEachBatch(0), CollapseMonitor(),
            StopAtNonfinite(tmp_path, store.id, EVERY), ThroughputMonitor(),
            LogLosses(EVERY), *([ReplayStep()] if replayed else []), ExponentialMovingAverage(0.9),
            watched,
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
    compiled += [ReplayStep()] if switch == "cuda_graph" else []
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
    "switch", ["resident", "channels_last", "fused", True, "reduce-overhead", "cuda_graph"], ids=str
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


def replayed(precision, *, graph, epochs=3, folder=None, own=(), compiled=False):
    """Compact networks after some epochs with Adam and SGD; whether the step was recorded."""
    store = made_store(np.arange(120) % 6, size=64)
    task = built("scale=laptop", "pretrained=false", f"trainer.cuda_graph={str(graph).lower()}")
    prepare_networks(task, TrainerSettings(tf32=False, channels_last=True))
    callback = ReplayStep()
    trainer = L.Trainer(
        accelerator="gpu", devices=1, precision=precision, max_epochs=epochs, logger=False,
        callbacks=[
            SeedEachBatch(0), *own, *([CompileNetworks(True)] if compiled else []),
            *([callback] if graph else []), ExponentialMovingAverage(0.9),
            *([EpochCheckpoint(folder)] if folder else []),
        ],
        plugins=[AtomicCheckpointIO()], enable_checkpointing=bool(folder), benchmark=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    start = latest_readable(folder) if folder else None
    cells = data(store, True, channels_last=True, start=TrainingPosition.of(start))
    trainer.fit(task, cells, ckpt_path=start, weights_only=True)
    weights = {name: value.cpu() for name, value in task.state_dict().items()}
    return weights, callback.graph.recordings if callback.graph else 0, trainer.global_step


# bfloat16 has 8 bits; Adam's updates are as large as its learning rate whatever the gradient.
@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 2e-3), ("bf16-mixed", 2e-2)])
def test_a_replayed_training_ends_with_the_weights_of_a_usual_one(precision, tolerance):
    usual, none, updates = replayed(precision, graph=False)
    found, recordings, updates_of_replay = replayed(precision, graph=True)
    assert (none, recordings) == (0, 1)
    assert updates_of_replay == updates
    for name, value in usual.items():
        assert torch.allclose(found[name], value, rtol=0.05, atol=tolerance), name


def test_a_replayed_training_that_goes_on_records_anew(tmp_path):
    whole, *_ = replayed("32-true", graph=True)
    replayed("32-true", graph=True, epochs=2, folder=tmp_path)
    found, recordings, _ = replayed("32-true", graph=True, folder=tmp_path)
    assert recordings == 1
    for name, value in whole.items():
        assert torch.allclose(found[name], value, rtol=0.05, atol=2e-3), name


def test_a_compiled_step_is_replayed_too():
    found, recordings, _ = replayed("32-true", graph=True, compiled=True)
    assert recordings == 1
    assert all(value.isfinite().all() for value in found.values())


def test_a_step_that_waits_is_trained_as_usual(caplog):
    class Waits(L.Callback):
        def on_train_start(self, trainer, task):
            forward = task.generator_loss.forward
            task.generator_loss.forward = lambda *given: (float(given[1].sum()), forward(*given))[1]

    _, recordings, _ = replayed("32-true", graph=True, epochs=1, own=[Waits()])
    assert recordings == 0
    assert "it waits for the GPU" in caplog.text


def test_nothing_of_a_failed_recording_is_trained_on():
    class Fails(L.Callback):
        def on_train_batch_start(self, trainer, task, batch, batch_idx):
            if batch_idx == 3:  # The step of the recording.
                forward = task.generator_loss.forward
                task.generator_loss.forward = lambda *given: (
                    float(given[1].sum()), forward(*given),
                )[1]  # fmt: skip

    with pytest.raises(Hep2ganError, match="could not be recorded"):
        replayed("32-true", graph=True, epochs=1, own=[Fails()])
