"""Of two ways to divide the same light: the more elliptic cells, by hand."""

import numpy as np
from skimage import draw

from hep2gan.data.fields.proposals import choose_proposals


def labels(*masks):
    image = np.zeros((60, 120), np.int32)
    for number, mask in enumerate(masks, 1):
        image[mask] = number
    return image


def disk(y, x, radius=12):
    return draw.disk((y, x), radius, shape=(60, 120))


CLUMP = tuple(np.concatenate(both) for both in zip(disk(30, 30), disk(30, 52), strict=True))


def test_a_clump_gives_way_to_its_parts_whichever_comes_first():
    parts, clump = labels(disk(30, 30), disk(30, 52)), labels(CLUMP)
    for chosen in (choose_proposals([parts, clump]), choose_proposals([clump, parts])):
        assert np.array_equal(np.unique(chosen), [0, 1, 2])
        assert chosen[30, 25] != chosen[30, 57]


def test_each_place_is_judged_by_itself():
    halves = (np.s_[20:40, 80:90], np.s_[20:40, 90:100])
    one = labels(disk(30, 30), disk(30, 52), disk(30, 90))
    other = labels(CLUMP)
    for number, half in enumerate(halves, 2):
        other[half] = number
    chosen = choose_proposals([other, one])
    assert len(np.unique(chosen)) == 4
    assert chosen[30, 85] == chosen[30, 95]


def test_alone_only_what_is_like_an_ellipse_stays():
    bar = np.zeros((60, 120), bool)
    bar[5:55, 100:104] = bar[5:9, 80:104] = True
    chosen = choose_proposals([labels(disk(30, 30)), labels(bar)])
    assert np.array_equal(chosen > 0, labels(disk(30, 30)) > 0)
    nothing = labels()
    assert np.array_equal(choose_proposals([nothing, labels(disk(30, 30))]) > 0, chosen > 0)
    assert not choose_proposals([nothing, nothing]).any()
