"""Signals that stop a run: noted at once, answered where everything can be saved."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_STATUS = {signal.SIGINT: 130, signal.SIGHUP: 129}
"""Exit status after a signal; 143, that of SIGTERM, for the others."""


class RunStopped(SystemExit):
    """Raised when a signal stopped the run, which can be resumed; carries the exit status.

    Args:
        signum: Number of the signal.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(EXIT_STATUS.get(signal.Signals(signum), 143))


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGTERM, SIGHUP and Ctrl-C; inside Slurm also those that announce its time limit."""
    in_slurm = (signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ else ()
    return (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *in_slurm)


class SignalHandler:
    """Raises `RunStopped` at a signal; while `deferred`, it is noted instead, as `signum`.

    A second Ctrl-C does not wait; any other further signal changes nothing. When listening ends
    after a signal, a handler that was there before is called: Slurm's launcher puts the job into
    the queue again in it.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._deferred = False

    @contextmanager
    def listening(self) -> Iterator["SignalHandler"]:
        """Handle the signals in this block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {
            number: handler
            for number in stop_signals()
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            former = before.get(self.signum) if self.signum else None  # type: ignore[call-overload]
            if callable(former) and former is not signal.default_int_handler:
                former(self.signum, None)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note a signal in this block; raises `RunStopped` after it."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.signum is not None:
            raise RunStopped(self.signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        repeated = self.signum is not None
        self.signum = signum
        if signum == signal.SIGINT and repeated:
            raise KeyboardInterrupt
        # Sent to a whole group, one stop may come twice, the second time amid what saves.
        if not self._deferred and not repeated:
            raise RunStopped(signum)
