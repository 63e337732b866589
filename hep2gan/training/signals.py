"""Signals that stop a run: noted at once, answered where everything can be saved."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

# Windows has no SIGHUP and none of Slurm's signals.
EXIT_STATUS = {
    getattr(signal, name): status
    for name, status in {"SIGINT": 130, "SIGHUP": 129}.items()
    if hasattr(signal, name)
}
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
    in_slurm = ("SIGUSR1", "SIGUSR2") if "SLURM_JOB_ID" in os.environ else ()
    names = ("SIGTERM", "SIGINT", "SIGHUP", *in_slurm)
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


class SignalHandler:
    """Raises `RunStopped` at a signal; while `deferred`, it is noted instead, as `signum`.

    A second Ctrl-C does not wait; any other further signal changes nothing. When listening ends
    after a signal, a handler that was there before is called: Slurm's launcher puts the job into
    the queue again in it.

    Args:
        patience: Seconds without work after which a process that was told to stop, and is watched,
            is taken to wait for something that may never come.
    """

    def __init__(self, patience: float = 7.0) -> None:
        self.signum: int | None = None
        self._deferred = self._saves = False
        self._patience = patience
        self._before: dict[signal.Signals, Any] = {}

    @contextmanager
    def listening(self, *, watched: bool = False) -> Iterator["SignalHandler"]:
        """Handle the signals in this block; only the main thread can.

        Args:
            watched: End the process where a wait, also one deep in a library, does not give way.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        self._before = {
            number: handler
            for number in stop_signals()
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }
        for number in self._before:
            signal.signal(number, self._handle)
        try:
            with self._watched() if watched else nullcontext():
                yield self
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if self.signum:
                self._call_former(self.signum)

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

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Let a slow disk take its time in this block, also where the process is watched."""
        self._saves = True
        try:
            yield
        finally:
            self._saves = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        repeated = self.signum is not None
        self.signum = signum
        if signum == signal.SIGINT and repeated:
            raise KeyboardInterrupt
        # Sent to a whole group, one stop may come twice, the second time amid what saves.
        if not self._deferred and not repeated:
            raise RunStopped(signum)

    def _call_former(self, signum: int) -> None:
        former = self._before.get(signal.Signals(signum))
        if callable(former) and former is not signal.default_int_handler:
            former(signum, None)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        # Python runs handlers between its own instructions; the system writes here at once.
        woken, wakes = socket.socketpair()
        wakes.setblocking(False)
        before = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(woken, over), daemon=True)
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            over.set()
            wakes.close()
            watch.join()
            woken.close()

    def _watch(self, woken: socket.socket, over: threading.Event) -> None:
        """After a stop, end the process once it neither works nor saves; return when it is over."""
        while (number := woken.recv(1)) and number[0] not in self._before:
            pass
        step, idle, spent = self._patience / 7, 0, time.process_time()
        while idle < 7:
            if over.wait(step):
                return
            # A thread that draws a bar takes a little; what computes takes more.
            now = time.process_time()
            idle = 0 if self._saves or now - spent > 0.1 * step else idle + 1
            spent = now
        name = signal.Signals(number[0]).name
        print(f"Stopped by {name} in a wait that did not end ({_place()}).", file=sys.stderr)
        print("The same command resumes from what is saved.", file=sys.stderr, flush=True)
        with suppress(BaseException):
            self._call_former(number[0])
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(int(RunStopped(number[0]).code or 0))


def _place() -> str:
    """Where the main thread waits: the innermost function that is not of Python's own library."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame and _module(frame).partition(".")[0] in sys.stdlib_module_names:
        frame = frame.f_back
    return f"{_module(frame)}.{frame.f_code.co_name}, line {frame.f_lineno}" if frame else "unknown"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
