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
Ring = list[list[int]]
Places = npt.NDArray[np.int64]


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
    width = piece.shape[1] + 1
    rings = [np.divmod(ring, width) for ring in _trace_rings(piece, width)]
    rings.sort(key=lambda ring: _area(*ring), reverse=True)
    return [_finish(x, y, corner) for y, x in rings]


def _trace_rings(piece: npt.NDArray[np.bool_], width: int) -> Iterator[Places]:
    """Walk along the edges with the piece on the right, and cut off a ring where a corner recurs.

    So no ring touches itself, and a piece that is connected by edges has one outer ring. The
    corner (x, y) is the number y · width + x.
    """
    following: dict[int, int] = {}
    others: dict[int, int] = {}  # the second edge from corners where two pixels touch
    for start, end in _edges(piece, width):
        (others if start in following else following)[start] = end
    while following:
        path = [next(iter(following))]
        places = {path[0]: 0}
        while (at := path[-1]) in following:
            point = following.pop(at)
            if at in others:
                following[at] = others.pop(at)
            if point not in places:
                places[point] = len(path)
                path.append(point)
                continue
            ring = path[places[point] :]
            for each in ring[1:]:
                del places[each]
            del path[places[point] + 1 :]
            yield np.array(ring)


def _edges(piece: npt.NDArray[np.bool_], width: int) -> Iterator[tuple[int, int]]:
    """Edges between a pixel of the piece and one outside, from corner to corner."""
    padded = np.pad(piece, 1)
    inside = padded[1:-1, 1:-1]
    for outside, start, end in (
        (padded[:-2, 1:-1], 0, 1),  # above: to the right
        (padded[1:-1, 2:], 1, width + 1),  # right: down
        (padded[2:, 1:-1], width + 1, width),  # below: to the left
        (padded[1:-1, :-2], width, 0),  # left: up
    ):
        y, x = np.nonzero(inside & ~outside)
        first = y * width + x
        yield from zip((first + start).tolist(), (first + end).tolist(), strict=True)


def _area(y: Places, x: Places) -> float:
    """Twice the area, negative for a hole."""
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _finish(x: Places, y: Places, corner: Point) -> Ring:
    """Leave out corners on straight lines, move the ring to its place and close it."""
    turns = (np.roll(x, 1) != np.roll(x, -1)) & (np.roll(y, 1) != np.roll(y, -1))
    points = np.stack([x[turns] + corner[0], y[turns] + corner[1]], axis=1)
    return [*points.tolist(), points[0].tolist()]
