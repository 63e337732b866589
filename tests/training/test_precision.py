"""Precision and memory format: what may change, and what must not."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from hep2gan.cli import evaluate, train
from hep2gan.config import TrainerSettings
from hep2gan.data.store.store import Store
from hep2gan.inference.export import ExportableModel
from hep2gan.inference.load import load_run
from hep2gan.inference.open import open_model
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.provenance import read_provenance
from hep2gan.training.devices import channels_last_inference, use_tf32
from hep2gan.training.trainer import prepare_networks
from tests.helpers import tiny
from tests.helpers.commands import call, inside_copy
from tests.helpers.started import NETS, SMALL
from tests.training.test_build import built
from tests.training.test_module import fit, fit_and_validate

BATCHES = [tiny.batch(seed=seed) for seed in range(3)]


class Terms(L.Callback):
    def __init__(self):
        self.dtypes = {}

    def on_train_batch_end(self, trainer, task, outputs, *_):
        self.dtypes = {name: value.dtype for name, value in outputs.items()}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_term_is_float32(precision):
    # A sum of an epoch in bfloat16 stops growing at 256 times its terms.
    terms = Terms()
    fit(tiny.task(), BATCHES, callbacks=[terms], precision=precision)
    assert {"discriminator/p_real", "generator/l1", "classifier/likelihood"} <= terms.dtypes.keys()
    assert set(terms.dtypes.values()) == {torch.float32}


def test_validation_is_in_float32_as_the_test_is():
    task, seen = tiny.task(), {True: set(), False: set()}
    for network in task.networks.values():
        network.register_forward_hook(
            lambda module, inputs, output: seen[module.training].update(
                one.dtype for one in (output if isinstance(output, tuple) else (output,))
            )
        )
    fit_and_validate(task, BATCHES, BATCHES, precision="bf16-mixed")
    assert torch.bfloat16 in seen[True]
    assert seen[False] == {torch.float32}


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_reaches_products_and_convolutions(allowed):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        use_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def trained(channels_last, task):
    use = torch.channels_last if channels_last else torch.contiguous_format
    prepare_networks(task, TrainerSettings(tf32=False, channels_last=channels_last))
    batches = [
        b._replace(image=b.image.to(memory_format=use), mask=b.mask.to(memory_format=use))
        for b in BATCHES
    ]
    trainer = fit(task, batches, epochs=2)
    return task, trainer


def test_channels_last_trains_the_same():
    plain, _ = trained(False, tiny.task())
    other, _ = trained(True, tiny.task())
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], rtol=1e-5, atol=1e-5), name


def in_format(tensors):
    return all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors if t.ndim == 4)


def test_channels_last_holds_for_every_network_and_what_follows_them():
    task, trainer = trained(True, tiny.task())
    assert in_format(task.parameters())
    states = [s for o in trainer.optimizers for s in o.state.values()]
    assert states
    assert in_format(v for s in states for v in s.values() if isinstance(v, torch.Tensor))
    # So in a run that goes on: weights are copied into their places.
    resumed = tiny.task()
    prepare_networks(resumed, TrainerSettings(tf32=False, channels_last=True))
    resumed.load_state_dict({k: v.contiguous() for k, v in task.state_dict().items()})
    assert in_format(resumed.parameters())


@torch.no_grad()
def test_channels_last_reaches_every_convolution_of_our_networks():
    task = built("scale=laptop", "pretrained=false")
    prepare_networks(task.eval(), TrainerSettings(tf32=False, channels_last=True))
    image = torch.rand(2, 1, 64, 64).to(memory_format=torch.channels_last)
    seen = []
    for network in task.networks.values():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda _, inputs, output: seen.append(output))
    mask = task.generator(image).sigmoid()
    task.discriminator(image, mask)
    task.classifier(image, mask)
    assert len(seen) > 20
    assert in_format(seen)


def test_a_test_runs_channels_last_and_leaves_the_networks_as_they_were():
    task, cpu = tiny.task().eval(), torch.device("cpu")
    kernel = next(p for p in task.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1)
    before, plain = kernel.data_ptr(), task(BATCHES[0].image, BATCHES[0].mask)
    with torch.inference_mode(), channels_last_inference(task.networks.values(), cpu):
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        assert not kernel.is_contiguous()
        fast = task(BATCHES[0].image, BATCHES[0].mask)
    assert kernel.data_ptr() == before
    for one, other in zip(plain, fast, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_on_a_gpu_the_memory_format_is_the_setting_s():
    task = tiny.task()
    kernel = next(p for p in task.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1)
    with channels_last_inference(task.networks.values(), torch.device("cuda")):
        assert kernel.is_contiguous()


@pytest.mark.integration
def test_a_run_is_tested_as_it_predicts(tmp_path_factory, packed_store):
    """However it was trained: its test, hep2gan-evaluate, prediction and export say the same."""
    options = (*SMALL, *NETS, "trainer.precision=bf16-mixed", "trainer.max_epochs=2")
    trusted = ["tests.integration.nets"]
    with inside_copy(tmp_path_factory, packed_store):
        assert call(train, *options) == 0
        run = Path("runs/default/proposed/seed0")
        tested = Predictions.load(run / "predictions.npz")
        assert call(evaluate, str(run), "trusted=[tests.integration.nets]", "figures=false") == 0
        again = Predictions.load(run / "predictions.npz")
        trained = load_run(run, trusted=trusted)
        store = Store.open(trained.store)
        rows = [list(store.id).index(name) for name in tested.id]
        pixels, levels = store.image[rows], np.asarray(store.levels[rows], np.float32)
        predicted = open_model(str(run), accelerator="cpu", trusted=trusted).backend(pixels, levels)
        graph = ExportableModel(trained.task, trained.config.normalisation)
        with torch.no_grad():
            mask, exported, _ = graph(torch.from_numpy(pixels), torch.from_numpy(levels))
        found = read_provenance(run / "provenance.json")
        assert found["training"]["precision"] == "bf16-mixed"
        assert found["evaluation"] == {"precision": "float32"}
    for other in (again.probabilities, predicted.probabilities, exported.numpy()):
        np.testing.assert_allclose(tested.probabilities, other, atol=1e-6)
    # Stored as bytes: half a level, and the float32 that two ways of rounding may differ in.
    for other in (predicted.mask, mask.numpy()):
        assert np.abs(tested.mask / 255.0 - other).max() <= 0.5 / 255 + 1e-5
