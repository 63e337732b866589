"""Whatever is printed, wherever to: no character and no reader that left ends a command."""

import io
import logging
import os
import subprocess
import sys

import pytest

from hep2gan.cli import local, terminal
from hep2gan.runs.folder import RunFolder
from tests.helpers.configs import parsed
from tests.helpers.started import environment

TEXT = "256 × 256, Kerngröße, 均质, caf\udce9.png"


def piped(encoding="utf-8", unbuffered=False):
    """The reading end of a pipe, and a prepared stream on the other."""
    reader, writer = os.pipe()
    file = os.fdopen(writer, "wb", buffering=0 if unbuffered else -1)
    stream = io.TextIOWrapper(file, encoding, write_through=unbuffered)
    return reader, stream, terminal._on_descriptor(stream)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8", "gbk"])
def test_characters_that_a_terminal_lacks_are_escaped(encoding):
    reader, stream, prepared = piped(encoding)
    print(TEXT, file=prepared, flush=True)
    shown = os.read(reader, 1000)
    assert shown == (TEXT + os.linesep).encode(encoding, "backslashreplace")
    assert b"caf\\udce9.png" in shown
    os.close(reader)
    stream.close()


def test_a_stream_of_another_kind_is_prepared_in_place():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    assert terminal._escaping(stream) is stream
    print("×", file=stream, flush=True)
    assert stream.buffer.getvalue().strip() == b"\\xd7"
    nothing_known = io.StringIO()
    assert terminal._escaping(nothing_known) is nothing_known


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_command_goes_on_when_its_reader_has_left(unbuffered):
    reader, stream, prepared = piped(unbuffered=unbuffered)
    handler = logging.StreamHandler(prepared)
    os.close(reader)
    for _ in range(3):
        print("x" * 100_000, file=prepared, flush=True)
        handler.emit(logging.makeLogRecord({"msg": TEXT}))
    prepared.close()
    stream.close()


def test_a_full_disk_behind_the_output_is_not_passed_over():
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        prepared = terminal._on_descriptor(stream)
        with pytest.raises(OSError, match="No space left"):
            print("lost", file=prepared, flush=True)
        with pytest.raises(OSError, match="No space left"):
            prepared.close()


def test_without_any_output_nothing_breaks(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "__stdout__", None)
    terminal.prepare_output()
    assert not sys.stdout.isatty()
    print(TEXT)
    sys.stdout.close()


def test_the_log_of_a_run_takes_every_character(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with local._log_file(RunFolder(tmp_path / "run"), parsed()):
        # Not by its logger: pytest's workers cannot send what they capture of such a text.
        (file,) = (h for h in logging.getLogger().handlers if isinstance(h, local._LateFileHandler))
        file.handle(logging.makeLogRecord({"msg": TEXT}))
    shown = (tmp_path / "run" / "train.log").read_bytes()
    assert TEXT.encode("utf-8", "backslashreplace") in shown


@pytest.mark.integration
def test_a_command_behind_head_says_nothing_more():
    process = subprocess.Popen(
        [sys.executable, "-m", "hep2gan.cli.pack", "--help"],
        env=environment() | {"PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
