"""Grey levels of the raw crop, back from the store."""

import numpy as np

from hep2gan.data.readers.image import resize, stretch
from tests.helpers.made_store import made_store


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
