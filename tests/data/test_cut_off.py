"""Files that are cut off under a memory map are told before they are read."""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch

from hep2gan.data.batches import CellBatches, Request
from hep2gan.data.cut_off import WholeFiles
from hep2gan.data.packing import pack
from hep2gan.errors import Hep2ganError
from tests.data.raw_sets import cells

WORDS = r"image.npy was cut off while the run used it: .* bytes are now 4,096.*Fix: restore"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return pack(cells(folder / "raw", 64), folder / "store", size=64, workers=1)


def test_a_batch_from_a_store_that_was_cut_off_is_refused(packed):
    rows = Request(torch.arange(len(packed)), None)
    batches = CellBatches(packed)
    whole = batches[rows]
    assert np.array_equal(whole.image.numpy(), packed.image)
    image = packed.path / "image.npy"
    content = image.read_bytes()
    os.truncate(image, 4096)
    try:
        # Without the look this read ends the process.
        with pytest.raises(Hep2ganError, match=WORDS):
            batches[rows]
        with pytest.raises(Hep2ganError, match="cut off"):
            next(iter(torch.utils.data.DataLoader(batches, sampler=[rows], batch_size=None)))
    finally:
        with image.open("r+b") as file:
            file.write(content)
    assert torch.equal(batches[rows].image, whole.image)


def test_what_is_deleted_or_replaced_or_grows_does_no_harm(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(bytes(100))
    files = WholeFiles([*(tmp_path / name for name in "abc"), tmp_path / "missing"])
    (tmp_path / "a").unlink()
    (tmp_path / "new").write_bytes(b"short")
    (tmp_path / "new").replace(tmp_path / "b")
    with (tmp_path / "c").open("ab") as file:
        file.write(b"more")
    files.require()
    os.truncate(tmp_path / "c", 99)
    with pytest.raises(Hep2ganError, match="/c was cut off"):
        files.require()


def test_it_travels_to_processes_that_are_not_forked(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    there = pickle.loads(pickle.dumps(WholeFiles([tmp_path / "a"])))
    there.require()
    os.truncate(tmp_path / "a", 1)
    with pytest.raises(Hep2ganError, match="100 bytes are now 1"):
        there.require()
    shutil.rmtree(tmp_path)
