"""Fused optimizers: the same updates, whatever form a checkpoint comes from."""

import copy
from functools import partial

import pytest
import torch

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.training.build import build_optimizer, has_fused_form
from tests.helpers.schema import refusal_of_setting
from tests.training.test_build import built

KINDS = {
    torch.optim.SGD: {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    torch.optim.Adam: {"lr": 0.01, "betas": (0.5, 0.999), "weight_decay": 0.1},
    torch.optim.AdamW: {"lr": 0.01},
}


def weights():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(7, 5)), torch.nn.Parameter(torch.randn(3))]


def steps(optimizer, parameters, number, seed=1):
    g = torch.Generator().manual_seed(seed)
    for _ in range(number):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=g)
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_fused_updates_are_the_same_up_to_rounding(kind):
    found = []
    for fused in (True, False):
        mine = weights()
        optimizer = build_optimizer([{"params": mine}], kind=kind, fused=fused, **KINDS[kind])
        assert bool(optimizer.defaults["fused"]) is fused
        steps(optimizer, mine, 5)
        found.append(mine)
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)
    assert not torch.equal(found[0][0], weights()[0])


def test_on_the_cpu_auto_is_torchs_default():
    for kind, arguments in KINDS.items():
        mine = weights()
        optimizer = build_optimizer([{"params": mine}], kind=kind, fused="auto", **arguments)
        assert not optimizer.param_groups[0]["fused"]
        assert optimizer.param_groups[0]["foreach"] is None


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_the_other_form_goes_on(kind, before):
    build = partial(build_optimizer, kind=kind, **KINDS[kind])
    mine = weights()
    optimizer = build([{"params": mine}], fused=before)
    steps(optimizer, mine, 3)
    state = copy.deepcopy(optimizer.state_dict())
    other = copy.deepcopy(mine)
    resumed = build([{"params": other}], fused=not before)
    resumed.load_state_dict(state)
    assert bool(resumed.param_groups[0]["fused"]) is not before
    steps(optimizer, mine, 3, seed=2)
    steps(resumed, other, 3, seed=2)
    for one, two in zip(mine, other, strict=True):
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-6)


def test_the_fused_form_of_one_that_has_none_is_refused():
    kinds = {torch.optim.RMSprop, torch.optim.NAdam, torch.optim.RAdam}
    assert not any(map(has_fused_form, kinds))
    for kind in kinds:
        build = partial(build_optimizer, [{"params": weights()}], kind=kind)
        assert isinstance(build(fused="auto"), kind)
        with pytest.raises(Hep2ganError, match=f"no fused {kind.__name__}"):
            build(fused=True)


@pytest.mark.parametrize("fused", ["yes", 1, None])
def test_other_choices_are_refused(fused):
    rule = refusal_of_setting(TrainerSettings, "fused_optimizers", fused)
    assert rule == "it must be auto, or true or false"


def test_the_setting_of_one_optimizer_goes_first():
    task = built("optimizer=paper", "+optimizer.classifier.fused=true")
    fused = [bool(o.defaults["fused"]) for o in task.configure_optimizers()[0]]
    assert dict(zip(task.networks, fused, strict=True)) == {
        "discriminator": False, "generator": False, "classifier": True,
    }  # fmt: skip
    task = built("optimizer=paper", "trainer.fused_optimizers=true")
    assert all(o.defaults["fused"] for o in task.configure_optimizers()[0])


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_fused_on_a_gpu_and_goes_on_from_the_cpu(kind):
    build = partial(build_optimizer, kind=kind, fused="auto", **KINDS[kind])
    cpu, gpu = weights(), [torch.nn.Parameter(p.detach().cuda()) for p in weights()]
    one, other = build([{"params": cpu}]), build([{"params": gpu}])
    assert other.defaults["fused"] is True
    steps(one, cpu, 3)
    with torch.no_grad():
        for p, q in zip(cpu, gpu, strict=True):
            q.copy_(p)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    g = torch.Generator().manual_seed(2)
    for _ in range(3):
        for p, q in zip(cpu, gpu, strict=True):
            p.grad = torch.randn(p.shape, generator=g)
            q.grad = p.grad.cuda()
        one.step()
        other.step()
    for p, q in zip(cpu, gpu, strict=True):
        assert torch.allclose(p, q.cpu(), rtol=1e-5, atol=1e-6)
