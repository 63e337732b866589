"""Worker processes: their number, and their end."""

import os
import threading

from hep2gan import io
from hep2gan.data.store import pack_worker


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
