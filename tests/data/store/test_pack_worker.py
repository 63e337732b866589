"""Worker processes: their number, and their end."""

import os
import threading
from concurrent.futures.process import BrokenProcessPool

import pytest

from hep2gan import io
from hep2gan.data.phantom import generate
from hep2gan.data.store import pack_worker
from hep2gan.errors import Hep2ganError


def test_workers_end_with_their_parent(monkeypatch):
    happened, ended = [], threading.Event()

    class Parent:
        def join(self):
            happened.append("parent ended")

    monkeypatch.setattr(pack_worker, "parent_process", Parent)
    monkeypatch.setattr(pack_worker.os, "_exit", lambda code: (happened.append(code), ended.set()))
    pack_worker.start_worker()
    assert ended.wait(10)
    assert happened == ["parent ended", 1]


def test_cores_are_those_this_process_may_use():
    assert 1 <= io.available_cores() <= (os.cpu_count() or 1)


def test_a_process_that_dies_while_cells_are_generated_is_told(tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *_, **__):
            pass

        def submit(self, work, chunk):
            raise BrokenProcessPool("A process in the process pool was terminated abruptly")

        def shutdown(self, cancel_futures):
            pass

    monkeypatch.setattr(pack_worker, "ProcessPoolExecutor", Pool)
    with pytest.raises(Hep2ganError, match=r"worker process ended early.*lack of memory"):
        generate._write_cells([None, None], 2, 2, None)
