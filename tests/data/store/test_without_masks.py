"""Stores of sets without masks: all that needs none is as with masks, and nothing is made up."""

import json

import numpy as np
import pytest

from hep2gan.data.store import pack
from hep2gan.data.store.integrity import invalid_columns, verify
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.pack_worker import cell_digest
from hep2gan.data.store.report import format_report
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import cells, draw


def without_masks(raw):
    return raw._replace(cells=[cell._replace(mask=None) for cell in raw.cells])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same 24 cells, packed with and without their masks."""
    folder = tmp_path_factory.mktemp("both")
    raw = cells(folder / "raw", 24)
    with_masks = pack_cells(raw, folder / "with", size=32, workers=1)
    return with_masks, pack_cells(without_masks(raw), folder / "without", size=32, workers=1)


def test_everything_but_the_masks_is_the_same(both):
    with_masks, without = both
    assert (with_masks.has_masks, without.has_masks) == (True, False)
    assert without.mask is None
    assert not (without.path / "mask.npy").exists()
    for name in ("image", "label", "specimen", "levels", "crop_size", "intensity", "part", "id"):
        np.testing.assert_array_equal(getattr(without, name), getattr(with_masks, name))
    assert without.fingerprint != with_masks.fingerprint
    image = draw(1)[0].astype(np.float32)
    assert without.digest[0].tobytes() == cell_digest(image, None)
    assert with_masks.digest[0].tobytes() != cell_digest(image, None)


def test_content_is_verified(both):
    without = Store.open(both[1].path)
    verify(without, force=True)
    assert invalid_columns(without) == []
    assert without.manifest["masks"] is False
    assert without.manifest["findings"]["oddities"] == []


def test_the_report_says_so(both):
    assert "no masks: methods that segment cannot be trained" in format_report(both[1])
    assert not any("no masks" in line for line in format_report(both[0]))


@pytest.mark.parametrize("claimed", [True, "no", None])
def test_a_manifest_that_claims_masks_is_damaged(tmp_path, claimed):
    store = pack_cells(without_masks(cells(tmp_path / "raw", 4)), tmp_path / "store", size=32)
    file = store.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"masks": claimed}))
    with pytest.raises(Hep2ganError, match="is damaged"):
        Store.open(store.path)


def test_a_manifest_that_denies_its_masks_is_damaged(tmp_path):
    store = pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32)
    file = store.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"masks": False}))
    with pytest.raises(Hep2ganError, match="fingerprint of its content differs"):
        verify(Store.open(store.path), force=True)


def test_masks_that_come_or_go_pack_the_set_again(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 4)
    for wanted in (without_masks(raw), raw, without_masks(raw)):
        store = pack_cells(wanted, tmp_path / "store", size=32)
        assert store.has_masks == wanted.has_masks
        assert (store.path / "mask.npy").exists() == wanted.has_masks
    monkeypatch.setattr(pack, "run_chunks", None)  # nothing is read a second time
    assert pack_cells(without_masks(raw), tmp_path / "store", size=32).mask is None


def test_equal_images_are_duplicates(tmp_path):
    raw = without_masks(cells(tmp_path / "raw", 6))
    (tmp_path / "raw/00005.png").write_bytes((tmp_path / "raw/00001.png").read_bytes())
    store = pack_cells(raw, tmp_path / "store", size=32)
    assert store.manifest["findings"]["duplicates"]["listed"] == [["00001", "00005"]]


def test_damaged_images_stop_or_are_skipped(tmp_path):
    raw = without_masks(cells(tmp_path / "raw", 6))
    (tmp_path / "raw/00002.png").write_bytes(b"no image")
    with pytest.raises(Hep2ganError, match=r"1 of 6 cells .*cannot be packed"):
        pack_cells(raw, tmp_path / "store", size=32)
    store = pack_cells(raw, tmp_path / "store", size=32, on_error="skip")
    assert store.id.tolist() == ["00001", "00003", "00004", "00005", "00006"]
    assert store.mask is None
    assert sorted(path.name for path in store.path.glob("*mask*")) == []


def test_half_the_room_on_the_disk_is_enough(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 4)
    room = 4 * 32 * 32
    monkeypatch.setattr(pack.shutil, "disk_usage", lambda _: type("Usage", (), {"free": room}))
    with pytest.raises(Hep2ganError, match="GB free"):
        pack_cells(raw, tmp_path / "store", size=32)
    assert len(pack_cells(without_masks(raw), tmp_path / "store", size=32)) == 4


def test_masks_for_some_cells_only(tmp_path):
    raw = cells(tmp_path / "raw", 6)
    some = raw._replace(
        cells=[c._replace(mask=None) if c.id in ("00002", "00005") else c for c in raw.cells]
    )
    with pytest.raises(Hep2ganError) as caught:
        pack_cells(some, tmp_path / "store", size=32)
    assert "2 of 6 cells have no mask: 00002, 00005" in caught.value.fact
    assert "for each cell or for none" in caught.value.rule
    assert "data.on_error=skip" in caught.value.fix
    assert "data.masks=false" in caught.value.fix
    assert not (tmp_path / "store").exists()
    store = pack_cells(some, tmp_path / "store", size=32, on_error="skip")
    assert store.id.tolist() == ["00001", "00003", "00004", "00006"]
    assert store.has_masks
    skipped = store.manifest["findings"]["skipped"]["listed"]
    assert [(cell["id"], cell["reason"]) for cell in skipped] == [
        ("00002", "has no mask"),
        ("00005", "has no mask"),
    ]
