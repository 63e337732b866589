"""A field with its cells outlined in the colours of their classes, numbered, and a legend."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageColor, ImageDraw, ImageFont

from hep2gan.data.fields.regions import CellRegion, Labels
from hep2gan.data.readers.image import ByteImage, GreyImage
from hep2gan.reports.figures.fonts import families_of
from hep2gan.reports.figures.overlay import blend_map
from hep2gan.reports.figures.style import PREDICTION, short_names

COLORS = ("#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#F0E442", "#FFFFFF")
"""Okabe & Ito's for a black ground: those of the figures, but for blue, light blue and black."""
_INK, _GROUND, _QUIET = "#FFFFFF", "#1a1a1a", "#c8c8c8"
_SMALL, _LARGE = 12, 26
"""Text sizes in px."""
_MAPS = "red to yellow: what speaks for the class of the cell, little to most"
_STAR = "* at the border, of odd size or out of focus: does not count where others do"


class Legend(NamedTuple):
    """What the strip below the picture says.

    Attributes:
        classes: Names of the classes; empty without a classifier.
        title: The answer of the field, in words.
    """

    classes: Sequence[str]
    title: str


def class_color(index: int) -> str:
    """Return the colour of a class on a dark field; from the eighth on they recur.

    Args:
        index: Number of the class, from 0.
    """
    return COLORS[index % len(COLORS)]


def draw_field(
    image: GreyImage,
    labels: Labels,
    regions: Sequence[CellRegion],
    predicted: npt.NDArray[np.int64] | None,
    flagged: npt.NDArray[np.bool_],
    legend: Legend,
    maps: GreyImage | None = None,
) -> ByteImage:
    """Draw the cells of a field on it, and a legend below it.

    Grey levels are stretched from the 0.1st to the 99.8th percentile. Each cell has its number in
    the tables beside it, and the abbreviation of its class, since not all see colours alike; a
    star marks a cell with a flag.

    Args:
        image: float32 (h, w) grey levels.
        labels: int32 (h, w) label image.
        regions: Its n cells.
        predicted: (n,) their classes; None without a classifier.
        flagged: (n,) whether they have a flag.
        legend: What is said below.
        maps: float32 (h, w) class activation maps of the cells, see `paste_maps`; None for none.

    Returns:
        uint8 (h + strip, w, 3) picture.
    """
    diameter = float(np.median([np.sqrt(region.area) for region in regions] or [60.0]))
    size = int(np.clip(diameter / 4.5, _SMALL, _LARGE))
    short = [name.replace("\\$", "$") for name in short_names(legend.classes, limit=6)]
    kinds = [None] * len(regions) if predicted is None else predicted.tolist()
    colors = [PREDICTION if kind is None else class_color(kind) for kind in kinds]
    width = max(1, round(diameter / 35))
    grey = stretch_contrast(image)
    ground = np.repeat(grey[:, :, None], 3, axis=2) if maps is None else blend_map(grey, maps)
    picture = Image.fromarray(_outline_cells(ground, labels, regions, colors, width))
    for region, kind, color, is_flagged in zip(regions, kinds, colors, flagged, strict=True):
        text = f"{region.label}{'*' if is_flagged else ''} {'' if kind is None else short[kind]}"
        _write_above(picture, region, text.strip(), color, size)
    counts = Counter(kinds)
    entries = [
        (class_color(at), f"{word} {counts[at]}" if word == name else f"{word} {name} {counts[at]}")
        for at, (word, name) in enumerate(zip(short, legend.classes, strict=True))
    ]
    notes = [_MAPS] * (maps is not None) + [_STAR] * bool(flagged.any())
    strip = _draw_strip(picture.width, size + 2, entries, legend.title, notes)
    return np.concatenate([np.asarray(picture), strip])


def paste_maps(
    shape: tuple[int, ...], boxes: Sequence[tuple[int, int, int, int]], maps: Sequence[GreyImage]
) -> GreyImage:
    """Put the class activation map of each cell where the cell is; where boxes overlap, the higher.

    Args:
        shape: Height and width of the field in px.
        boxes: Place of each cell's crop: top, left, bottom, right in px.
        maps: float32 map of each, of the size of its box.

    Returns:
        float32 (h, w), 0 between the cells.
    """
    field = np.zeros(shape, np.float32)
    for (top, left, bottom, right), values in zip(boxes, maps, strict=True):
        part = field[top:bottom, left:right]
        np.maximum(part, values, out=part)
    return field


def stretch_contrast(image: GreyImage) -> ByteImage:
    """Stretch grey levels from the 0.1st to the 99.8th percentile, so that dark cells are seen.

    Args:
        image: float32 (h, w) grey levels.

    Returns:
        uint8 (h, w) picture.
    """
    low, high = np.percentile(image[::2, ::2], [0.1, 99.8])
    scaled = (image - low) * (255 / max(high - low, 1e-6))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)


def _outline_cells(
    ground: ByteImage,
    labels: Labels,
    regions: Sequence[CellRegion],
    colors: Sequence[str],
    width: int,
) -> ByteImage:
    """Colour the outermost pixels of each cell, `width` px wide."""
    inside, edge = labels, np.zeros(labels.shape, np.bool_)
    for _ in range(width):
        ring = _edge(inside)
        edge |= ring
        inside = np.where(ring, 0, inside)
    rgb = np.zeros((int(labels.max(initial=0)) + 1, 3), np.uint8)
    for region, color in zip(regions, colors, strict=True):
        rgb[region.label] = ImageColor.getrgb(color)
    picture = ground.copy()
    picture[edge] = rgb[labels[edge]]
    return picture


def _edge(labels: Labels) -> npt.NDArray[np.bool_]:
    """Pixels of cells beside a pixel that is none of the same cell, or at the border."""
    padded = np.pad(labels, 1)
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    differs = np.logical_or.reduce([labels != other for other in beside])
    return np.asarray(differs & (labels > 0), np.bool_)


def _write_above(
    picture: Image.Image, region: CellRegion, text: str, color: str, size: int
) -> None:
    """Write beside the upper left corner of a cell, within the field."""
    top, left, _, _ = region.box
    font = _font(text, size)
    draw = ImageDraw.Draw(picture)
    x = min(max(left, 1), picture.width - draw.textlength(text, font) - 2)
    y = min(max(top - size - 1, 1), picture.height - size - 2)
    draw.text((x, y), text, color, font, stroke_width=2, stroke_fill="black")


def _draw_strip(
    width: int, size: int, entries: Sequence[tuple[str, str]], title: str, notes: Sequence[str]
) -> ByteImage:
    """Draw the title and, in as many lines as they need, the classes."""
    words = [*entries, *(("", note) for note in notes)]
    line, gap = round(1.6 * size), size
    places, x, y = [], gap, line
    for color, text in words:
        mark = size + gap // 2 if color else 0
        length = mark + int(_font(text, size).getlength(text)) + 2 * gap
        if x > gap and x + length > width:
            x, y = gap, y + line
        places.append((x, y, mark))
        x += length
    rows = y + line if words else line
    strip = Image.new("RGB", (width, rows + gap // 2), _GROUND)
    draw = ImageDraw.Draw(strip)
    draw.text((gap, gap // 3), title, _INK, _font(title, size))
    for (color, text), (x, y, mark) in zip(words, places, strict=True):
        if color:
            draw.rectangle((x, y + size // 4, x + size, y + size + size // 4), fill=color)
        draw.text((x + mark, y + gap // 6), text, _INK if color else _QUIET, _font(text, size))
    return np.asarray(strip)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """The font of a text; where it needs several, the one of its foreign letters."""
    return _load_font(families_of(text)[-1], size)


@cache
def _load_font(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family=family)), size)
