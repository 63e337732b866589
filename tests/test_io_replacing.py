import errno
import fcntl
import threading
from pathlib import Path

import pytest

from hep2gan.io import atomic_folder, file_lock


def fail(path):
    path.touch()
    raise RuntimeError


def test_a_block_that_fails_changes_nothing(tmp_path):
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        fail(folder / "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["store", "old"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    for left in (".store.partial", ".store.former", "store"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").touch()
    with atomic_folder(tmp_path / "store") as folder:
        assert not list(folder.iterdir())
        (folder / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "store"]


def test_a_store_lost_between_two_renames_comes_back(tmp_path):
    (tmp_path / ".store.former").mkdir()
    (tmp_path / ".store.former" / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "store"):
        raise RuntimeError
    assert (tmp_path / "store" / "old").exists()


def test_a_rename_that_fails_puts_the_former_back(tmp_path, monkeypatch):
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def stubborn(path, to):
        if path.name.endswith(".partial"):
            raise PermissionError
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", stubborn)
    with pytest.raises(PermissionError), atomic_folder(target):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["store", "old"]


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "store"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_writers_take_turns(tmp_path):
    events = []
    inside, go_on = threading.Event(), threading.Event()

    def first():
        with file_lock(tmp_path / "store"):
            inside.set()
            go_on.wait(5)
            events.append("first out")

    def second():
        inside.wait(5)
        with file_lock(tmp_path / "store"):
            events.append("second in")

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    threads[1].join(0.3)
    assert events == []
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert events == ["first out", "second in"]
    assert list(tmp_path.iterdir()) == []
