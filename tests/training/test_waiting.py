"""The training step never waits for the device: nothing of it asks what a tensor holds."""

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from hep2gan.data.batch import BatchSeed, RawBatch
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.models.guidance import MaskGuidance
from hep2gan.runs.folder import RunFolder
from hep2gan.training.callbacks.checkpoint import EpochCheckpoint, SeedEachBatch
from hep2gan.training.callbacks.collapse import CollapseMonitor
from hep2gan.training.callbacks.metrics import LogLosses, ThroughputMonitor
from hep2gan.training.callbacks.networks import ExponentialMovingAverage
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.nonfinite import StopAtNonfinite
from hep2gan.training.profiler import StepProfiler
from hep2gan.training.strategy import disable_lightning_signal_handlers
from hep2gan.training.trainer import build_trainer
from tests.helpers import tiny
from tests.helpers.configs import parsed
from tests.training.test_module import Rows

ASKING = {
    torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy,
    torch.Tensor.__bool__, torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__,
    torch.Tensor.nonzero, torch.Tensor.__contains__, torch.Tensor.unique,
}  # fmt: skip


class WaitedError(Exception):
    """Something asked what a tensor holds."""


class NoCalls(TorchFunctionMode):
    """Refuses what Python code may ask of a tensor, on the CPU as well, where it costs nothing."""

    def __init__(self, allowed):
        super().__init__()
        self.allowed = allowed

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in ASKING and id(args[0]) not in self.allowed():
            raise WaitedError(func.__name__)
        return func(*args, **(kwargs or {}))


class NoReading(TorchDispatchMode):
    """Refuses what torch itself reads back, deep within an operation."""

    def __init__(self, allowed):
        super().__init__()
        self.allowed = allowed

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        moved = (kwargs or {}).get("device")
        if name == "_local_scalar_dense" and id(args[0]) not in self.allowed():
            raise WaitedError(name)
        if name == "_to_copy" and moved is not None and moved != args[0].device:
            raise WaitedError(f"{name} from {args[0].device} to {moved}")
        return func(*args, **(kwargs or {}))


@contextmanager
def nothing_asked(allowed=set):
    with NoCalls(allowed), NoReading(allowed):
        yield


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.item(), lambda t: t.tolist(), lambda t: t.cpu(), lambda t: float(t),
        lambda t: bool(t > 0), lambda t: int(t), lambda t: t.numpy(), lambda t: t.to("meta"),
        lambda t: torch.nn.functional.one_hot(t.long(), 3), lambda t: "a" if t else "b",
    ],
)  # fmt: skip
def test_the_watch_sees_every_way_of_asking(ask):
    with pytest.raises(WaitedError), nothing_asked():
        ask(torch.tensor(1.0))


@pytest.mark.parametrize(
    "guidance", [MaskGuidance(), MaskGuidance(hard=True), MaskGuidance(gradient=0.3)]
)
def test_a_step_and_its_callbacks_ask_nothing(tmp_path, guidance):
    task, batches = tiny.task(guidance=guidance), [tiny.batch(seed=seed) for seed in range(6)]
    watching, watched = ExitStack(), []

    def counters():
        # Adam counts its steps in tensors that never leave the host.
        states = [s for optimizer in task.trainer.optimizers for s in optimizer.state.values()]
        return {id(state["step"]) for state in states if "step" in state}

    def begin(batch, batch_idx):
        # All but those whose losses are looked at: the fourth, and the epoch's last.
        if batch_idx not in (3, 5):
            watched.append(batch_idx)
            watching.enter_context(nothing_asked(counters))

    task.on_train_batch_start = begin
    task.on_train_batch_end = lambda *_: watching.close()
    callbacks = [
        EpochCheckpoint(tmp_path), SeedEachBatch(0), CollapseMonitor(), ThroughputMonitor(),
        ExponentialMovingAverage(0.9),
        StopAtNonfinite(tmp_path, np.arange(6).astype(str), 4), LogLosses(4),
    ]  # fmt: skip
    settings = parsed("trainer=cpu", "trainer.max_epochs=1").trainer
    profiler = StepProfiler(task, RunFolder(tmp_path), steps=50, cells=6)
    trainer = build_trainer(settings, [Rows()], callbacks, False, profiler)
    disable_lightning_signal_handlers(trainer)
    with watching:
        trainer.fit(task, DataLoader(batches, batch_size=None))
    assert watched == [0, 1, 2, 4]


@pytest.mark.parametrize("kind", ["min_max", "percentile", "z_score", "none"])
def test_cells_are_normalised_and_augmented_without_asking(kind):
    levels, label = torch.tensor([[0.0, 255.0]] * 4), torch.zeros(4, dtype=torch.int64)
    image = torch.randint(0, 255, (4, 16, 16), dtype=torch.uint8)
    raw = RawBatch(image, levels, image // 255, label, label, BatchSeed(0, 0, 0, 0, 1, 4))
    gamma = (1.0, 1.0) if kind == "z_score" else (0.8, 1.2)
    strong = Augmentation(
        rotation=180, quarter_turns=True, shift=0.1, scale=(0.9, 1.1), gain=(0.8, 1.2),
        offset=0.1, gamma=gamma, blur=(0.0, 1.0), noise=0.1,
    )  # fmt: skip
    data = CellDataModule(None, None, normalisation=Normalisation(kind=kind), augmentation=strong)
    with nothing_asked():
        batch = data.on_after_batch_transfer(raw, 0)
    assert batch.image.shape == (4, 1, 16, 16)
