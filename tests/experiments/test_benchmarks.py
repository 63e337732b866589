"""Benchmarks: ratios, rows of the table, and that each runs in its smallest setting."""

import copy
import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments.benchmarks import gpu
from experiments.benchmarks.__main__ import BENCHMARKS, main
from experiments.benchmarks.compare import (
    COMPACT,
    HEAD,
    SYNTHETIC,
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
from experiments.benchmarks.trainings import ON_GPU, Block, Length, sum_durations
from hep2gan.data.prepare import open_store
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

    assert measure_in_turns(side("a"), side("b"), pairs=3) == [[3.0, 6.0, 7.0], [4.0, 5.0, 8.0]]
    assert "".join(order) == "baabbaab"
    order.clear()
    measure_in_turns(*map(side, "abc"), pairs=2, warm_up=0)
    assert "".join(order) == "abccba"
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


def test_the_device_s_own_time_is_that_of_kernels_and_copies():
    events = [
        {"cat": "kernel", "name": "conv", "dur": 300.5},
        {"cat": "gpu_memcpy", "name": "Memcpy HtoD", "dur": 20.0},
        {"cat": "gpu_memset", "name": "Memset", "dur": 4.5},
        # A range around kernels, and what the host does.
        {"cat": "gpu_user_annotation", "name": "generator/backward", "dur": 1000.0},
        {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "dur": 50.0},
        {"name": "process_name", "ph": "M"},
    ]
    assert sum_durations(events, ON_GPU) == pytest.approx(325e-6)


def blocks(*steps, kernels=0.0, memory=100.0):
    return [Block(step, 0.0, memory, kernels) for step in steps]


def test_rows_of_the_steps_and_their_targets():
    found = {
        "plain loop": blocks(0.1, 0.2),
        "eager": blocks(0.11, 0.2, memory=50.0),
        "graphed": blocks(0.02, 0.05, kernels=0.01),
        "trainer=gpu": blocks(0.02, 0.02),
        "trainer=default": blocks(0.08, 0.1),
    }
    rows = {(r.what, r.against): r for r in gpu.list_step_rows("bf16, batch 16", found)}
    graphed = rows["step, graphed, bf16, batch 16", "plain loop"]
    assert graphed.ratio.median == pytest.approx(0.225)
    assert (graphed.at_most, graphed.met) == (0.25, True)
    kernels = rows["step, graphed, bf16, batch 16", "its kernels on the device"]
    assert (kernels.ratio.median, kernels.at_most, kernels.met) == (3.5, 1.3, False)
    assert rows["step, eager, bf16, batch 16", "plain loop"].at_most == 1.05
    assert rows["peak memory, eager, bf16, batch 16", "plain loop"].ratio.median == 0.5
    # 12,236 cells are 764 steps of 16.
    epochs = rows["epochs of 12,236 cells, graphed, bf16, batch 16", "plain loop"].ratio
    assert epochs.ours == pytest.approx((3600 / 764 / 0.02 + 3600 / 764 / 0.05) / 2)
    default = rows["step, trainer=gpu", "trainer=default"]
    assert (default.ratio.median, default.at_most) == (pytest.approx(0.225), 0.3)
    assert not [r for r in rows if r[1] == "its kernels on the device" and "eager" in r[0]]


def test_a_program_that_failed_leaves_the_rows_of_the_others():
    found = {"plain loop": blocks(0.1), "eager": blocks(0.1)}
    rows = gpu.list_step_rows("float32, batch 64", found)
    assert len(rows) == 3
    assert all("eager" in row.what and row.at_most is None for row in rows)
    assert gpu.list_step_rows("float32, batch 64", {"plain loop": blocks(0.1)}) == []


def test_a_step_that_was_not_recorded_is_told(monkeypatch):
    made = [Block(1.0, 0.0, 1.0, recordings=number) for number in (1, 0, 0)]

    @contextmanager
    def started(*sides, **given):
        yield [SimpleNamespace(train_block=lambda profiled, b=b: b) for b in made]

    monkeypatch.setattr(gpu, "start_trainings", started)
    missing = []
    graphed = ("trainer", (gpu.GRAPHED,))
    programs = {"graphed": graphed, "graphed, float64": graphed, "eager": ("trainer", ())}
    assert len(gpu.measure_steps(programs, Length(1, 1), 2, missing)) == 3
    assert missing == ["graphed, float64: trained as usual, since the step could not be recorded"]


def test_each_target_is_that_of_a_row():
    plan = gpu.plan_gpu()
    made = [
        row
        for setting, programs in plan.sets
        for row in gpu.list_step_rows(setting, {n: blocks(1.0, kernels=1.0) for n in programs})
    ]
    steps = {(row.what, row.against) for row in made}
    targets = {key for key in gpu.REACH if key[0].startswith("step, ")}
    assert targets <= steps
    assert len(gpu.REACH) == len(targets) + 3
    assert f"{plan.jobs[-1]} jobs at once, compact networks" in {what for what, _ in gpu.REACH}


def test_weights_are_compared_by_what_the_training_changed():
    begun = {"generator.a": torch.zeros(2), "classifier.a": torch.zeros(1)}
    other = {"generator.a": torch.tensor([3.0, 4.0]), "classifier.a": torch.tensor([100.0])}
    one = {"generator.a": torch.tensor([3.0, 3.0]), "classifier.a": torch.tensor([101.0])}
    assert gpu.compare_weights(one, other, begun) == pytest.approx(1 / 5)
    assert gpu.compare_weights(other, other, begun) == 0


def test_what_fails_or_comes_too_late_is_told(monkeypatch):
    row = Row("start", "15 s", Ratio.of([1.0], [15.0]))
    monkeypatch.setattr(gpu, "measure_steps", lambda *given: given[3].append("graphed: lost") or {})
    monkeypatch.setattr(gpu, "measure_starts", lambda plan: [row])

    def fail(plan):
        raise RuntimeError("no memory")

    monkeypatch.setattr(gpu, "measure_jobs", fail)
    shown = []
    missing = gpu.measure_all(gpu.plan_quick(), shown.append)
    assert shown == [row]
    assert missing == ["step, float32, batch 16, graphed: lost", "jobs at once: no memory"]
    late = gpu.measure_all(gpu.plan_quick(), shown.append, seconds=-1.0)
    assert len(late) == 3
    assert all("the time was over" in line for line in late)


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.slow
def test_every_program_on_a_gpu_composes():
    plan = gpu.plan_gpu()
    graphed = {
        (setting, name): compose_config(*SYNTHETIC, *overrides).trainer.cuda_graph
        for setting, programs in plan.sets
        for name, (_, overrides) in programs.items()
    }
    assert graphed["bf16, batch 16", "graphed"]
    assert not graphed["bf16, batch 16", "eager"]
    assert compose_config(*SYNTHETIC, *plan.small).trainer.max_epochs > 2
    for overrides in plan.versions.values():
        compose_config(*SYNTHETIC, *plan.networks, *overrides)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Work in an empty folder, from which child processes find the benchmarks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs_in_its_smallest_setting(name, in_folder, capsys):
    assert main(["--quick", name]) == 0
    rows = capsys.readouterr().out.partition(HEAD)[2].strip().splitlines()
    assert rows
    assert {row.count("|") for row in rows} == {9}


@pytest.mark.slow
def test_the_table_of_a_gpu_is_made_on_the_cpu_too(in_folder, capsys):
    assert gpu.main(["--quick"]) == 0
    table, _, told = capsys.readouterr().out.partition(HEAD)[2].strip().rpartition("\n")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    values = json.loads(told)
    assert len(values["rows"]) == len(rows) == 7
    assert {row.count("|") for row in rows} == {9}
    # What stands for the kernels there, and nothing that failed.
    assert len(values["missing"]) == 1


@pytest.mark.gpu
def test_a_graphed_step_and_its_kernels_are_measured(in_folder):
    base, missing = (*COMPACT, "data.count=300", "trainer=gpu"), []
    programs = {gpu.PLAIN: (gpu.PLAIN, base), "graphed": ("trainer", (*base, gpu.GRAPHED))}
    open_store(compose_config(*SYNTHETIC, *base).source)
    found = gpu.measure_steps(programs, Length(5, 5), 1, missing)
    assert missing == []
    rows = gpu.list_step_rows("bf16, batch 16", found)
    assert [row.against for row in rows] == [gpu.PLAIN] * 3 + [gpu.KERNELS]
    # The device cannot compute longer than the step takes, but for kernels at the same time.
    assert rows[-1].ratio.median > 0.5
