"""Cells of a changed store reach no checkpoint."""

import os

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.training.callbacks.checkpoint import StoreGuard
from tests.helpers.made_store import made_store


@pytest.fixture
def watched(tmp_path):
    """A watch on a folder with a file of a store."""
    (tmp_path / "image.npy").write_bytes(bytes(100))
    (tmp_path / "verified.json").write_text("{}")
    store = made_store([0, 1])
    object.__setattr__(store, "path", tmp_path)
    return StoreGuard(store), tmp_path / "image.npy"


def saving(watch):
    watch.on_save_checkpoint(None, None, {})


def test_an_untouched_store_is_saved_of(watched):
    saving(watched[0])


@pytest.mark.parametrize("how", ["written", "cut off", "same size"])
def test_a_file_changed_in_place_stops_the_run(watched, how):
    watch, file = watched
    if how == "cut off":
        os.truncate(file, 10)
    else:
        with file.open("r+b") as out:
            out.write(bytes(200 if how == "written" else 50))
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(Hep2ganError, match=r"image\.npy was changed.*restore"):
        saving(watch)


def test_a_file_that_is_deleted_or_replaced_does_no_harm(watched):
    watch, file = watched
    (file.parent / "new").write_bytes(bytes(300))
    (file.parent / "new").rename(file)
    saving(watch)
    file.unlink()
    saving(watch)


def test_another_run_that_verifies_the_store_does_no_harm(watched):
    watch, file = watched
    # The number of the record that it replaced can be that of the new one: so in place.
    (file.parent / "verified.json").write_text('{"files": {}}')
    saving(watch)
