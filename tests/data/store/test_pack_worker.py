"""Worker processes: their number, and their end; crops that are cut anew."""

import os
import threading
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from hep2gan import io
from hep2gan.data.external import external_set
from hep2gan.data.phantom import generate
from hep2gan.data.phantom.generate import PhantomSource, write_phantom
from hep2gan.data.prepare import open_store
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.readers.source import PackSettings
from hep2gan.data.store import pack_worker
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError


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


def test_a_process_that_dies_while_cells_are_generated_is_told(tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *_, **__):
            pass

        def submit(self, work, chunk):
            raise BrokenProcessPool("A process in the process pool was terminated abruptly")

        def shutdown(self, cancel_futures):
            pass

    monkeypatch.setattr(pack_worker, "ProcessPoolExecutor", Pool)
    with pytest.raises(Hep2ganError, match=r"worker process ended early.*lack of memory"):
        generate._write_cells([None, None], 2, 2, None)


CROP = np.arange(80, dtype=np.float32).reshape(8, 10)


def cut(crop=CROP, beyond="symmetric", name="00001", **settings):
    return pack_worker.recut(crop, name, PackSettings(**settings), beyond)


def test_a_crop_is_cut_tighter_and_looser():
    assert cut() is CROP
    np.testing.assert_array_equal(cut(crop_change=-2), CROP[2:-2, 2:-2])
    looser = cut(crop_change=2)
    assert looser.shape == (12, 14)
    np.testing.assert_array_equal(looser[2:-2, 2:-2], CROP)
    # Beyond lies the margin mirrored, and no mask.
    np.testing.assert_array_equal(looser[2:-2, :2], CROP[:, 1::-1])
    assert cut(np.ones((8, 10), np.uint8), "constant", crop_change=2).sum() == 80
    with pytest.raises(Hep2ganError, match=r"8 × 10 pixels, of which data\.crop_change=-4 leaves"):
        cut(crop_change=-4)


@pytest.mark.parametrize("change", [0, -3])
def test_a_crop_is_shifted_by_its_id(change):
    padded, seen = np.pad(CROP, 2, mode="symmetric"), set()
    for name in map(str, range(200)):
        found = cut(name=name, crop_shift=2, crop_change=change)
        mask = cut(
            (CROP > 40).astype(np.uint8), "symmetric", name, crop_shift=2, crop_change=change
        )
        np.testing.assert_array_equal(mask, found > 40)
        places = [
            (y, x)
            for y in range(-2, 3)
            for x in range(-2, 3)
            if np.array_equal(
                padded[2 + y - change : 10 + y + change, 2 + x - change : 12 + x + change], found
            )
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25
    np.testing.assert_array_equal(cut(crop_shift=2), cut(crop_shift=2))


def test_a_set_that_is_cut_anew_is_the_same_cells(tmp_path):
    write_phantom(tmp_path / "raw", 12, workers=1)
    raw = read_icpr2016(tmp_path / "raw")
    whole = pack_cells(raw, tmp_path / "whole", size=64, workers=1)
    tight = pack_cells(raw, tmp_path / "tight", size=64, crop_change=-8, workers=1)
    assert (tight.crop_size == whole.crop_size - 16).all()
    assert tight.mask.mean() > 1.3 * whole.mask.mean()
    margins = (whole.crop_geometry(10, 0.0).margin, tight.crop_geometry(2, 0.0).margin)
    assert margins == (10, 2)
    # A run that was trained on some of them is not tested on these, cut anew.
    found = external_set(tight, whole.classes, training=(whole, np.arange(4)))
    assert found.rows.tolist() == list(range(4, 12))
    source = PhantomSource(name="tight", size=64, store=str(tmp_path / "tight"))
    with pytest.raises(Hep2ganError, match=r"packed with data\.crop_change=-8, here it is 0"):
        open_store(source)
    assert len(open_store(source.model_copy(update={"crop_change": -8}))) == 12
