from pathlib import Path

import pytest

from tests.helpers.started import ranks


def test_statistics_are_one_at_validation_test_and_in_the_checkpoint(tmp_path):
    first, second = ranks(2, Path(__file__).parent / "buffers_program.py", tmp_path)
    assert first["training"][-1] != second["training"][-1]
    assert first["validation"] == second["validation"]
    assert first["test"] == second["test"]
    assert first["in_checkpoint"]
    assert second["in_checkpoint"]
    mean = [(a + b) / 2 for a, b in zip(first["training"][-1], second["training"][-1], strict=True)]
    assert first["at_validation"] == pytest.approx(mean, abs=1e-7)
