"""torch.compile of each network: the same training, the same names, and evaluation without it."""

import shutil

import lightning as L
import pytest
import torch
from torch._dynamo.utils import counters

from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.training.callbacks.networks import CompileNetworks
from tests.helpers import tiny
from tests.helpers.configs import parsed
from tests.helpers.started import NETS, SMALL, TWO, final, train
from tests.training.test_build import built
from tests.training.test_module import fit

BATCHES = [tiny.batch(seed=seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def close(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], rtol=1e-5, atol=1e-5), name


def trained(backend=None, epochs=2, **given):
    task = tiny.task(**given)
    fit(task, BATCHES, epochs, [CompileNetworks(True, backend)] if backend else [])
    return task


@pytest.mark.parametrize(
    "given",
    [{}, {"guidance": MaskGuidance(gradient=0.3)}, {"stages": TrainingStages(1)}],
    ids=["joint", "end_to_end", "two_stage"],
)
def test_training_is_the_same_and_each_network_one_graph(given):
    close(trained("aot_eager", **given).state_dict(), trained(**given).state_dict())
    assert not counters["graph_break"]
    assert not counters["unimplemented"]
    # D on true and on generated masks, D frozen; G; the classifier; some train, some wait.
    assert 4 <= counters["stats"]["unique_graphs"] <= 6
    assert counters["frames"]["ok"] == counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on the CPU needs g++")
def test_training_is_the_same_with_kernels_for_the_cpu():
    close(trained("inductor").state_dict(), trained().state_dict())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile on the CPU needs g++")
@pytest.mark.parametrize("devices", [(), TWO], ids=["one", "two"])
def test_a_whole_run_with_every_switch_of_the_cpu(tmp_path, devices):
    switches = ("compile", "channels_last", "fused_optimizers", "cache_on_device")
    train(tmp_path, *SMALL, *NETS, *devices, "study=plain")
    on = [f"trainer.{name}=true" for name in switches]
    train(tmp_path, *SMALL, *NETS, *devices, "study=fast", *on)
    plain, fast = (tmp_path / f"runs/{study}/proposed/seed0" for study in ("plain", "fast"))
    assert (fast / "DONE").exists()
    close(final(fast)["state_dict"], final(plain)["state_dict"])


class Calls(L.Callback):
    """Whether the networks are compiled: in training, in validation, after it, at the end."""

    def __init__(self):
        self.seen = {}

    def note(self, when, task):
        self.seen[when] = {n._compiled_call_impl is not None for n in task.networks.values()}

    def on_train_batch_end(self, trainer, task, *_):
        self.note(f"epoch {trainer.current_epoch}", task)

    def on_validation_batch_end(self, trainer, task, *_):
        self.note("validation", task)


def test_evaluation_sees_the_networks_as_they_are_written():
    task, calls = tiny.task(), Calls()
    loader = torch.utils.data.DataLoader(BATCHES, batch_size=None)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, num_sanity_val_steps=0, logger=False,
        callbacks=[CompileNetworks(True, "eager"), calls], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, loader, loader)
    calls.note("end", task)
    yes, no = {True}, {False}
    assert calls.seen == {"epoch 0": yes, "validation": no, "epoch 1": yes, "end": no}


class Fails(L.Callback):
    def on_train_batch_end(self, *_):
        raise ValueError("stop here")


def test_an_early_end_leaves_them_so_too():
    task = tiny.task()
    with pytest.raises(ValueError, match="stop here"):
        fit(task, BATCHES, callbacks=[CompileNetworks(True, "eager"), Fails()])
    assert all(network._compiled_call_impl is None for network in task.networks.values())


@pytest.mark.parametrize(("mode", "marks"), [(True, 0), ("reduce-overhead", 6)])
def test_each_batch_is_a_step_of_cuda_graphs(mode, marks, monkeypatch):
    called = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: called.append(1))
    # Without a GPU such a mode compiles all the same, and records nothing.
    monkeypatch.setattr(torch, "compile", lambda call, **_: call)
    fit(tiny.task(), BATCHES, 2, [CompileNetworks(mode)])
    assert len(called) == marks


@pytest.mark.integration  # The compiler takes 5 s a network.
@pytest.mark.parametrize(
    "overrides",
    [("scale=laptop",), ("scale=laptop", "method=attention_pooling"), ("method=gao",)],
    ids=["compact", "attention", "gao"],
)
def test_no_network_of_ours_makes_the_compiler_stop(overrides):
    task = built("pretrained=false", *overrides)
    image, mask = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    guided = task.guidance.source != "none"
    inputs = {"generator": [image], "discriminator": [image, mask]}
    inputs["classifier"] = [image, mask] if guided else [image]
    for name, network in task.networks.items():
        torch.compile(network, backend="eager", fullgraph=True)(*inputs[name])


def test_the_modes_of_the_configuration():
    assert parsed("trainer.compile=reduce-overhead").trainer.compile == "reduce-overhead"
    assert parsed().trainer.compile is False
