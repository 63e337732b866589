"""The bound on the norm of each network's gradient: by hand, and only where it is set."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.helpers import tiny
from tests.training.test_module import Rows, fit

NETWORKS = ("generator", "discriminator", "classifier")


def gradient(task, name):
    """The gradient that the last update of a network used, as one vector."""
    module = task.optimized_modules[name]
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def after_one_step(**given):
    task, rows = tiny.task(**given), Rows()
    fit(task, [tiny.batch()], logger=rows)
    terms = {name: value for _, row in rows.rows for name, value in row.items()}
    return task, terms


@pytest.mark.parametrize("name", NETWORKS)
def test_a_larger_gradient_is_shrunk_to_the_bound(name):
    free, terms = after_one_step()
    assert not any("gradient_norm" in term for term in terms)
    # Before that update nothing differs, so that the gradient is the same but for its length.
    norm = float(gradient(free, name).norm())
    clipped, terms = after_one_step(clip_norms={name: norm / 4})
    assert float(gradient(clipped, name).norm()) == pytest.approx(norm / 4, rel=1e-4)
    expected = gradient(free, name) / 4
    assert torch.allclose(gradient(clipped, name), expected, rtol=1e-3, atol=1e-7)
    assert terms[f"step/{name}/gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert [term for term in terms if term.startswith("step/") and "norm" in term] == [
        f"step/{name}/gradient_norm"
    ]


def test_a_smaller_gradient_stays_as_it_is():
    free, _ = after_one_step()
    bounded, _ = after_one_step(clip_norms=dict.fromkeys(NETWORKS, 1e6))
    for name in NETWORKS:
        assert torch.equal(gradient(free, name), gradient(bounded, name))


def test_the_means_of_the_mixture_count_with_the_classifier():
    task, _ = after_one_step(clip_norms={"classifier": 1e-3})
    means = task.classification_loss.gaussian_mixture.means.grad
    assert float(means.norm()) > 0
    assert float(gradient(task, "classifier").norm()) == pytest.approx(1e-3, rel=1e-3)


def test_in_float16_the_bound_is_scaled_as_the_gradient_is():
    task = tiny.task(clip_norms={"generator": 0.5})
    optimizer = torch.optim.SGD(task.generator.parameters(), lr=1)
    for parameter in task.generator.parameters():
        parameter.grad = torch.full_like(parameter, 1024.0)
    before = copy.deepcopy([p.grad for p in task.generator.parameters()])
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    task._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))
    terms = task._clip_gradient("generator", optimizer)
    unscaled = nn.utils.get_total_norm([grad / 1024 for grad in before])
    assert float(terms["gradient_norm"]) == pytest.approx(float(unscaled))
    after = nn.utils.get_total_norm([p.grad / 1024 for p in task.generator.parameters()])
    assert float(after) == pytest.approx(0.5, rel=1e-4)
