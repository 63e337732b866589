import numpy as np
from PIL import ImageColor

from hep2gan.data.fields.regions import find_regions
from hep2gan.inference.fields.overlay import Legend, class_color, draw_field, paste_maps


def drawn(labels, predicted, flagged=None, classes=("Golgi", "NuMem"), title="two cells", **given):
    regions = find_regions(labels)
    flagged = np.zeros(len(regions), np.bool_) if flagged is None else flagged
    image = np.random.default_rng(0).uniform(0, 30, labels.shape).astype(np.float32)
    return draw_field(image, labels, regions, predicted, flagged, Legend(classes, title), **given)


def two_cells():
    labels = np.zeros((200, 300), np.int32)
    labels[60:120, 50:110], labels[60:120, 110:180] = 4, 9
    return labels


def test_outlines_have_the_colours_of_the_classes():
    picture = drawn(two_cells(), np.array([1, 0]))
    assert picture.dtype == np.uint8
    for row, column, kind in ((119, 80, 1), (100, 50, 1), (119, 150, 0), (100, 179, 0)):
        assert tuple(picture[row, column]) == ImageColor.getrgb(class_color(kind))
    # Where cells touch, each has its own line; inside and outside stay grey.
    assert tuple(picture[100, 109]) == ImageColor.getrgb(class_color(1))
    assert tuple(picture[100, 110]) == ImageColor.getrgb(class_color(0))
    for row, column in ((100, 80), (100, 150), (150, 20)):
        assert len(set(picture[row, column].tolist())) == 1


def test_the_legend_lies_below_and_the_field_stays_as_large():
    picture = drawn(two_cells(), np.array([1, 0]))
    assert picture.shape[1] == 300
    assert picture.shape[0] > 200
    strip = picture[200:].reshape(-1, 3)
    for kind in (0, 1):
        assert (strip == ImageColor.getrgb(class_color(kind))).all(axis=1).any()


def test_a_star_needs_its_line():
    bare, starred = (
        drawn(two_cells(), np.array([1, 0]), np.array([flag, False])) for flag in (False, True)
    )
    assert not np.array_equal(bare[:200], starred[:200])
    assert starred.shape[0] > bare.shape[0]


def test_fields_without_classes_or_cells():
    assert drawn(two_cells(), None, classes=()).shape[0] > 200
    empty = np.zeros((64, 64), np.int32)
    assert (
        drawn(empty, np.zeros(0, np.int64), classes=["nucléolaire à gros grains", "b"] * 5).shape[0]
        > 64
    )


def test_maps_lie_where_the_cells_are():
    low, high = np.full((4, 6), 0.25, np.float32), np.full((5, 5), 0.75, np.float32)
    field = paste_maps((20, 30), [(0, 0, 4, 6), (2, 4, 7, 9)], [low, high])
    assert (field[:2, :6] == 0.25).all()
    assert (field[2:7, 4:9] == 0.75).all()  # the higher where boxes overlap
    assert field.sum() == 0.25 * (24 - 4) + 0.75 * 25
    assert not paste_maps((20, 30), [], []).any()


def test_maps_colour_the_field_under_the_outlines():
    labels, predicted = two_cells(), np.array([1, 0])
    maps = np.zeros(labels.shape, np.float32)
    maps[60:120, 50:110] = 1
    plain, mapped = drawn(labels, predicted), drawn(labels, predicted, maps=maps)
    assert len(mapped) > len(plain)  # the legend says what the colours mean
    differs = (plain[:200] != mapped[:200]).any(axis=2)
    assert differs[70:110, 60:100].all()
    assert not differs[maps == 0].any()
    assert np.array_equal(plain[60, 55:105], mapped[60, 55:105])  # the outline
    # Yellow: little blue, where it was grey.
    assert mapped[70:110, 60:100, :2].min() > mapped[70:110, 60:100, 2].max()
