import json

import geojson
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Point, shape

from hep2gan.data.fields.regions import find_regions
from hep2gan.inference.fields.geojson import feature_collection, outline

RING = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 2], [0, 0, 0, 2]], np.int32)


def test_a_square_by_hand():
    labels = np.zeros((4, 5), np.int32)
    labels[1:3, 2:4] = 7
    (region,) = find_regions(labels)
    ring = [[2, 1], [4, 1], [4, 3], [2, 3]]
    found = outline(labels, region)
    assert found["type"] == "Polygon"
    ((*corners, last),) = json.loads(json.dumps(found["coordinates"]))
    assert sorted(corners) == sorted(ring)
    assert last == corners[0]
    # Counterclockwise for an axis that points up, as RFC 7946 has it.
    assert shape(found).exterior.is_ccw


def test_a_hole_is_a_ring_of_its_own():
    ring, bar = find_regions(RING)
    found = outline(RING, ring)
    assert [len(each) for each in found["coordinates"]] == [5, 5]
    polygon = shape(found)
    assert polygon.area == 8
    assert not polygon.contains(Point(1.5, 1.5))
    assert shape(outline(RING, bar)).bounds == (3, 2, 4, 4)


@pytest.mark.parametrize("gap", [(0, 1), (1, 1)])
def test_a_cell_in_two_pieces_is_one_feature(gap):
    labels = np.zeros((3, 4), np.int32)
    labels[0, :2], labels[1 + gap[0] - 1, 2 + gap[1] - 1 :] = 3, 3
    labels[0, 2 - (gap[0] == 0)] = 0
    (region,) = find_regions(labels)
    found = shape(outline(labels, region))
    assert found.geom_type == "MultiPolygon"
    assert found.is_valid
    assert found.area == region.area


@given(
    arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2))
)
def test_outlines_hold_exactly_the_pixels(labels):
    for region in find_regions(labels):
        polygon = shape(outline(labels, region))
        assert polygon.is_valid
        assert polygon.area == region.area
        y, x = np.nonzero(labels == region.label)
        assert all(polygon.contains(Point(a + 0.5, b + 0.5)) for a, b in zip(x, y, strict=True))


def test_the_file_has_the_form_that_qupath_reads():
    regions = find_regions(RING)
    text = feature_collection(
        RING, regions, [("Golgi", "#E69F00"), None], [{"Area px": 8.0, "Entropy": np.nan}, {}]
    )
    found = geojson.loads(text)
    assert found.is_valid
    assert found["type"] == "FeatureCollection"
    first, second = found["features"]
    assert first["properties"] == {
        "objectType": "detection",
        "name": "1",
        "classification": {"name": "Golgi", "color": [230, 159, 0]},
        "measurements": {"Area px": 8.0},
    }
    assert "classification" not in second["properties"]
    # Nothing that JSON has not, such as NaN, and nothing but ASCII.
    json.loads(text, parse_constant=pytest.fail)
    text.encode("ascii")


def test_a_field_without_cells_is_a_collection_of_none():
    assert json.loads(feature_collection(np.zeros((3, 3), np.int32), [], [], [])) == {
        "type": "FeatureCollection",
        "features": [],
    }
