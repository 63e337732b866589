"""A folder with a store of synthetic cells."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hep2gan.cli import pack
from tests.helpers.commands import call


@contextmanager
def inside_packed(folder: Path) -> Iterator[Path]:
    """Work inside `folder`, where 60 synthetic cells of 32 px have been packed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(pack, "data=phantom", "data.count=60", "data.size=32") == 0
        yield folder
