"""Shares, spreads and the table of a profile, from seconds that are set by hand."""

import itertools

import pytest
import torch

from hep2gan.training import profiler
from hep2gan.training.profiler import MarkedStep, Part, Spread, StepProfile

READ, MASK, SCORES = Part("data", "read"), Part("generator", "G(x)"), Part("discriminator", "D")
UPDATE, REST = Part("generator", "optimizer"), Part("around", "the rest")
STEPS = [
    {READ: 0.001, MASK: 0.006, SCORES: 0.002, UPDATE: 0.001},
    {READ: 0.001, MASK: 0.012, SCORES: 0.002, UPDATE: 0.003, REST: 0.002},
]
PROFILE = StepProfile(["discriminator", "generator"], STEPS, cells=3, device="a CPU", left_out=5)


def test_shares_are_of_the_time_of_all_steps_and_add_up_to_1():
    assert PROFILE.share(MASK) == pytest.approx(18 / 30)
    assert PROFILE.share(MASK, UPDATE) == pytest.approx(22 / 30)
    assert PROFILE.share(REST) == pytest.approx(2 / 30)
    assert sum(map(PROFILE.share, PROFILE.parts)) == pytest.approx(1)


def test_a_group_stands_together_where_it_ends():
    assert PROFILE.parts == [READ, SCORES, MASK, UPDATE, REST]


def test_a_spread_by_hand():
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 10.0]) == Spread(4.0, 3.0, 2.0, 4.0)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0, 2.0)
    assert PROFILE.step == pytest.approx((0.015, 0.015, 0.0125, 0.0175))
    # A step without the part took no time for it.
    assert PROFILE.spread(REST) == pytest.approx((0.001, 0.001, 0.0005, 0.0015))


def test_the_table():
    assert PROFILE.table.splitlines() == [
        "2 steps of 3 cells on a CPU, 5 before them left out: 200 cells a second."
        " Trained: discriminator, generator.",
        "",
        "| part of a training step |   share | mean, ms | quartiles, ms |",
        "| ----------------------- | ------: | -------: | ------------: |",
        "| **data**                |   6.7 % |     1.00 |     1.00–1.00 |",
        "| · read                  |   6.7 % |     1.00 |     1.00–1.00 |",
        "| **discriminator**       |  13.3 % |     2.00 |     2.00–2.00 |",
        "| · D                     |  13.3 % |     2.00 |     2.00–2.00 |",
        "| **generator**           |  73.3 % |     11.0 |     9.00–13.0 |",
        "| · G(x)                  |  60.0 % |     9.00 |     7.50–10.5 |",
        "| · optimizer             |  13.3 % |     2.00 |     1.50–2.50 |",
        "| **around**              |   6.7 % |     1.00 |     0.50–1.50 |",
        "| · the rest              |   6.7 % |     1.00 |     0.50–1.50 |",
        "| **the whole step**      | 100.0 % |     15.0 |     12.5–17.5 |",
    ]


def test_containers_for_json():
    found = PROFILE.as_dict()
    assert (found["steps"], found["steps_left_out"]) == (2, 5)
    assert found["seconds"]["mean"] == pytest.approx(0.015)
    assert [part["part"] for part in found["parts"]] == [
        "read", "D", "G(x)", "optimizer", "the rest",
    ]  # fmt: skip
    assert found["parts"][2]["group"] == "generator"
    assert found["parts"][2]["share"] == pytest.approx(0.6)
    assert found["parts"][2]["seconds"] == pytest.approx(
        {"mean": 0.009, "median": 0.009, "low": 0.0075, "high": 0.0105}
    )


def test_a_profile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a step"):
        StepProfile([], [], cells=1, device="a CPU")


def test_a_part_lasts_from_the_mark_before_it(monkeypatch):
    # A mark takes a time; from 0 each comes after one second more than the one before.
    clock = iter(itertools.accumulate(itertools.count()))
    monkeypatch.setattr(profiler.time, "perf_counter", lambda: float(next(clock)))
    step = MarkedStep(torch.device("cpu"))
    step.passed("data", "read")
    step.passed("generator", "G(x)")
    step.passed_within("output")
    step.passed_within("L_out")
    step.passed("classifier", "backward")
    step.passed("classifier", "optimizer")
    step.passed("classifier", "optimizer")
    step.passed("generator", "G(x)")
    assert step.last == ("generator", "G(x)")
    assert step.seconds() == {
        Part("data", "read"): 1, Part("generator", "G(x)"): 2 + 8,
        Part("classifier", "output"): 3, Part("classifier", "L_out"): 4,
        Part("classifier", "backward"): 5, Part("classifier", "optimizer"): 6 + 7,
    }  # fmt: skip
