"""The benchmarks of data: both sides do the same work, and figures are what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.benchmarks import data_growth, data_growth_figure, opening, packing
from experiments.benchmarks import input as training_input
from experiments.benchmarks.blank_stores import blank_store, given_batch, opened, whole
from experiments.benchmarks.configured import composed
from experiments.benchmarks.data_growth import Cost
from experiments.benchmarks.foreign_inputs import monai_loader, torchvision_loader
from hep2gan.data.prepare import open_store
from hep2gan.data.readers.icpr2016 import read_icpr2016
from hep2gan.data.splits import Split, make_split
from hep2gan.errors import Hep2ganError
from hep2gan.training.datamodule import CellDataModule

# What rounding to stored bytes leaves of a grey level, from both ends of the stretch.
LEVEL = 1.01 / 255


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Configuration, store and files of 24 drawn cells of 128 px."""
    stores = tmp_path_factory.mktemp("stores")
    data = composed(["data=phantom", "data.count=24", f"stores={stores}"])["data"]
    store = open_store(data)
    return data, store, training_input.files_of(Path(data["root"]), store)


def ours_unflipped(store):
    """Every cell as an evaluation gets it."""
    nothing = np.empty(0, np.int64)
    data = CellDataModule(store, Split(nothing, nothing, np.arange(len(store)), {}))
    batches = [data.on_after_batch_transfer(raw, 0) for raw in data.test_dataloader()]
    return torch.cat([b.image for b in batches]), torch.cat([b.mask for b in batches])


def test_torchvision_reads_the_same_pixels(drawn):
    _, store, files = drawn
    image, mask = ours_unflipped(store)
    batches = list(torchvision_loader(files, 128, 8, workers=0, flips=0))
    found, found_mask = (torch.cat([batch[k] for batch in batches]) for k in (0, 1))
    assert found.shape == image.shape == (24, 1, 128, 128)
    assert (found - image).abs().max() < LEVEL
    # Its nearest pixel is that of the upper left corner, ours that of the middle.
    assert found_mask.unique().tolist() == [0, 1]
    assert (found_mask != mask).float().mean() < 0.03
    assert torch.cat([batch[2] for batch in batches]).tolist() == store.label.tolist()


def test_torchvision_flips_images_and_masks_alike(drawn):
    _, _, files = drawn
    [plain] = torchvision_loader(files[:8], 128, 8, workers=0, flips=0)
    [turned] = torchvision_loader(files[:8], 128, 8, workers=0, flips=1)
    # A pass that flips is shuffled: each cell is looked for.
    for image, mask, label in zip(*turned, strict=True):
        errors = (plain[0].flip(-1, -2) - image).abs().amax((1, 2, 3))
        place = int(errors.argmin())
        assert errors[place] < 1e-5
        assert (plain[1][place].flip(-1, -2) != mask).float().mean() < 0.05
        assert plain[2][place] == label


@pytest.mark.parametrize("metadata", [False, True])
def test_monai_reads_the_same_pixels_and_flips(drawn, metadata):
    pytest.importorskip("monai")
    _, store, files = drawn
    image, mask = ours_unflipped(store)
    batches = list(monai_loader(files, 128, 8, metadata=metadata, flips=0)())
    found, found_mask = (torch.cat([batch[k] for batch in batches]) for k in ("image", "mask"))
    assert (type(found) is torch.Tensor) is not metadata
    assert (found - image).abs().max() < LEVEL
    assert torch.equal(found_mask, mask)
    turned = monai_loader(files, 128, 8, metadata=metadata, flips=1)()
    flips = torch.cat([batch["image"] for batch in turned])
    for cell in flips:
        assert (image.flip(-1, -2) - cell).abs().amax((1, 2, 3)).min() < LEVEL


def test_without_monai_it_says_what_to_install(monkeypatch, drawn):
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(Hep2ganError, match=r"MONAI is not installed.*hep2gan\[benchmarks\]"):
        monai_loader(drawn[2], 128, 8, metadata=False)


def test_speed_counts_every_cell_of_every_pass(monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(training_input.time, "perf_counter", lambda: next(clock))
    batches = [{"label": torch.zeros(3)}, (None, None, torch.zeros(5))]
    assert training_input.speed(lambda: batches, epochs=2) == 16 / 4


def test_the_parts_alone_give_what_the_input_gives_with_other_flips(drawn):
    _, store, _ = drawn
    data = CellDataModule(store, whole(store))
    [ours] = training_input.batches_of(data)
    [bare] = training_input.parts(data)
    # The first batch is flipped by its own numbers in both.
    assert all(torch.equal(one, other) for one, other in zip(ours, bare, strict=True))


def test_the_least_there_is_to_do_is_an_epoch_of_the_stored_cells(drawn):
    _, store, _ = drawn
    [batch] = training_input.least(store, whole(store))
    assert len(set(batch.rows.tolist())) == 16
    rows = batch.rows.numpy()
    assert torch.equal(batch.image[:, 0], torch.from_numpy(store.image[rows]).float())
    assert torch.equal(batch.mask[:, 0], torch.from_numpy(store.mask[rows]).float())


def test_both_sides_of_packing_do_all_cells(drawn, tmp_path):
    data, store, _ = drawn
    raw = read_icpr2016(Path(data["root"]))
    for _ in range(2):
        again = packing.packed(raw, tmp_path / "store", 128, workers=1)
    assert again.fingerprint == store.fingerprint
    assert packing.decoded(raw.cells) == 2 * int(store.crop_size.prod(1).sum())
    assert packing.least(raw.cells, 128) == store.image.nbytes + store.mask.nbytes


def test_packing_gives_a_row(monkeypatch, tmp_path):
    monkeypatch.setattr(packing, "STORES", tmp_path)
    row, _ = packing.measure(cells=24, pairs=1)
    assert (row.side, row.limit, row.unit) == ("at least", 1.8, "cells/s")
    assert row.ratio.median == pytest.approx(row.ratio.ours / row.ratio.theirs)
    # Nothing is left beside the drawn cells and their store.
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) == 2


def test_a_blank_store_is_opened_as_one_found_whole(tmp_path, monkeypatch):
    path = blank_store(tmp_path / "blank", 1000, size=32)
    monkeypatch.setattr(
        "hep2gan.data.store.integrity.verify_again", lambda store: pytest.fail("read")
    )
    store = opened(path)
    assert len(store) == 1000
    assert np.bincount(store.label).min() > 0
    assert len(np.unique(store.id)) == len(np.unique(store.digest, axis=0)) == 1000
    batch = given_batch(store, whole(store))
    assert batch.image.shape == (16, 1, 32, 32)
    assert not batch.image.any()
    assert batch.rows.tolist()[::15] == [0, 999]
    assert 0 < len(make_split(store, kind="specimen", test_fraction=0.2).test) < 1000
    # Holes take no room.
    assert sum(file.stat().st_blocks for file in path.glob("*.npy")) * 512 < 2 * 1000 * 32**2


@pytest.mark.slow
def test_opening_gives_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "STORES", tmp_path)
    rows = opening.measure(cells=(2000, 1000), pairs=1, processes=1)
    assert [row.unit for row in rows] == ["s"] * 4 + ["MiB"]
    assert all(row.ratio.median > 0 for row in rows)
    assert rows[-1].ratio.median == pytest.approx(1, abs=0.1)
    assert list(tmp_path.iterdir()) == []


def costs():
    """Costs that grow as known powers of the number of cells."""
    return [
        Cost(n, 0.5, n / 1000, 3 * n**0.5, n**2 / 1e6, 1.0 + n / 1e4, 0.4, 450.0)
        for n in (1000, 10_000, 100_000)
    ]


def test_the_growth_is_the_power_that_was_put_in():
    cells = [1000, 10_000, 100_000]
    for power in (0, 0.5, 1, 2):
        assert data_growth.exponent(cells, [7 * n**power for n in cells]) == pytest.approx(power)
    table = data_growth.table(costs()).splitlines()
    assert table[0].count("|") == table[1].count("|") == table[-1].count("|")
    assert table[2].startswith("| 1,000 | 0.5 | 1 | 94.9 | 1 |")
    assert table[-1].startswith("| growth | n^0.00 | n^1.00 | n^0.50 | n^2.00 |")


def test_the_figure_draws_what_was_measured(tmp_path, monkeypatch):
    drawn = []
    kept = data_growth_figure.Figure.savefig
    monkeypatch.setattr(
        data_growth_figure.Figure,
        "savefig",
        lambda self, path, **given: (drawn.append(self), kept(self, path, **given)),
    )
    data_growth_figure.draw(costs(), tmp_path / "new" / "growth.png")
    [axes] = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["random split"] == [[1000, 1], [10_000, 10], [100_000, 100]]
    assert len(lines) == len(data_growth_figure.LINES) == len(data_growth.COLUMNS) - 1
    assert (tmp_path / "new" / "growth.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_cost_is_measured(tmp_path):
    found = data_growth.cost(tmp_path, 1000, repeats=1, batches=3)
    assert found.cells == 1000
    assert min(found.opening, found.random, found.specimen, found.order, found.batch) > 0
    assert found.first > found.batch
    assert found.memory > 50
