"""A store is read whole once, and again whenever it may not be what was read."""

import json
import os
import pickle
import shutil
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from hep2gan.data.batch import CellDataset, DeviceCells, Request
from hep2gan.data.store import integrity
from hep2gan.data.store.integrity import COLUMNS, FileSizeGuard, invalid_columns, verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.models.output import ModelOutput
from hep2gan.training.evaluation import build_predictions, mean_mask
from tests.helpers.full_disk import make_read_only, small_disk
from tests.helpers.made_store import made_store
from tests.helpers.raw_sets import cells


@pytest.fixture
def store(tmp_path):
    found = pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32)
    time.sleep(0.02)  # The kernel's clock for files ticks every few milliseconds.
    return found


@pytest.fixture
def readings(monkeypatch):
    """How often a store was read whole."""
    seen, check_content = [], integrity.check_content

    def counted(store):
        seen.append(store.path)
        check_content(store)

    monkeypatch.setattr(integrity, "check_content", counted)
    return seen


def changed(file, offset=-4):
    """Flip one bit in place."""
    with file.open("r+b") as out:
        out.seek(offset, os.SEEK_END)
        (byte,) = out.read(1)
        out.seek(offset, os.SEEK_END)
        out.write(bytes([byte ^ 1]))


def test_a_packed_store_is_not_read_again(store, readings):
    for _ in range(3):
        verify(Store.open(store.path))
    assert readings == []
    verify(store, force=True)
    assert len(readings) == 1


@pytest.mark.parametrize("name", [*COLUMNS, "specimens"])
def test_a_changed_bit_is_found_though_size_and_date_are_set_back(store, name):
    file = store.path / f"{name}.npy"
    before = file.stat()
    changed(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (before.st_mtime_ns, before.st_size)
    for _ in range(2):
        with pytest.raises(Hep2ganError, match=r"damaged.*hep2gan-pack"):
            verify(Store.open(store.path))
    changed(file)
    verify(Store.open(store.path))


def test_a_damaged_store_in_the_place_of_a_whole_one_is_found(store, tmp_path):
    shutil.copytree(store.path, tmp_path / "other")
    changed(tmp_path / "other/image.npy")
    (tmp_path / "other/image.npy").replace(store.path / "image.npy")
    with pytest.raises(Hep2ganError, match="damaged"):
        verify(Store.open(store.path))


def test_what_was_copied_or_touched_is_read_once_more(store, tmp_path, readings):
    shutil.copytree(store.path, tmp_path / "copy")
    (store.path / "mask.npy").touch()
    for path in (store.path, tmp_path / "copy"):
        for _ in range(2):
            verify(Store.open(path))
            time.sleep(0.02)
    assert readings == [store.path, tmp_path / "copy"]


def test_a_moved_store_is_the_same(store, tmp_path, readings):
    verify(Store.open(store.path.rename(tmp_path / "moved")))
    assert readings == []


@pytest.mark.parametrize("note", [None, "", "[]", '{"files": 1}', '{"files": {"image.npy": [1]}}'])
def test_without_a_note_the_store_is_read(store, readings, note):
    (store.path / "verified.json").unlink()
    if note is not None:
        (store.path / "verified.json").write_text(note)
    verify(Store.open(store.path))
    assert len(readings) == 1
    time.sleep(0.02)
    verify(Store.open(store.path))
    assert len(readings) == 1


def test_a_note_of_the_same_clock_tick_proves_nothing(store, readings):
    note = store.path / "verified.json"
    latest = max(values[-1] for values in json.loads(note.read_text())["files"].values())
    os.utime(note, ns=(latest, latest))
    verify(store)
    assert len(readings) == 1


def test_rot_without_a_writing_is_found_by_a_whole_reading_and_then_known(store, monkeypatch):
    def rotten(store):
        raise Hep2ganError("the store is damaged")

    with monkeypatch.context() as disk:
        disk.setattr(integrity, "check_content", rotten)
        verify(store)
        for force in (True, False):
            with pytest.raises(Hep2ganError, match="damaged"):
                verify(store, force=force)
    verify(store)


def test_a_store_that_cannot_be_written_is_read_every_time(store, tmp_path, readings):
    with small_disk(tmp_path / "disk", 4) as disk:
        shutil.copytree(store.path, disk / "store")
        make_read_only(disk)
        for _ in range(2):
            verify(Store.open(disk / "store"))
    assert len(readings) == 2


WORDS = r"image.npy was truncated while the run used it: .* bytes are now 4,096.*Fix: restore"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return pack_cells(cells(folder / "raw", 64), folder / "store", size=64, workers=1)


@contextmanager
def cut_off(store):
    """The store without most of its images, for as long as the block lasts."""
    image = store.path / "image.npy"
    content = image.read_bytes()
    os.truncate(image, 4096)
    try:
        yield
    finally:
        with image.open("r+b") as file:
            file.write(content)


def test_a_batch_from_a_store_that_was_cut_off_is_refused(packed):
    rows = Request(torch.arange(len(packed)), None)
    batches = CellDataset(packed)
    whole = batches[rows]
    assert np.array_equal(whole.image.numpy(), packed.image)
    with cut_off(packed):
        # Without the look this read ends the process.
        with pytest.raises(Hep2ganError, match=WORDS):
            batches[rows]
        with pytest.raises(Hep2ganError, match="truncated"):
            next(iter(torch.utils.data.DataLoader(batches, sampler=[rows], batch_size=None)))
    assert torch.equal(batches[rows].image, whole.image)


def test_what_is_deleted_or_replaced_or_grows_does_no_harm(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(bytes(100))
    files = FileSizeGuard([*(tmp_path / name for name in "abc"), tmp_path / "missing"])
    (tmp_path / "a").unlink()
    (tmp_path / "new").write_bytes(b"short")
    (tmp_path / "new").replace(tmp_path / "b")
    with (tmp_path / "c").open("ab") as file:
        file.write(b"more")
    files.check()
    os.truncate(tmp_path / "c", 99)
    with pytest.raises(Hep2ganError, match="/c was truncated"):
        files.check()


def test_a_store_that_travels_to_another_process_looks_there_again(packed):
    there = pickle.loads(pickle.dumps(packed))
    with cut_off(packed), pytest.raises(Hep2ganError, match=WORDS):
        there.check_not_truncated()


def test_evaluation_and_cells_on_the_device_look_before_they_read(packed):
    rows = np.arange(len(packed))
    with cut_off(packed):
        # Made after the file was cut: what counts is how long it was when it was mapped.
        for read in (
            lambda: CellDataset(packed)[Request(torch.from_numpy(rows), None)],
            lambda: DeviceCells(packed, torch.device("cpu")),
            lambda: mean_mask(packed, rows),
            lambda: build_predictions(
                torch.from_numpy(rows), ModelOutput(None, None, None, None), packed, None
            ),
        ):
            with pytest.raises(Hep2ganError, match=WORDS):
                read()


def made(**given):
    return made_store([0, 1, 1], **given)


def test_a_sound_store():
    assert invalid_columns(made()) == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("label", {"classes": ("A",)}),
        ("mask", {"mask": np.full((3, 8, 8), 2, np.uint8)}),
        ("specimen", {"specimen": [0, -1, -1]}),
        ("specimen", {"specimen": [-2, -1, -1]}),
        ("part", {"part": [0, 1, 3]}),
        ("levels", {"levels": [[0, 1], [2, 1], [0, 0]]}),
        ("levels", {"levels": [[0, np.nan], [1, 1], [0, 0]]}),
        ("id", {"ids": ["1", "2", "1"]}),
    ],
)
def test_values_that_mean_nothing_are_named(name, given):
    assert invalid_columns(made(**given)) == [f"{name}.npy holds invalid values"]
