"""Files that are cut off under a memory map are told before they are read."""

import os
import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from hep2gan.data.batch import Request
from hep2gan.data.dataset import CellDataset, DeviceCells
from hep2gan.data.store.integrity import FileSizeGuard
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError
from hep2gan.models.output import ModelOutput
from hep2gan.training.evaluation import build_predictions, mean_mask
from tests.helpers.raw_sets import cells

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
