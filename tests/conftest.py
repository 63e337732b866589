"""Each test starts with torch as a new process has it."""

import pytest
import torch

pytest_plugins = ["tests.helpers.report_fixtures"]


@pytest.fixture(autouse=True)
def _deterministic_operations_off():
    """Put back what a training before, of a fixture too, has switched on."""
    torch.use_deterministic_algorithms(False)
