"""Being told to stop, once and again."""

import signal

import pytest

from hep2gan.training.signals import RunStopped, SignalHandler


def test_a_stop_that_comes_twice_is_one_and_a_second_ctrl_c_does_not_wait():
    with SignalHandler().listening() as stop:
        with pytest.raises(RunStopped) as stopped:
            signal.raise_signal(signal.SIGTERM)
        assert stopped.value.code == 143
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.signum == signal.SIGINT
