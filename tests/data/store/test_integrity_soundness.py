import numpy as np
import pytest

from hep2gan.data.store.integrity import invalid_columns
from tests.helpers.made_store import made_store


def made(**given):
    return made_store([0, 1, 1], **given)


def test_a_sound_store():
    assert invalid_columns(made()) == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("label", {"classes": ("A",)}),
        ("mask", {"mask": np.full((3, 8, 8), 2, np.uint8)}),
        ("specimen", {"specimen": [0, -1, -1]}),
        ("specimen", {"specimen": [-2, -1, -1]}),
        ("part", {"part": [0, 1, 3]}),
        ("levels", {"levels": [[0, 1], [2, 1], [0, 0]]}),
        ("levels", {"levels": [[0, np.nan], [1, 1], [0, 0]]}),
        ("id", {"ids": ["1", "2", "1"]}),
    ],
)
def test_values_that_mean_nothing_are_named(name, given):
    assert invalid_columns(made(**given)) == [f"{name}.npy holds invalid values"]
