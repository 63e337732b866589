"""Disks that are full or cannot be written: a device, and small file systems of our own."""

import os
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs a device that is always full"
)


def divert(path):
    """Send what this process writes whole for `path` to a device without space."""
    path.with_name(f"{path.name}.{os.getpid()}.partial").symlink_to("/dev/full")


@contextmanager
def small_disk(folder, megabytes):
    """A file system of its own at `folder`; skips the test where none may be mounted."""
    folder.mkdir()
    size = f"size={megabytes}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder):
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder):
    """Take all the space there is; the file that does."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))
    return file
