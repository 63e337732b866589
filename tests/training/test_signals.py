"""Being told to stop, once and again, while working and while waiting; systems without a signal."""

import importlib
import signal
import subprocess
import sys

import pytest

from hep2gan.training import signals
from hep2gan.training.signals import RunStopped, SignalHandler
from tests.helpers.started import environment


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


PROGRAM = """
import ctypes, os, signal, threading, time
from hep2gan.training.signals import SignalHandler

def wait_in_python():
    threading.Event().wait()

def wait_in_c():
    while True:  # Handlers of Python's run between two sleeps alone.
        ctypes.CDLL(None).sleep(60)

def work():
    end = time.process_time() + 1.0
    while time.process_time() < end:
        pass

def save():
    with stop.saving():
        time.sleep(1.5)

stop = SignalHandler(patience=0.35)
signal.signal(signal.SIGTERM, lambda *_: print("requeued", flush=True))
threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
with stop.listening(watched=True), stop.deferred():
    {0}()
    print("batch done", flush=True)
"""


@pytest.mark.parametrize("kind", ["wait_in_python", "wait_in_c", "work", "save"])
def test_a_wait_gives_way_and_what_works_or_saves_comes_to_its_end(kind):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{0}", kind)],
        env=environment(), capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 143, done.stderr
    # Slurm's launcher queues the job again in the handler that was there before.
    assert done.stdout.splitlines()[-1] == "requeued"
    waits = kind.startswith("wait")
    assert ("batch done" in done.stdout) != waits
    assert ("Stopped by SIGTERM in a wait that did not end" in done.stderr) == waits


def test_watching_ends_with_listening_and_leaves_nothing():
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with SignalHandler(patience=0.01).listening(watched=True) as stop:
        with pytest.raises(RunStopped):
            signal.raise_signal(signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
    assert signal.set_wakeup_fd(before) == before
    assert signal.getsignal(signal.SIGTERM) is not stop._handle


def test_windows_has_two_of_the_signals(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2} < set(signals.stop_signals())
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        monkeypatch.delattr(signal, name)
    spec = importlib.util.find_spec("hep2gan.training.signals")
    windows = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(windows)
    assert windows.stop_signals() == (signal.SIGTERM, signal.SIGINT)
    assert windows.EXIT_STATUS == {signal.SIGINT: 130}
    with windows.SignalHandler().listening(), pytest.raises(windows.RunStopped) as stopped:
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 143
