"""Outlines of cells as GeoJSON, in the form that QuPath opens as detections.

QuPath's own reader is the source of the form (qupath.lib.io.QuPathTypeAdapters and GsonTools, from
version 0.4 on): a FeatureCollection whose features have a Polygon or MultiPolygon in pixels, from
the upper left corner of the image, and the properties `objectType`, `name`, `classification` of
name and colour, and `measurements`, an object of numbers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.fields.regions import CellRegion, Labels

Point = tuple[int, int]
Ring = list[Point]


def feature_collection(
    labels: Labels,
    regions: Sequence[CellRegion],
    classes: Sequence[tuple[str, str] | None],
    measurements: Sequence[Mapping[str, float]],
) -> str:
    """Write the cells of a field as GeoJSON.

    Args:
        labels: int32 (h, w) label image.
        regions: Its n cells.
        classes: (n,) name and colour #RRGGBB of each cell's class; None for a cell without one.
        measurements: (n,) numbers of each cell by name; those that are not finite are left out.

    Returns:
        The text of the file, in ASCII.
    """
    features = [
        {
            "type": "Feature",
            "geometry": outline(labels, region),
            "properties": {
                "objectType": "detection",
                "name": str(region.label),
                **_classification(kind),
                "measurements": {k: v for k, v in numbers.items() if np.isfinite(v)},
            },
        }
        for region, kind, numbers in zip(regions, classes, measurements, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False) + "\n"


def _classification(kind: tuple[str, str] | None) -> dict[str, Any]:
    if kind is None:
        return {}
    name, color = kind
    rgb = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return {"classification": {"name": name, "color": rgb}}


def outline(labels: Labels, region: CellRegion) -> dict[str, Any]:
    """Trace a cell along the edges of its pixels, so that the outline holds exactly these.

    Args:
        labels: int32 (h, w) label image.
        region: The cell; its pieces, if it has several, and its holes are kept.

    Returns:
        A Polygon, or a MultiPolygon of several pieces, in px from the corner of the field.
    """
    top, left, bottom, right = region.box
    mask = labels[top:bottom, left:right] == region.label
    # Pixels that share a corner alone are two pieces: a polygon is one area.
    pieces, count = ndimage.label(mask)
    polygons = [_polygon(pieces == number, (left, top)) for number in range(1, count + 1)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _polygon(piece: npt.NDArray[np.bool_], corner: Point) -> list[Ring]:
    """The outer ring, counterclockwise as RFC 7946 has it for a y axis up, and those of holes."""
    rings = sorted(_trace_rings(piece), key=_area, reverse=True)
    return [_finish(ring, corner) for ring in rings]


def _trace_rings(piece: npt.NDArray[np.bool_]) -> Iterator[Ring]:
    """Walk along the edges with the piece on the right, and cut off a ring where a corner recurs.

    So no ring touches itself, and a piece that is connected by edges has one outer ring.
    """
    following: dict[Point, list[Point]] = {}
    for start, end in _edges(piece):
        following.setdefault(start, []).append(end)
    while following:
        path = [next(iter(following))]
        places = {path[0]: 0}
        while path[-1] in following:
            ends = following[path[-1]]
            point = ends.pop()
            if not ends:
                del following[path[-1]]
            if point in places:
                ring = path[places[point] :]
                for each in ring[1:]:
                    del places[each]
                del path[places[point] + 1 :]
                yield ring
            else:
                places[point] = len(path)
                path.append(point)


def _edges(piece: npt.NDArray[np.bool_]) -> Iterator[tuple[Point, Point]]:
    """Edges between a pixel of the piece and one outside, each (x, y) to (x, y)."""
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    for outside, (start, end) in (
        (padded[:-2, 1:-1], ((0, 0), (1, 0))),  # above: to the right
        (padded[1:-1, 2:], ((1, 0), (1, 1))),  # right: down
        (padded[2:, 1:-1], ((1, 1), (0, 1))),  # below: to the left
        (padded[1:-1, :-2], ((0, 1), (0, 0))),  # left: up
    ):
        for y, x in np.argwhere(inside & ~outside).tolist():
            yield (x + start[0], y + start[1]), (x + end[0], y + end[1])


def _area(ring: Ring) -> float:
    """Twice the area, negative for a hole."""
    x, y = np.array(ring, np.int64).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _finish(ring: Ring, corner: Point) -> Ring:
    """Leave out corners on straight lines, move the ring to its place and close it."""
    sides = zip(ring[-1:] + ring[:-1], ring, ring[1:] + ring[:1], strict=True)
    turns = [at for before, at, after in sides if before[0] != after[0] and before[1] != after[1]]
    moved = [(x + corner[0], y + corner[1]) for x, y in turns]
    return [*moved, moved[0]]
