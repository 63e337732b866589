"""Waits for other processes: bounded, and told in words where what is waited for is gone.

Signals are answered while a run waits, too: see `signals.SignalHandler.listening`.
"""

import multiprocessing
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.training.signals import stop_signals

LOADER_LIMIT = 600
"""Seconds that the loader's workers may take for a batch, which takes milliseconds."""

_RESUMES = "run the same command again: the run resumes from its last checkpoint"
_LOST_WORKER = re.compile(r"DataLoader worker \(pid.*")
_LOST_RANK = re.compile(
    r"Connection (?:closed|reset) by peer|Connection timed out|Timed out waiting"
)


class LostRankError(Hep2ganError):
    """Another rank of the run is gone; the cause is there, not here."""


class WatchedLoader(DataLoader[Any]):
    """A loader whose workers leave stops to the process that they work for, and end in words."""

    def __init__(self, dataset: Dataset[Any], num_workers: int, **options: Any) -> None:
        if num_workers:
            dataset = _TellingDataset(dataset)
            options["worker_init_fn"] = _ignore_stops
        super().__init__(dataset, num_workers=num_workers, **options)

    def __iter__(self) -> Any:
        """Iterate over the batches."""
        try:
            batches = super().__iter__()
        except OSError as error:
            raise Hep2ganError(
                f"the loader's {self.num_workers} workers cannot start ({error.strerror})",
                "each takes a process, and locks in /dev/shm",
                "set trainer.num_workers=0",
            ) from error
        return self._checked(batches) if self.num_workers else batches

    def _checked(self, batches: Iterator[Any]) -> Iterator[Any]:
        watch = _Watch()
        watch.start()
        try:
            with explain_lost_processes():
                for batch in watch.limited(batches):
                    if isinstance(batch, Hep2ganError):
                        raise batch
                    yield batch
        finally:
            watch.over.set()


class _Watch(threading.Thread):
    """Ends workers that give no batch for a long time, for which torch waits as long as they live.

    Torch's own time limit would take its place, but then a worker that died is noticed by a signal
    alone, which is lost where another part of the program takes it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self._since: float | None = None
        self._ended = False

    def run(self) -> None:
        """Look until it is over."""
        while not self.over.wait(LOADER_LIMIT / 20):
            since = self._since
            if since is not None and time.monotonic() - since > LOADER_LIMIT:
                self._ended = True
                for child in multiprocessing.active_children():
                    child.kill()
                return

    def limited(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, each after at most the time limit."""
        while True:
            self._since = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if not self._ended:
                    raise
                raise Hep2ganError(
                    f"the loader's workers gave no batch for {pluralize(LOADER_LIMIT, 'second')}",
                    "they stand still, as on a disk that does not answer",
                    f"check the disk of the store, or set trainer.num_workers=0; then {_RESUMES}",
                ) from error
            self._since = None
            yield batch


class _TellingDataset(Dataset[Any]):
    """Hands errors on as they are: torch would put a stack trace in place of their words."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset

    def __getitem__(self, request: Any) -> Any:
        try:
            return self._dataset[request]
        except Hep2ganError as error:
            return error


def _ignore_stops(worker: int) -> None:
    # A stop may be sent to all processes; the last batch is finished before the workers end.
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def explain_lost_processes() -> Iterator[None]:
    """Turn torch's errors about dead or silent workers and ranks into a Hep2ganError."""
    try:
        yield
    except (RuntimeError, dist.DistError) as error:
        if (explained := _explain(" ".join(str(error).split()))) is None:
            raise
        _end_workers()
        raise explained from error


def _end_workers() -> None:
    """End what is left of the workers: one that stands still would keep this process from ending.

    Torch's handler would raise its error once more for each of them.
    """
    with suppress(ValueError, AttributeError):  # Another thread; Windows.
        before = signal.getsignal(signal.SIGCHLD)
        try:
            with suppress(RuntimeError):  # Of a worker that ended just now.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for child in multiprocessing.active_children():
                child.kill()
                child.join(5.0)
        finally:
            signal.signal(signal.SIGCHLD, before)


def _explain(text: str) -> Hep2ganError | None:
    if lost := _LOST_WORKER.search(text):
        return Hep2ganError(
            f"a worker of the loader is gone ({lost[0][:120].rstrip('. ')})",
            "the system ends processes for want of memory",
            f"set trainer.num_workers=0, or lower than it was; then {_RESUMES}",
        )
    if dist.is_initialized() and _LOST_RANK.search(text):
        return LostRankError(
            f"another rank is gone, or does not answer ({text[-160:]})",
            "a run needs all of its ranks",
            f"read what the other ranks printed; then {_RESUMES}",
        )
    return None
