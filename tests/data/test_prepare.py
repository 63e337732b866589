"""A store is opened by settings that read new images as its own cells were read."""

import numpy as np
import pytest
import torch
from PIL import Image

from hep2gan.data.prepare import open_store, pack_store
from hep2gan.data.readers.image import ImageReading, read_image, resize, stretch
from hep2gan.data.readers.manifest import ManifestSource
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from tests.helpers.raw_sets import write_csv


def deep_cells(folder, white_level):
    """The settings of four crops of a 12-bit camera without masks."""
    y, x = np.mgrid[:60, :60]
    for number in range(4):
        light = 200 + (3000 - 500 * number) * np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 300)
        Image.fromarray(np.rint(light).astype(np.uint16)).save(folder / f"{number}.png")
    rows = [["image", "label"], *([f"{number}.png", "ab"[number % 2]] for number in range(4))]
    write_csv(folder / "manifest.csv", rows)
    return ManifestSource(
        name="deep",
        root=str(folder / "manifest.csv"),
        size=48,
        store=str(folder / "store"),
        white_level=white_level,
    )


def test_white_is_the_same_in_the_store_the_run_and_new_images(tmp_path):
    source = deep_cells(tmp_path, 4095)
    pack_store(source, workers=1)
    # With 65535 for white, normalisation=none would show new cells 16 times darker.
    forgetful = source.model_copy(update={"white_level": None})
    with pytest.raises(Hep2ganError, match=r"packed with data\.white_level=4095, here it is null"):
        open_store(forgetful)
    store = open_store(source)
    reading = ImageReading(source.white_level, source.channel, source.plane)
    pixels, levels = stretch(resize(read_image(tmp_path / "0.png", *reading), 48))
    seen = Normalisation(kind="none")
    row = list(store.id).index("0")
    trained = seen(torch.tensor(store.image[row])[None], torch.tensor(store.levels[row])[None])
    predicted = seen(torch.tensor(pixels)[None], torch.tensor([levels]))
    torch.testing.assert_close(predicted, trained)
    assert float(predicted.max()) == pytest.approx(3200 / 4095, abs=0.01)
