"""The benchmark of the training step: both loops do the same mathematics, in fair turns."""

import copy
import itertools

import pytest
import torch

from experiments.benchmarks import turns
from experiments.benchmarks.plain_loop import PlainLoop, UsualExample
from experiments.benchmarks.training_step import plain_loop
from experiments.benchmarks.turns import Turns
from tests.helpers import tiny
from tests.training.test_module import fit


def trained(kind, task, batches):
    """The task's weights after a loop's steps, those of batch normalisation's statistics too."""
    loop = plain_loop(kind, copied := copy.deepcopy(task))
    for batch in batches:
        loop.step(batch.image, batch.mask, batch.label)
    return copied.state_dict()


def test_the_plain_loop_makes_the_same_steps_as_the_trainer():
    batches = [tiny.batch(seed=seed) for seed in range(6)]
    task = tiny.task()
    start, plain = copy.deepcopy(task.state_dict()), trained(PlainLoop, task, batches)
    fit(task, batches)
    for name, ours in task.state_dict().items():
        assert torch.allclose(ours, plain[name], atol=1e-6), name
    moved = [
        name for name, _ in task.named_parameters() if not torch.equal(start[name], plain[name])
    ]
    assert len(moved) == len(list(task.named_parameters()))


def test_the_usual_example_differs_by_its_forwards_alone():
    batches = [tiny.batch(seed=seed) for seed in range(3)]
    task, calls = tiny.task(), []
    plain = trained(PlainLoop, task, batches[:1])
    usual = trained(UsualExample, task, batches[:1])
    # D meets the same masks in the first step; the classifier meets those of the updated G.
    for name, _ in task.discriminator.named_parameters():
        assert torch.equal(plain[f"discriminator.{name}"], usual[f"discriminator.{name}"])
    task.generator.register_forward_hook(lambda *_: calls.append(1))
    trained(PlainLoop, task, batches)
    assert len(calls) == 3
    trained(UsualExample, task, batches)
    assert len(calls) == 3 + 9


def test_blocks_take_turns_and_only_their_own_time_counts(monkeypatch):
    clock, order = itertools.count(), []
    monkeypatch.setattr(turns.time, "perf_counter", lambda: float(next(clock)))
    taking = Turns([lambda: order.append("a"), lambda: order.append("b")], 2)
    for _ in range(5):
        taking.step()
        order.append("ours")
    assert order == ["ours", "ours", "a", "b", "ours", "ours", "b", "a", "ours"]
    assert taking.times == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("filled", [True, False])
def test_others_run_without_what_our_trainer_sets(filled):
    deterministic = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = filled
        with turns.torch_as_it_comes():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert deterministic.fill_uninitialized_memory is filled
    finally:
        torch.use_deterministic_algorithms(before[0])
        deterministic.fill_uninitialized_memory = before[1]
