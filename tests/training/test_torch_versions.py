"""What old torch needs, done with any torch: signals, time to save, room for graphs, buffers."""

import os
import signal

import pytest
import torch
from torch import nn
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import PContext
from torch.distributed.launcher.api import LaunchConfig

from hep2gan.training import torch_versions
from hep2gan.training.torch_versions import launch_options, shutdown_seconds, stopping_ranks

USR1 = signal.SIGUSR1


@pytest.fixture
def handlers():
    before = signal.getsignal(USR1)
    yield
    signal.signal(USR1, before)


@pytest.fixture
def old(monkeypatch):
    """A torch in which no function takes any of the newer options."""
    monkeypatch.setattr(torch_versions, "_takes", lambda *_: False)


def test_the_launcher_takes_what_it_is_given():
    options = launch_options((signal.SIGTERM, USR1), 77)
    config = LaunchConfig(1, 1, 1, **options)
    said = torch.__version__ >= (2, 10), torch.__version__ >= (2, 12)
    assert ("signals_to_handle" in options, "shutdown_timeout" in options) == said
    if said[0]:
        assert config.signals_to_handle == "SIGTERM,SIGUSR1"
    if said[1]:
        assert config.shutdown_timeout == 77


def test_old_launchers_are_stopped_by_slurms_signals_too(old, handlers):
    assert launch_options((USR1,), 77) == {}
    with stopping_ranks((USR1,), 77), pytest.raises(SignalException) as stop:  # noqa: PT012
        os.kill(os.getpid(), USR1)
        signal.pause()
    assert stop.value.sigval == USR1


def test_old_launchers_wait_as_long(old, handlers, monkeypatch):
    closed = []

    def close(self, death_sig=None, timeout=30):
        closed.append((death_sig, timeout))

    monkeypatch.setattr(PContext, "close", close)
    with stopping_ranks((), 77):
        PContext.close(None)
        PContext.close(None, USR1)
        PContext.close(None, USR1, 30)
    PContext.close(None)
    assert closed == [(None, 77), (USR1, 77), (USR1, 77), (None, 30)]


def test_a_users_time_comes_first(monkeypatch):
    monkeypatch.delenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", raising=False)
    assert shutdown_seconds(120) == 120
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")
    assert shutdown_seconds(120) == 600


class Shifted(nn.Linear):
    def forward(self, x):
        return super().forward(x) + len(x)


def test_networks_do_not_take_graphs_from_each_other(monkeypatch):
    # One function of ours, four networks, three shapes each: more graphs than torch keeps for one.
    torch.compiler.reset()
    networks, graphs = [Shifted(width, 2) for width in (2, 3, 4, 5)], []
    backend = lambda module, _: graphs.append(module) or module.forward  # noqa: E731
    torch_versions.compile_each(networks, backend=backend, dynamic=False)
    for network in networks:
        for rows in (1, 2, 3):
            x = torch.ones(rows, network.in_features)
            assert torch.equal(network(x), nn.Linear.forward(network, x) + rows)
    assert len(graphs) == 12
    torch.compiler.reset()


@pytest.mark.parametrize("given", [{}, {"broadcast_buffers": True}, {"forward_sync_buffers": True}])
def test_buffers_are_sent_at_the_start_alone(given, monkeypatch, tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    sent = []
    name = "_sync_module_states"
    original = getattr(torch.nn.parallel.distributed, name)

    def note(*args, broadcast_buffers=True, **options):
        sent.append(broadcast_buffers)
        original(*args, broadcast_buffers=broadcast_buffers, **options)

    monkeypatch.setattr(torch.nn.parallel.distributed, name, note)
    try:
        if given and "forward_sync_buffers" not in given and torch.__version__ >= (2, 13):
            given = {"forward_sync_buffers": True}
        wrapped = torch_versions.wrap_in_ddp(nn.BatchNorm1d(2), **given)
        assert sent == [True]
        assert wrapped.will_sync_module_buffers() == bool(given)
    finally:
        torch.distributed.destroy_process_group()
