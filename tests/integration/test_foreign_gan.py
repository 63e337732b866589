"""PerNetworkDDP under another project's GAN."""

from pathlib import Path

import pytest
import torch

from tests.helpers.started import ranks

PROGRAM = Path(__file__).parent / "foreign_gan_program.py"


@pytest.mark.integration
def test_a_foreign_gan_on_two_ranks_is_the_one_of_a_single_rank_and_sends_each_gradient_once():
    one = ranks(1, PROGRAM, 1)[0]
    two = ranks(2, PROGRAM, 2)
    assert one["weights"].keys() == two[0]["weights"].keys()
    for name, values in one["weights"].items():
        assert two[0]["weights"][name] == two[1]["weights"][name]
        torch.testing.assert_close(
            torch.tensor(two[0]["weights"][name], dtype=torch.float64),
            torch.tensor(values, dtype=torch.float64),
            rtol=1e-9,
            atol=1e-11,
        )
    for rank in two:
        assert rank["sent"] == rank["trained"] == 40 + 27 + 32 + 9
        assert rank["bare"]
