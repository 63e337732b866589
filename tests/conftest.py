"""What all tests share: torch as a new process has it, a packed store and a trained run."""

import signal

import pytest
import torch
from lightning_utilities.core.rank_zero import rank_zero_only

from hep2gan.cli import pack, train
from hep2gan.reports.figures import catalogue
from hep2gan.reports.page import elements
from tests.helpers.commands import built_once

# Behind nohup or & a shell lets processes ignore Ctrl-C, which the tests of stops send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.helpers.report_fixtures"]

_PRINT = catalogue.DPI


@pytest.fixture(autouse=True)
def _deterministic_operations_off():
    """Put back what a training before, of a fixture too, has switched on."""
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _first_rank():
    """Put back what a strategy of another rank has set: it would silence the next training."""
    yield
    rank_zero_only.rank = 0


@pytest.fixture(scope="session", autouse=True)
def _low_resolution():
    """Plot figures small: tests read what is in them, not how fine they are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (catalogue, elements):
            patch.setattr(module, "DPI", 50)
        yield


@pytest.fixture
def print_resolution(monkeypatch):
    """Plot figures as fine as users get them."""
    monkeypatch.setattr(catalogue, "DPI", _PRINT)


@pytest.fixture(scope="session")
def packed_store(tmp_path_factory):
    """A folder with a store of 60 synthetic cells of 32 px; to be copied, not changed."""
    words = ("data=phantom", "data.count=60", "data.size=32")
    return built_once(tmp_path_factory, "packed_store", (pack, *words))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A folder with a store and runs/default/proposed/seed0 on it; to be copied, not changed."""
    data = ("data=phantom", "data.count=96")
    options = ("scale=laptop", "trainer.max_epochs=2", "split.test_fraction=0.25")
    commands = (pack, *data, "data.size=64"), (train, *data, *options)
    return built_once(tmp_path_factory, "trained_run", *commands)
