"""Grey levels of the raw crop, back from the store."""

import json
import pickle
import time
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.data.batch import CellDataset, DeviceCells, Request
from hep2gan.data.readers.image import resize, stretch
from hep2gan.data.readers.source import RawCell, RawCells
from hep2gan.data.store.integrity import COLUMNS, check_content, verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from tests.helpers.made_store import made_store
from tests.helpers.raw_sets import cells


@pytest.fixture
def store(tmp_path):
    return pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32)


def test_types_are_as_promised(store):
    types = {name: getattr(store, name).dtype.name for name in COLUMNS}
    assert types == {
        "image": "uint8",
        "mask": "uint8",
        "label": "int64",
        "specimen": "int64",
        "levels": "float32",
        "crop_size": "int64",
        "intensity": "int8",
        "part": "int8",
        "digest": "uint8",
        "id": "str160",
    }
    assert len(store.fingerprint) == 64


def test_arrays_are_mapped_and_read_only(store):
    for name in COLUMNS:
        array = getattr(store, name)
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        store.image[0] = 0


def test_a_pickled_store_is_a_path(store):
    sent = pickle.dumps(store)
    assert len(sent) < 300 + len(str(store.path))
    again = pickle.loads(sent)
    assert again.fingerprint == store.fingerprint
    np.testing.assert_array_equal(again.image, store.image)


def test_opening_costs_the_same_for_a_million_cells(store):
    count = 1_000_000
    manifest = json.loads((store.path / "manifest.json").read_text())
    for name, (dtype, shape) in COLUMNS.items():
        full = (count, *(32 if side == "S" else side for side in shape))
        dtype = "<U5" if name == "id" else dtype
        # A file of nothing but its header and a hole.
        np.lib.format.open_memmap(store.path / f"{name}.npy", "w+", np.dtype(dtype), full)
    (store.path / "manifest.json").write_text(json.dumps(manifest | {"cells": count}))
    tracemalloc.start()
    begun = time.process_time()
    opened = Store.open(store.path)
    taken = time.process_time() - begun
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(opened) == count
    assert taken < 0.5
    assert peak < 1_000_000


def refused(path, *words):
    with pytest.raises(Hep2ganError) as caught:
        Store.open(path)
    for word in (str(path), "hep2gan-pack", *words):
        assert word in str(caught.value)


def test_missing_and_foreign_folders(tmp_path):
    refused(tmp_path / "none", "does not exist")
    refused(tmp_path, "is not a packed store")
    (tmp_path / "manifest.json").write_text('{"name": "app"}')
    refused(tmp_path, "is not the manifest of a store")


@pytest.mark.parametrize("name", list(COLUMNS))
def test_missing_cut_and_wrong_arrays(store, name):
    file = store.path / f"{name}.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    refused(store.path, "damaged")
    file.write_bytes(b"")
    refused(store.path, "damaged")
    np.save(file, np.zeros((3, 3)))
    refused(store.path, "damaged", f"{name}.npy holds float64 (3, 3)")
    file.unlink()
    refused(store.path, "damaged", f"{name}.npy")


def test_arrays_of_objects_are_never_unpickled(store):
    np.save(store.path / "label.npy", np.array([print] * 4, object), allow_pickle=True)
    refused(store.path, "damaged")


def test_damaged_manifests(store):
    file = store.path / "manifest.json"
    whole = file.read_text()
    file.write_text(whole[:-9])
    refused(store.path, "damaged", "manifest.json")
    file.write_text(json.dumps(json.loads(whole) | {"version": 99}))
    refused(store.path, "version 99")
    for key in ("cells", "size", "classes", "fingerprint"):
        manifest = json.loads(whole)
        del manifest[key]
        file.write_text(json.dumps(manifest))
        refused(store.path, "damaged", key)


@pytest.mark.parametrize("name", ["image", "mask", "label", "levels", "id"])
def test_verify_notices_one_changed_byte(store, name):
    check_content(store)
    file = store.path / f"{name}.npy"
    data = bytearray(file.read_bytes())
    data[-4] ^= 1
    file.write_bytes(data)
    with pytest.raises(Hep2ganError, match="fingerprint"):
        check_content(Store.open(store.path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("cells", value) for value in (-1, 0, 2.0, True, "2", 10**400, float("inf"), None)),
        *(("size", value) for value in (0, [32], {})),
        *(("classes", value) for value in ("ab", [], ["a", "a"], [1, 2], {"a": 1})),
        ("fingerprint", 7),
    ],
)
def test_manifests_of_wrong_types(store, key, value):
    file = store.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    refused(store.path, "damaged")


@pytest.mark.parametrize(
    "header",
    [
        b"PK\x03\x04" + bytes(60),
        b"\x93NUMPY\x01\x00\x0a\x00{'descr'\n(",
        b"\x93NUMPY\x01\x00\x40\x00{'descr': '<U9', 'fortran_order': False, 'shape': (2**50,)}   ",
        b"\x93NUMPY\x01\x00\x41\x00{'descr': '<U9', 'fortran_order': False, 'shape': (10**9,)}    ",
    ],
)
@pytest.mark.parametrize("name", ["specimens", "label", "id"])
def test_hostile_headers(store, header, name):
    (store.path / f"{name}.npy").write_bytes(header)
    refused(store.path, "damaged")


def test_damaged_pixels_are_packed_again(store, tmp_path):
    file = store.path / "image.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    check_content(pack_cells(cells(tmp_path / "raw", 4), store.path, size=32))
    assert file.read_bytes() == whole


def store_of(crop, size):
    stored, levels = stretch(resize(crop, size))
    store = made_store([0], size=size, image=stored[None], levels=np.asarray([levels]))
    store.crop_size[0] = crop.shape
    return store


def test_crops_of_the_stored_size_come_back_exactly():
    rng = np.random.default_rng(0)
    for low, high in ((0, 256), (12, 40), (7, 8)):
        crop = rng.integers(low, high, (24, 24)).astype(np.float32)
        np.testing.assert_array_equal(store_of(crop, 24).crop(0), crop)


def test_other_crops_come_back_at_their_size_and_nearly():
    y, x = np.mgrid[:50, :60]
    crop = np.rint(40 + 25 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)
    back = store_of(crop, 64).crop(0)
    assert back.shape == crop.shape
    assert np.abs(back - crop)[2:-2, 2:-2].max() <= 1.5
    assert (back == np.rint(back)).all()


# ---------------------------------------------------------------- intensities as labels


def test_intensities_as_labels(store):
    """Cells 1 to 4 are positive, intermediate, positive, intermediate; a a b b."""
    other = store.for_target("intensity")
    assert (other.target, other.classes) == ("intensity", ("intermediate", "positive"))
    assert (other.label.tolist(), other.label.dtype.name) == ([1, 0, 1, 0], "int64")
    assert (len(other), other.left_out) == (4, 0)
    assert other.fingerprint == store.fingerprint
    assert other.image is store.image
    rows = np.array([3, 0])
    assert other.pattern_names(rows).tolist() == ["b", "a"]
    assert other.intensity_names(rows) is None
    assert (store.target, store.left_out, store.pattern_names(rows)) == ("pattern", 0, None)
    assert store.intensity_names(rows).tolist() == ["intermediate", "positive"]
    assert other.for_target("pattern") is store
    assert other.for_target("intensity") is other
    verify(other, force=True)


def test_cells_of_unknown_intensity_are_left_out(tmp_path):
    raw = cells(tmp_path / "raw", 6)
    found = [
        cell._replace(intensity=kind)
        for cell, kind in zip(raw.cells, (-1, 1, 0, -1, 0, 1), strict=True)
    ]
    store = pack_cells(raw._replace(cells=found), tmp_path / "store", size=32)
    names = store.intensity_names(np.array([0, 1, 2]))
    assert names.tolist() == ["", "positive", "intermediate"]
    assert store.intensity_names(np.array([0, 3])) is None
    other, kept = store.for_target("intensity"), [1, 2, 4, 5]
    assert (len(other), other.left_out, other.label.tolist()) == (4, 2, [1, 0, 0, 1])
    for name in set(COLUMNS) - {"label", "image", "mask"}:
        np.testing.assert_array_equal(getattr(other, name), getattr(store, name)[kept])
    assert other.pattern_names(np.array([0, 3])).tolist() == ["a", "b"]
    # Copies in worker processes, and on the device, hold the same cells.
    again = pickle.loads(pickle.dumps(other))
    assert (again.target, again.label.tolist()) == ("intensity", [1, 0, 0, 1])
    rows = torch.tensor([3, 0, 2])
    batches = [
        CellDataset(again)[Request(rows, None)],
        DeviceCells(other, torch.device("cpu"), chunk=3).gather(Request(rows, None)),
    ]
    for batch in batches:
        np.testing.assert_array_equal(batch.image.numpy(), store.image[[5, 1, 4]])
        np.testing.assert_array_equal(batch.mask.numpy(), store.mask[[5, 1, 4]])
        assert batch.label.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(other.crop(2), store.crop(4))


@pytest.mark.parametrize(
    ("intensity", "fact"),
    [
        ([-1, -1, -1], "no cell of made has a known intensity"),
        ([1, -1, 1], "all cells of known intensity in made are positive"),
        ([0, 0, 0], "all cells of known intensity in made are intermediate"),
    ],
)
def test_one_intensity_is_nothing_to_learn(intensity, fact):
    with pytest.raises(Hep2ganError, match=fact) as caught:
        made_store([0, 1, 1], intensity=intensity).for_target("intensity")
    assert "set target=pattern; or pack again" in caught.value.fix


def test_the_geometry_of_the_crops_is_that_of_the_raw_masks(tmp_path):
    sizes = [(70, 80, 10), (66, 60, 8), (50, 90, 12)]  # height, width, margin
    found = []
    for number, (height, width, margin) in enumerate(sizes, 1):
        image, mask = (
            np.full((height, width), number, np.uint8),
            np.zeros((height, width), np.uint8),
        )
        mask[margin : height - margin, margin : width - margin] = 255
        image[mask > 0] = 200
        for name, pixels in ((f"{number}.png", image), (f"{number}_m.png", mask)):
            Image.fromarray(pixels).save(tmp_path / name)
        place = tmp_path / f"{number}.png"
        found.append(RawCell(str(number), place, tmp_path / f"{number}_m.png", 0))
    store = pack_cells(RawCells("set", ("a",), found), tmp_path / "store", size=32)
    # Sides 70, 80, 66, 60, 50, 90; the squares have 50·60, 50·44 and 26·66 = 1716 pixels.
    diameter = round(2 * (2200 / np.pi) ** 0.5, 2)
    assert store.crop_geometry(99.0) == (90, 50, 68, 10, diameter)
    plain = RawCells("set", ("a",), [cell._replace(mask=None) for cell in found])
    store = pack_cells(plain, tmp_path / "plain", size=32)
    assert store.crop_geometry(6.0) == (90, 50, 68, 6, 56.0)
    assert store.crop_geometry(0.0, 0.25) == (90, 50, 68, 17, 34.0)
    assert store.crop_geometry() == (90, 50, 68, 0, 68.0)
