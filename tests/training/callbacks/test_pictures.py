"""Pictures of a few cells by epoch: which cells, what is on them, and no trace in the training."""

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.data.splits import Split
from hep2gan.data.store.store import Store
from hep2gan.reports.figures.style import PREDICTION, TRUTH
from hep2gan.training.callbacks.networks import CompileNetworks, ExponentialMovingAverage
from hep2gan.training.callbacks.pictures import EpochPictures, choose_cells, compose_picture
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.loggers.course import saved_pictures
from tests.helpers import tiny
from tests.helpers.started import assert_same
from tests.training.test_module import Rows, fit


@pytest.fixture(scope="module")
def store(packed_store):
    (labels,) = packed_store.rglob("label.npy")
    return Store.open(labels.parent)


def data_of(store, validation=()):
    rest = np.setdiff1d(np.arange(len(store)), validation)
    parts = rest[10:], np.asarray(validation, dtype=np.int64), rest[:10]
    return CellDataModule(store, Split(*parts, {}))


class Pictured(Rows):
    def __init__(self):
        super().__init__()
        self.pictures = []

    def log_picture(self, picture):
        self.pictures.append(picture)


def test_cells_are_of_the_validation_part_and_of_all_classes(store):
    validation = np.arange(20, 40)
    chosen = choose_cells(store, data_of(store, validation).split)
    assert len(set(chosen)) == 8
    assert set(chosen) <= set(validation)
    assert set(store.label[chosen]) == set(store.label[validation])
    assert set(choose_cells(store, data_of(store).split)) <= set(data_of(store).split.train)


def test_images_above_and_both_outlines_below(store):
    rows = np.array([3, 7])
    masks = np.zeros((2, 32, 32), np.uint8)
    masks[1, 8:20, 8:20] = 1
    picture = np.asarray(compose_picture(store, rows, masks))
    assert picture.shape == (256, 256, 3)
    above, below = picture[:128], picture[128:]
    assert (above == above[..., :1]).all()
    assert (above[::4, :128:4, 0] == store.image[3]).all()
    truth, generated = ([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (TRUTH, PREDICTION))
    assert (below[:, :128] == truth).all(axis=2).any()
    assert not (below[:, :128] == generated).all(axis=2).any()
    assert (below[:, 128:] == generated).all(axis=2).sum() == 4 * (48 - 1)


def test_every_few_epochs_and_after_the_last(tmp_path, store):
    data, logger = data_of(store, np.arange(20, 40)), Pictured()
    pictures = EpochPictures(tmp_path, data, 2)
    fit(tiny.task(), [tiny.batch()], epochs=5, callbacks=[pictures], logger=logger)
    assert [picture.epoch for picture in logger.pictures] == [1, 3, 4]
    assert list(saved_pictures(tmp_path)) == logger.pictures
    assert logger.pictures[0].caption.startswith("After epoch 2, validation cells ")
    (tmp_path / "pictures/epoch0002.png").write_bytes(b"\x89PNG half")
    assert [picture.epoch for picture in saved_pictures(tmp_path)] == [3, 4]


@pytest.mark.parametrize("others", [[], ["ema"], ["ema", "compiled"]])
def test_pictures_leave_no_trace_and_show_what_a_validation_sees(tmp_path, store, others):
    def train(*callbacks):
        task = tiny.task()
        beside = []
        if "ema" in others:
            beside.append(ExponentialMovingAverage(0.5))
        if "compiled" in others:
            beside.append(CompileNetworks(True, backend="eager"))
        fit(task, [tiny.batch(seed=s) for s in range(3)], epochs=2, callbacks=[*beside, *callbacks])
        return task, beside

    plain, _ = train()
    pictured, beside = train(EpochPictures(tmp_path, data := data_of(store), 1))
    assert_same(dict(plain.state_dict()), dict(pictured.state_dict()))
    assert pictured.generator.training
    if beside:
        beside[0]._swap()
    rows = choose_cells(store, data.split)
    stored, levels = (torch.from_numpy(array[rows]) for array in (store.image, store.levels))
    with torch.no_grad():
        logits = pictured.generator.eval()(data.normalisation(stored, levels))
    expected = compose_picture(store, rows, (logits[:, 0] >= 0).numpy().astype(np.uint8))
    with Image.open(tmp_path / "pictures/epoch0002.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
