"""Benchmarks: ratios, rows of the table, and that each runs in its smallest setting."""

import copy
from pathlib import Path

import pytest
import torch

from experiments.benchmarks import step
from experiments.benchmarks.__main__ import BENCHMARKS, main
from experiments.benchmarks.compare import (
    COMPACT,
    HEAD,
    Ratio,
    Row,
    compare,
    compose_config,
    format_number,
    measure_in_turns,
    rate,
    seconds,
)
from experiments.benchmarks.plain_loop import PlainLoop
from experiments.benchmarks.trainings import Length
from tests.helpers import tiny
from tests.training.test_module import fit

ROOT = Path(__file__).parents[2]


def test_ratio_is_ours_to_theirs_and_the_median_of_the_pairs():
    ratio = Ratio.of([2.0, 30.0, 9.0], [1.0, 10.0, 6.0])
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.75, 2.5)
    assert (ratio.ours, ratio.theirs, ratio.pairs) == (9.0, 6.0, 3)
    assert Ratio.of([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5, 3.0, 2.0, 1)


def test_sides_alternate_and_the_warm_up_does_not_count():
    order = []

    def side(name):
        return lambda: (order.append(name), float(len(order)))[1]

    assert measure_in_turns(side("a"), side("b"), pairs=3) == ([3.0, 6.0, 7.0], [4.0, 5.0, 8.0])
    assert "".join(order) == "baabbaab"
    assert compare(lambda: 6.0, lambda: 4.0, pairs=2) == Ratio(1.5, 1.5, 1.5, 6.0, 4.0, 2)


def test_seconds_are_those_of_one_call_and_rates_count_items(monkeypatch):
    clock = iter([10.0, 14.0, 20.0, 22.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    calls = []
    assert seconds(lambda: calls.append(1), repeats=2)() == 2.0
    assert len(calls) == 2
    assert rate(lambda: None, 10)() == 5.0


@pytest.mark.parametrize(
    ("target", "words", "met"),
    [
        ({"at_most": 1.02}, "≤ 1.02", "yes"),
        ({"at_most": 0.8}, "≤ 0.8", "**no**"),
        ({"at_least": 2.0}, "≥ 2", "**no**"),
        ({"at_least": 1.0}, "≥ 1", "yes"),
        ({}, "–", "–"),
    ],
)
def test_row_of_the_table(target, words, met):
    row = Row("a step", "a loop", Ratio(1.01, 0.9, 1.5, 2020.4, 2.0, 5), "MiB", **target)
    assert row.line == (
        f"| a step | a loop | {words} | **1.01** (0.9–1.5) | 2,020 MiB | 2 MiB | 5 | {met} |"
    )
    assert row.line.count("|") == HEAD.splitlines()[0].count("|")
    assert row.met is (met != "**no**")


def test_numbers_have_three_digits_and_no_exponent():
    assert [format_number(value) for value in (0.01234, 12.345, 1234567.0)] == [
        "0.0123", "12.3", "1,234,567",
    ]  # fmt: skip


def test_the_plain_loop_takes_the_same_steps_as_the_trainer():
    task, batches = tiny.task(), [tiny.batch(seed=seed) for seed in range(4)]
    plain = copy.deepcopy(task)
    loop = PlainLoop(plain)
    for batch in batches:
        loop.step(batch.image, batch.mask, batch.label)
    fit(task, batches)
    weights = plain.state_dict()
    for name, value in task.state_dict().items():
        assert torch.allclose(value, weights[name], atol=1e-6), name


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert step.measure_gpu() == 2
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.slow
def test_every_comparison_on_a_gpu_composes():
    for what, against, (_, ours), (_, theirs) in step.list_gpu_comparisons("trainer=default"):
        on, off = compose_config(*ours), compose_config(*theirs)
        assert (on.trainer == off.trainer) is (against != "without it"), what


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Work in an empty folder, from which child processes find the benchmarks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs_in_its_smallest_setting(name, in_folder, capsys):
    if name == "input":
        pytest.importorskip("monai")
    assert main(["--quick", name]) == 0
    rows = capsys.readouterr().out.partition(HEAD)[2].strip().splitlines()
    assert rows
    assert {row.count("|") for row in rows} == {9}


@pytest.mark.gpu
def test_switches_are_measured_on_a_gpu(in_folder, capsys):
    base = (*COMPACT, "trainer.accelerator=gpu", "data.count=300")
    assert step.measure_gpu(base, Length(2, 1), pairs=1) == 0
    assert "failed" not in capsys.readouterr().out
