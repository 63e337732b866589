"""What goes over the wire in a training step, counted by the reducers' own hooks."""

from pathlib import Path

import pytest

from tests.helpers.started import ranks

PROGRAM = Path(__file__).parent / "gradients_program.py"


def test_each_gradient_is_reduced_once_a_step():
    ours = ranks(2, PROGRAM, "ours")
    assert [found["sent"] for found in ours] == [found["trained"] for found in ours]
    assert ours[0]["weights"] == ours[1]["weights"]


@pytest.mark.integration
def test_lightnings_own_strategy_moves_every_network_at_every_backward():
    whole = ranks(2, PROGRAM, "whole_unused")
    assert [found["sent"] / found["trained"] for found in whole] == [3.0, 3.0]


@pytest.mark.integration
def test_without_looking_for_unused_parameters_lightning_raises():
    error = ranks(2, PROGRAM, "whole")[0]["error"]
    assert "parameters that were not used in producing the loss" in error
