"""Worker processes: their number, and their end."""

import os
import threading

from hep2gan.data.store import processes


def test_workers_end_with_their_parent(monkeypatch):
    happened, ended = [], threading.Event()

    class Parent:
        def join(self):
            happened.append("parent ended")

    monkeypatch.setattr(processes, "parent_process", Parent)
    monkeypatch.setattr(processes.os, "_exit", lambda code: (happened.append(code), ended.set()))
    processes.end_with_parent()
    assert ended.wait(10)
    assert happened == ["parent ended", 1]


def test_cores_are_those_this_process_may_use():
    assert 1 <= processes.cores() <= (os.cpu_count() or 1)
