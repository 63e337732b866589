"""One Slurm for all tests of a module."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, missing, one_node


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    # pytest's own folders, or a TMPDIR, can be too long for the sockets in them.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(short_folder: Path) -> Iterator[Cluster]:
    if absent := missing():
        pytest.skip(f"not installed: {', '.join(absent)}; `make test-slurm` installs them")
    with one_node(short_folder / "c", grace_seconds=2, kill_seconds=2) as running:
        yield running
