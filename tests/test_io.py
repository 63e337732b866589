"""Files and the terminal: safe readers, configurations as OmegaConf writes them, locks, folders."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hep2gan import io
from hep2gan.errors import Hep2ganError
from hep2gan.io import (
    atomic_folder,
    atomic_write,
    csv_text,
    file_lock,
    parse_yaml,
    read_json,
    read_safe_yaml,
    to_yaml,
    write_json,
)
from tests.helpers.configs import composed


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1]", "is not a mapping of names to values"),
        (b'{"a": ', "Expecting value"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * (16 * 1024 * 1024) + b"{}", r"16,777,218 bytes, at most 16,777,216"),
    ],
)
def test_json_that_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"a\.json.*{reason}"):
        read_json(written(tmp_path / "a.json", content))


def test_json_comes_back(tmp_path):
    found = read_json(written(tmp_path / "a.json", '{"ü": [1, 2.5, null]}'.encode()))
    assert found == {"ü": [1, 2.5, None]}
    write_json(tmp_path / "b.json", found)
    assert read_json(tmp_path / "b.json") == found
    assert (tmp_path / "b.json").read_text() == '{\n "\\u00fc": [\n  1,\n  2.5,\n  null\n ]\n}\n'
    write_json(tmp_path / "b.json", {"a": 1}, indent=None)
    assert (tmp_path / "b.json").read_text() == '{"a": 1}\n'


def test_rows_are_written_as_csv():
    rows = [{"a": 1, "b": 'say "x,y"'}, {"b": None}]
    assert csv_text(["a", "b"], rows) == 'a,b\n1,"say ""x,y"""\n,\n'
    assert csv_text(["a"], [{"a": 2.5}], "\r\n") == "a\r\n2.5\r\n"
    with pytest.raises(ValueError, match="b"):
        csv_text(["a"], rows)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\nb: &x 2\n", "line 2: an anchor or alias 'x'"),
        (b"a: !!str 1", "line 1: a tag that names a type"),
        (b"a:\n- ${b}", r"line 2: an interpolation, '\$\{b\}'"),
        (b"a: " + b"[" * 33 + b"]" * 33, "more than 32 levels"),
        (b"a: [", "damaged"),
        (b"a: \xff", "damaged"),
        (b"#" * 65_537, "65,537 bytes"),
    ],
)
def test_yaml_that_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"a\.yaml.*{reason}"):
        read_safe_yaml(written(tmp_path / "a.yaml", content))


def test_yaml_comes_back_as_it_is(tmp_path):
    text = "a: {b: [1, 'x']}\nc: ü\n"
    assert read_safe_yaml(written(tmp_path / "a.yaml", text.encode())) == text


def test_missing_files_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "p")
    for read in (read_json, read_safe_yaml):
        with pytest.raises(ValueError, match="none: No such file"):
            read(tmp_path / "none")
        with pytest.raises(ValueError, match="not a regular file"):
            read(tmp_path / "p")


# ---------------------------------------------------------------------- YAML

AWKWARD = {
    "text": ["1e-3", "1", "-.5", "1_000", "nan", "inf", "yes", "No", "y", "N", "on", "null",
             "~", ""],
    "more text": ["2026-01-01", "12:30", "0x1f", "a: b", "# x", " x ",
                  "two\nlines", "ü\t", "'", "<<", "="],
    "numbers": [1e-05, 1e22, 0.1 + 0.2, -0.0, 10**20, float("inf"), True, False, None],
    "nested": {"a": [[1, [2]], {"b": []}], "c": {}, "d": [{"e": 1, "f": None}]},
    "long": "word " * 60,
}  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data=phantom", "scale=laptop", "method=vgg16"),
        ("data=phantom", "split.folds=3", "trainer=ddp", "optimizer.generator.lr=1e-05"),
    ],
)
def test_the_text_of_a_configuration_is_omegaconfs(overrides):
    config = composed("train", *overrides)
    assert to_yaml(config) == OmegaConf.to_yaml(OmegaConf.create(config))
    assert parse_yaml(to_yaml(config)) == config


def test_awkward_values_come_back_with_their_types():
    text = to_yaml(AWKWARD)
    assert text == OmegaConf.to_yaml(OmegaConf.create(AWKWARD))
    assert repr(parse_yaml(text)) == repr(AWKWARD)


@pytest.mark.parametrize(
    "text", ["1e-05", "1E5", "-1.5e3", "+2e1", "1.5e-3", "3", "1_0", "0.5", ".5"]
)
def test_numbers_written_by_hand_are_read_as_omegaconf_reads_them(text):
    (ours,) = parse_yaml(f"a: {text}").values()
    theirs = OmegaConf.create(f"a: {text}").a
    assert (type(ours), ours) == (type(theirs), theirs)


def test_shared_lists_are_written_out():
    shared = [1]
    assert to_yaml({"a": shared, "b": shared}) == "a:\n- 1\nb:\n- 1\n"


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "- a", "a", "", "? [a]\n: 1", "a: [", "!!python/name:os.system"]
)
def test_what_is_no_configuration(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_yaml(text)


# ---------------------------------------------------------------------- folders and locks


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


def test_a_lock_that_is_never_freed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "LOCK_HOURS", 0.0001)
    store = tmp_path / "store"
    with file_lock(store), pytest.raises(Hep2ganError) as told, file_lock(store):
        pass
    assert "another process has held" in told.value.fact
    assert f"fuser {tmp_path}/.store.lock" in told.value.fix


def test_names_that_are_no_utf_8_are_written_as_the_disk_has_them(tmp_path):
    atomic_write(tmp_path / "list.csv", "Kerngröße,caf\udce9.png\n")
    assert (tmp_path / "list.csv").read_bytes() == "Kerngröße,caf".encode() + b"\xe9.png\n"


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1),
        ("1600000 100000", 8), ("", 8), ("unlimited", 8),
    ],
)  # fmt: skip
def test_a_container_has_its_share_of_the_cores(tmp_path, monkeypatch, limit, cores):
    monkeypatch.setattr(io.sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    real = io._container_cores
    file = written(tmp_path / "cpu.max", limit.encode())
    monkeypatch.setattr(io, "_container_cores", lambda _: real(file))
    assert io.available_cores() == cores
    file.unlink()
    assert io.available_cores() == 8


def test_other_systems_count_their_cores(monkeypatch):
    monkeypatch.setattr(io.sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert io.available_cores() == 6


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    io.share_machine()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    io.share_machine()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
