import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hep2gan.data.readers.source import CellError
from hep2gan.data.store import pack
from hep2gan.data.store.integrity import check_content
from hep2gan.data.store.pack import pack_cells
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from tests.data.readers.test_image import png_bytes
from tests.helpers.raw_sets import cells, draw, write_pair


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "raw")


def test_every_column(tmp_path):
    raw = cells(tmp_path / "raw", 8)
    store = pack_cells(raw, tmp_path / "store", size=48)
    assert (len(store), store.size, store.classes) == (8, 48, ("a", "b"))
    assert store.id.tolist() == [f"{n:05d}" for n in range(1, 9)]
    assert store.label.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert store.specimen.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert store.specimen_names.tolist() == ["s0", "s1", "s2"]
    assert store.intensity.tolist() == [1, 0] * 4
    assert store.part.tolist() == [1, 2, 0, 1, 2, 0, 1, 2]
    assert store.crop_size.tolist() == [list(draw(n)[0].shape) for n in range(1, 9)]
    assert store.mask.max(axis=(1, 2)).tolist() == [1] * 8
    assert names(tmp_path) == ["store"]


def test_images_come_back_within_half_a_step_of_pillow_s_float_resize(tmp_path):
    store = pack_cells(cells(tmp_path / "raw", 6), tmp_path / "store", size=32)
    for row in range(6):
        image, mask = draw(row + 1)
        grey = Image.fromarray(image.astype(np.float32))
        expected = np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR))
        lo, hi = store.levels[row].astype(float)
        back = lo + store.image[row] / 255 * (hi - lo)
        assert np.abs(back - expected).max() <= (hi - lo) / 510 + 1e-4
        nearest = Image.fromarray(mask).resize((32, 32), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(store.mask[row], np.asarray(nearest) // 255)


def test_the_number_of_workers_and_the_place_change_nothing(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 10)
    alone = pack_cells(raw, tmp_path / "alone", size=32, workers=1)
    monkeypatch.setattr(pack, "CHUNK", 3)
    seen = []
    several = pack_cells(
        raw, tmp_path / "x" / "y", size=32, workers=2, progress=lambda *at: seen.append(at)
    )
    assert several.fingerprint == alone.fingerprint
    for name in ("image", "mask", "levels", "digest", "id"):
        np.testing.assert_array_equal(getattr(several, name), getattr(alone, name))
    assert [total for _, total in seen] == [10] * 4
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (10, 10)


def test_the_fingerprint_follows_the_content(tmp_path):
    raw = cells(tmp_path / "raw", 4)
    first = pack_cells(raw, tmp_path / "a", size=32).fingerprint
    others = [
        raw._replace(classes=("a", "c")),
        raw._replace(cells=[*raw.cells[:3], raw.cells[3]._replace(label=0)]),
        raw._replace(cells=raw.cells[::-1]),
    ]
    prints = [pack_cells(other, tmp_path / "b", size=32).fingerprint for other in others]
    assert len({first, *prints}) == 4
    assert pack_cells(raw, tmp_path / "b", size=32).fingerprint == first


def test_packing_again_is_instant(tmp_path, monkeypatch, caplog):
    raw = cells(tmp_path / "raw", 4)
    first = pack_cells(raw, tmp_path / "store", size=32)
    monkeypatch.setattr(pack, "run_chunks", None)  # nothing is read a second time
    with caplog.at_level(logging.INFO):
        again = pack_cells(raw, tmp_path / "store", size=32)
    assert again.fingerprint == first.fingerprint
    assert "already packed" in caplog.text


def test_a_moved_source_is_the_same_source(tmp_path, monkeypatch):
    pack_cells(cells(tmp_path / "raw", 4), tmp_path / "store", size=32)
    (tmp_path / "raw").rename(tmp_path / "moved")
    monkeypatch.setattr(pack, "run_chunks", None)
    moved = cells(tmp_path / "other", 4)
    found = [
        cell._replace(
            image=tmp_path / "moved" / cell.image.name, mask=tmp_path / "moved" / cell.mask.name
        )
        for cell in moved.cells
    ]
    pack_cells(moved._replace(cells=found), tmp_path / "store", size=32)


@pytest.mark.parametrize("change", ["file", "date", "size", "white_level", "label"])
def test_another_source_or_setting_replaces_the_store(tmp_path, caplog, change):
    raw = cells(tmp_path / "raw", 4)
    first = pack_cells(raw, tmp_path / "store", size=32)
    settings = {"size": 32}
    if change == "file":
        write_pair(tmp_path / "new", 99)
        (tmp_path / "new" / "00099.png").replace(raw.cells[0].image)
        (tmp_path / "new" / "00099_Mask.png").replace(raw.cells[0].mask)
    elif change == "date":
        os.utime(raw.cells[0].mask, (1, 1))
    elif change == "label":
        raw = raw._replace(cells=[raw.cells[0]._replace(label=1), *raw.cells[1:]])
    else:
        settings |= {"size": 48} if change == "size" else {"white_level": 4095}
    with caplog.at_level(logging.INFO):
        second = pack_cells(raw, tmp_path / "store", **settings)
    assert "packing it again" in caplog.text
    assert (second.fingerprint == first.fingerprint) == (change in ("white_level", "date"))
    assert second.manifest["signature"] != first.manifest["signature"]
    assert first.image.shape == (4, 32, 32)  # who has the old one open keeps it
    assert names(tmp_path)[-1] == "store"


def broken(root):
    """Six cells, of which four are broken in five ways."""
    raw = cells(root, 6)
    raw.cells[0].image.write_bytes(raw.cells[0].image.read_bytes()[:60])
    raw.cells[1].mask.unlink()
    raw.cells[1].image.unlink()
    Image.new("L", (50, 50)).save(raw.cells[3].mask)
    Image.new("L", (9, 9), 255).save(raw.cells[4].mask)
    return raw


def test_broken_pairs_stop_the_pack_with_the_whole_list(tmp_path):
    raw = broken(tmp_path / "raw")
    with pytest.raises(Hep2ganError) as caught:
        pack_cells(raw, tmp_path / "store", size=32)
    text = str(caught.value)
    assert "4 of 6 cells" in text
    assert f"00001: {raw.cells[0].image} is damaged or truncated" in text
    assert f"{raw.cells[1].image} does not exist" in text
    assert f"{raw.cells[1].mask} does not exist" in text
    assert f"{raw.cells[3].mask} is empty" in text
    assert f"{raw.cells[4].mask} has 9 × 9 pixels, but {raw.cells[4].image}" in text
    assert "on_error=skip" in text
    assert names(tmp_path) == []


def test_what_is_wrong_with_all_cells_is_told_once_and_not_skipped(tmp_path):
    raw = cells(tmp_path / "raw", 24)
    same = [cell._replace(mask=cell.image) for cell in raw.cells]
    with pytest.raises(Hep2ganError) as caught:
        pack_cells(raw._replace(cells=same), tmp_path / "store", size=32, workers=1)
    assert "24 of 24 cells" in caught.value.fact
    assert "on_error=skip" not in caught.value.fix
    (line,) = caught.value.fix.splitlines()[1:]
    assert "- 24 cells (00001, 00002, 00003, 00004, 00005, …), e.g. " in line
    assert f"{raw.cells[0].image} is not binary" in line
    # Most are the same, one is another, and one is whole.
    same[3].image.unlink()
    same[4] = raw.cells[4]
    with pytest.raises(Hep2ganError) as caught:
        pack_cells(raw._replace(cells=same), tmp_path / "store", size=32, workers=1)
    assert "data.on_error=skip" in caught.value.fix
    lines = caught.value.fix.splitlines()[1:]
    assert "- 22 cells (00001, 00002, 00003, 00005" not in lines[0]
    assert lines[0].startswith("  - 22 cells (00001, ")
    assert lines[1].startswith(f"  - 00004: {raw.cells[3].image} does not exist")


def test_skipped_cells_are_left_out_and_recorded(tmp_path):
    raw = broken(tmp_path / "raw")
    whole = pack_cells(cells(tmp_path / "whole", 6), tmp_path / "whole.store", size=32)
    store = pack_cells(raw, tmp_path / "store", size=32, on_error="skip", workers=1)
    assert store.id.tolist() == ["00003", "00006"]
    for name in ("image", "mask", "label", "levels", "digest", "specimen", "crop_size"):
        np.testing.assert_array_equal(getattr(store, name), getattr(whole, name)[[2, 5]])
    skipped = store.manifest["findings"]["skipped"]
    assert skipped["count"] == 4
    assert [one["id"] for one in skipped["listed"]] == ["00001", "00002", "00004", "00005"]
    assert str(raw.cells[0].image) in skipped["listed"][0]["reason"]
    check_content(store)


def test_a_mask_that_vanishes_when_resized_is_a_problem(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    speck = np.zeros((200, 200), np.uint8)
    Image.fromarray(speck + 9).save(raw.cells[0].image)
    speck[1, 0] = 255
    Image.fromarray(speck).save(raw.cells[0].mask)
    with pytest.raises(Hep2ganError, match="vanishes at 32 × 32"):
        pack_cells(raw, tmp_path / "store", size=32)


def test_nothing_left_is_an_error_even_when_skipping(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    for cell in raw.cells:
        cell.image.unlink()
    with pytest.raises(Hep2ganError, match="2 of 2 cells"):
        pack_cells(raw, tmp_path / "store", on_error="skip")


def test_a_failed_pack_leaves_the_store_that_was_there(tmp_path):
    raw = cells(tmp_path / "raw", 4)
    first = pack_cells(raw, tmp_path / "store", size=32).fingerprint
    raw.cells[0].image.unlink()
    with pytest.raises(Hep2ganError):
        pack_cells(raw, tmp_path / "store", size=32)
    assert Store.open(tmp_path / "store").fingerprint == first
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"size": 100},
            "size is 100: it must be a whole number from 32 to 1024 and a multiple of 16",
        ),
        ({"size": 16}, "from 32 to 1024"),
        ({"size": 2048}, "from 32 to 1024"),
        ({"size": "128"}, "multiple of 16"),
        ({"on_error": "ignore"}, "'ignore'"),
        ({"white_level": 0}, "white_level is 0"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_wrong_settings(tmp_path, settings, said):
    with pytest.raises(Hep2ganError, match=said):
        pack_cells(cells(tmp_path / "raw", 2), tmp_path / "store", **settings)
    assert names(tmp_path) == []


def test_wrong_cells(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    one = raw.cells[0]
    for found, said in (
        ([], "no cells"),
        ([one, one], "00001 twice"),
        ([one._replace(label=2)], "label 2: labels are 0 to 1"),
        ([one._replace(label=-1)], "label -1"),
    ):
        with pytest.raises(Hep2ganError, match=said):
            pack_cells(raw._replace(cells=found), tmp_path / "store")


def test_a_folder_that_is_no_store_is_not_overwritten(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    with pytest.raises(Hep2ganError, match=r"holds 00001\.png, which does not belong to a store"):
        pack_cells(raw, tmp_path / "raw", size=32)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text("{}")
    with pytest.raises(Hep2ganError, match=r"lacks image\.npy"):
        pack_cells(raw, tmp_path / "app", size=32)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Hep2ganError, match="is a file"):
        pack_cells(raw, tmp_path / "file", size=32)
    pack_cells(raw, tmp_path / "store", size=32)
    (tmp_path / "store" / "notes.txt").write_text("mine")
    with pytest.raises(Hep2ganError, match=r"notes\.txt"):
        pack_cells(raw, tmp_path / "store", size=48)
    assert (tmp_path / "store" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_and_a_damaged_store_are_replaced(tmp_path, caplog):
    raw = cells(tmp_path / "raw", 2)
    (tmp_path / "store").mkdir()
    store = pack_cells(raw, tmp_path / "store", size=32)
    with (tmp_path / "store" / "mask.npy").open("r+b") as file:
        file.truncate(200)
    again = pack_cells(raw, tmp_path / "store", size=32)
    assert caplog.text.count("damaged") == caplog.text.count("Packing it again") == 1
    assert again.fingerprint == store.fingerprint
    check_content(again)


def test_a_full_disk_is_told_before_it_is_filled(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 2)
    monkeypatch.setattr(pack.shutil, "disk_usage", lambda _: SimpleNamespace(free=4095))
    with pytest.raises(Hep2ganError, match=r"0\.00 GB free: 2 cells of 32 × 32"):
        pack_cells(raw, tmp_path / "store", size=32)
    assert names(tmp_path) == []


def test_an_error_of_the_file_system_names_the_destination(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Hep2ganError, match="cannot be written"):
        pack_cells(cells(tmp_path / "raw", 2), tmp_path / "file" / "store", size=32)


def test_an_interrupted_pack_leaves_nothing(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 8)
    monkeypatch.setattr(pack, "CHUNK", 2)

    def interrupt(done, total):
        raise KeyboardInterrupt

    for workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            pack_cells(raw, tmp_path / "store", size=32, workers=workers, progress=interrupt)
        assert names(tmp_path) == []


SCRIPT = """
import multiprocessing, sys, time
from pathlib import Path
from hep2gan.data.store import pack
from tests.helpers.raw_sets import cells

def hang(done, total):
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    time.sleep(60)

if __name__ == "__main__":
    pack.CHUNK = 4
    root = Path(sys.argv[1])
    pack.pack_cells(cells(root / "raw", 40), root / "store", size=32, workers=2, progress=hang)
"""


def test_a_killed_pack_leaves_no_store_no_workers_and_no_obstacle(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path)]
    here = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=here) as packer:
        workers = [int(pid) for pid in packer.stdout.readline().split()]
        packer.send_signal(signal.SIGKILL)
    script.unlink()
    assert names(tmp_path) == [".store.lock", ".store.partial"]
    with pytest.raises(Hep2ganError, match="does not exist"):
        Store.open(tmp_path / "store")
    assert len(workers) == 2
    for _ in range(600):
        if not any(map(running, workers)):
            break
        time.sleep(0.05)
    assert not any(map(running, workers))
    assert len(pack_cells(cells(tmp_path / "raw", 40), tmp_path / "store", size=32)) == 40
    assert names(tmp_path) == ["store"]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_dies_is_told(tmp_path, monkeypatch):
    raw = cells(tmp_path / "raw", 4)
    monkeypatch.setattr(pack, "PackChunk", Deadly)
    with pytest.raises(Hep2ganError, match="worker process ended early"):
        pack_cells(raw, tmp_path / "store", size=32, workers=2)
    assert names(tmp_path) == []


class Deadly:
    """A chunk that ends the process which unpickles it."""

    def __init__(self, *_):
        pass

    def __reduce__(self):
        return os._exit, (3,)


def test_problems_of_the_reader_obey_on_error(tmp_path):
    raw = cells(tmp_path / "raw", 2)._replace(problems=(CellError("x", "x.png is odd"),))
    with pytest.raises(Hep2ganError, match=r"1 of 3 cells(.|\n)*x: x\.png is odd"):
        pack_cells(raw, tmp_path / "store", size=32)
    assert len(pack_cells(raw, tmp_path / "store", size=32, on_error="skip")) == 2


def test_16_bit_sets_are_advised_about_white(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    for cell in raw.cells:
        with Image.open(cell.image) as image:
            deep = np.asarray(image).astype(np.uint16) * 11
        deep[:2, :2] = 3000
        Image.fromarray(deep).save(cell.image)
    notes = pack_cells(raw, tmp_path / "a", size=32).manifest["findings"]["notes"]
    assert len(notes) == 1
    assert "reach 3000 of 65535" in notes[0]
    assert "data.white_level=4095" in notes[0]
    told = pack_cells(raw, tmp_path / "b", size=32, white_level=4095)
    assert told.manifest["findings"]["notes"] == []
    unscaled = Store.open(tmp_path / "a").levels
    np.testing.assert_allclose(told.levels, unscaled * (65535 / 4095), rtol=1e-5)
    with pytest.raises(Hep2ganError, match=r"holds 3000: data\.white_level=2999"):
        pack_cells(raw, tmp_path / "c", size=32, white_level=2999)


def test_dim_16_bit_colour_keeps_its_levels(tmp_path):
    raw = cells(tmp_path / "raw", 2)
    for cell in raw.cells:
        grey = np.asarray(Image.open(cell.image))
        deep = np.repeat(grey[..., None], 3, 2).astype(">u2")
        cell.image.write_bytes(png_bytes(deep, depth=16, kind=2))
    store = pack_cells(raw, tmp_path / "store", size=32, white_level=255)
    plain = pack_cells(cells(tmp_path / "plain", 2), tmp_path / "other", size=32)
    np.testing.assert_array_equal(store.image, plain.image)
    np.testing.assert_allclose(store.levels, plain.levels, rtol=1e-6)
