"""A whole field of one specimen: its cells rendered together, and the picture of them."""

from functools import partial
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.fields.regions import Labels
from hep2gan.data.phantom.laboratory import Laboratory
from hep2gan.data.phantom.mitosis import render_mitosis
from hep2gan.data.phantom.nucleus import Image, Nucleus
from hep2gan.data.phantom.patterns import JITTER
from hep2gan.data.phantom.placement import PlacedCell, place_cells
from hep2gan.data.phantom.scene import (
    DEBRIS,
    blur,
    expose,
    sample_background,
    sample_debris,
    sample_defocus,
)
from hep2gan.data.phantom.specimens import Specimen
from hep2gan.data.phantom.texture import lognormal, random_field

_REACH = 40  # px beyond a nucleus where the faintest of its stain has faded
_CROP_AREA = 68 * 68  # px of a usual crop, to which the number of clumps of debris refers
_SLANT, _UNEVEN = 0.25, 0.04  # illumination: largest change over the field, and sd of its waves
_WAVE = 120  # px, width of these waves
_BLUR_REACH = 20  # px beyond which blur carries next to no light


class FieldScene(NamedTuple):
    """A field before it is photographed.

    Attributes:
        signal: (h, w) light of cells in focus and of debris, in grey levels.
        soft: (h, w) light of cells out of focus, in grey levels.
        source: (h, w) number of the cell whose light `soft` shows; 0 where there is none.
        background: (h, w) light of the background.
        labels: (h, w) label image.
        defocus: Standard deviation in px of the extra blur of each cell, by its number less 1.
        mitotic: Whether each divides.
    """

    signal: Image
    soft: Image
    source: Labels
    background: Image
    labels: Labels
    defocus: tuple[float, ...]
    mitotic: tuple[bool, ...]


def compose_field(
    specimen: Specimen, number: int, shape: tuple[int, int], rng: np.random.Generator
) -> FieldScene:
    """Compose a field of a specimen.

    Args:
        specimen: The specimen.
        number: Number of cells; fewer where there is no room.
        shape: (h, w) of the field in px.
        rng: Source of the random numbers.

    Returns:
        The scene.
    """
    cells = place_cells(number, shape, specimen.neighbours, rng)
    canvas = _Canvas(shape)
    nuclei = [_Patch(cell, shape) for cell in cells]
    for index, patch in enumerate(nuclei, 1):
        canvas.claim(index, patch)
    defocus = tuple(sample_defocus(rng) for _ in cells)
    for index, (patch, extra) in enumerate(zip(nuclei, defocus, strict=True), 1):
        canvas.paint(index, patch, _stain(specimen, patch, canvas, index, rng), defocused=extra > 0)
    signal = canvas.signal
    for _ in range(rng.poisson(DEBRIS * shape[0] * shape[1] / _CROP_AREA)):
        _drop_debris(signal, specimen.level, rng)
    light = _sample_illumination(shape, rng)
    background = sample_background(specimen, shape, rng) * light
    return FieldScene(
        signal=signal * light,
        soft=canvas.soft * light,
        source=canvas.source,
        background=background,
        labels=canvas.labels,
        defocus=defocus,
        mitotic=tuple(cell.mitotic for cell in cells),
    )


class _Patch:
    """The part of a field that one cell may light, and the cell there.

    Attributes:
        nucleus: The cell on a canvas of its own, which may reach beyond the field.
        place: Rows and columns of the field.
        inner: The same rows and columns of the canvas.
        mitotic: Whether the cell divides.
    """

    def __init__(self, cell: PlacedCell, shape: tuple[int, int]) -> None:
        first = [
            int(np.floor(at - r)) - _REACH
            for at, r in zip(cell.centre, cell.outline.reach, strict=True)
        ]
        size = [2 * int(np.ceil(r)) + 2 * _REACH + 2 for r in cell.outline.reach]
        centre = (cell.centre[0] - first[0], cell.centre[1] - first[1])
        self.nucleus = Nucleus(cell.outline, centre, (size[0], size[1]))
        rows, columns = (
            slice(max(start, 0), min(start + length, side))
            for start, length, side in zip(first, size, shape, strict=True)
        )
        self.place = (rows, columns)
        self.inner = (
            slice(rows.start - first[0], rows.stop - first[0]),
            slice(columns.start - first[1], columns.stop - first[1]),
        )
        self.mitotic = cell.mitotic


class _Canvas:
    """A field in the making; each pixel belongs to the cell that it lies deepest in.

    Attributes:
        labels: (h, w) label image.
        signal: (h, w) light of the cells in focus so far.
        soft: (h, w) light of the cells out of focus so far.
        source: See `FieldScene`.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels: Labels = np.zeros(shape, np.int32)
        self.signal: Image = np.zeros(shape, np.float32)
        self.soft: Image = np.zeros(shape, np.float32)
        self.source: Labels = np.zeros(shape, np.int32)
        self._owner: Labels = np.zeros(shape, np.int32)
        self._depth: Image = np.full(shape, -0.5, np.float32)

    def claim(self, index: int, patch: _Patch) -> None:
        """Give a cell the pixels that no other cell has a better right to."""
        depth = patch.nucleus.depth[patch.inner]
        won = depth > self._depth[patch.place]
        self._depth[patch.place][won] = depth[won]
        self._owner[patch.place][won] = index
        self.labels[patch.place][won] = np.where(patch.nucleus.mask[patch.inner], index, 0)[won]

    def shrink(self, index: int, patch: _Patch, mask: npt.NDArray[np.bool_]) -> None:
        """Keep only a part of a cell in the label image."""
        labels = self.labels[patch.place]
        labels[(labels == index) & ~mask[patch.inner]] = 0

    def paint(self, index: int, patch: _Patch, light: Image, *, defocused: bool) -> None:
        """Add the light of a cell; it does not shine through the nuclei of others."""
        others = self._owner[patch.place] != index
        covered = np.clip(self._depth[patch.place] + np.float32(0.5), 0, 1) * others
        own = light[patch.inner] * (1 - covered)
        seen = (self.soft if defocused else self.signal)[patch.place]
        brighter = own > seen
        seen[brighter] = own[brighter]
        if defocused:
            self.source[patch.place][brighter] = index


def _stain(
    specimen: Specimen, patch: _Patch, canvas: _Canvas, index: int, rng: np.random.Generator
) -> Image:
    """Render one cell in grey levels."""
    level = np.float32(specimen.level * lognormal(rng, 1, JITTER))
    if patch.mitotic:
        cell = render_mitosis(specimen, patch.nucleus, rng)
        canvas.shrink(index, patch, cell.mask)
        return cell.stain * level
    stain = specimen.stain.render(patch.nucleus, rng)
    return stain * (level / max(float(stain[patch.nucleus.mask].mean()), 1e-6))


def _drop_debris(signal: Image, level: float, rng: np.random.Generator) -> None:
    size = 68
    top, left = (int(rng.integers(max(side - size, 0) + 1)) for side in signal.shape)
    part = signal[top : top + size, left : left + size]
    part += sample_debris((part.shape[0], part.shape[1]), level, rng)


def _sample_illumination(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Sample the illumination (h, w) of mean 1: it falls off to one side, and unevenly."""
    angle, change = rng.uniform(0, 2 * np.pi), rng.uniform(0, _SLANT)
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    steepest = abs(np.sin(angle)) + abs(np.cos(angle))
    waves = np.float32(_UNEVEN) * random_field(rng, shape, _WAVE)
    slant = 1 + np.float32(change / steepest) * (y + x)
    return cast(Image, slant + np.clip(waves, -0.12, 0.12))


def magnify_field(scene: FieldScene, lab: Laboratory, shape: tuple[int, int]) -> FieldScene:
    """Resize a field to the pixels of a laboratory.

    Args:
        scene: The field, as large as it must be for `shape`.
        lab: The laboratory.
        shape: (h, w) of the result in px.

    Returns:
        The field.
    """
    if lab.magnification == 1:
        return scene
    part = np.s_[: shape[0], : shape[1]]
    zoom = lab.magnification
    cells = ndimage.zoom((scene.labels > 0).astype(np.float32), zoom, order=1)[part] > 0.5
    # Nearest labels beyond the cells too: the outlines then are those of the smooth mask.
    nearest = ndimage.distance_transform_edt(
        scene.labels == 0, return_distances=False, return_indices=True
    )
    labels = ndimage.zoom(scene.labels[tuple(nearest)], zoom, order=0)[part]
    return scene._replace(
        signal=ndimage.zoom(scene.signal, zoom, order=1)[part],
        soft=ndimage.zoom(scene.soft, zoom, order=1)[part],
        background=ndimage.zoom(scene.background, zoom, order=1)[part],
        labels=np.where(cells, labels, 0).astype(np.int32),
        source=ndimage.zoom(scene.source, zoom, order=0)[part],
    )


def photograph(
    scene: FieldScene, specimen: Specimen, lab: Laboratory, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Take the picture of a field: each cell out of focus is blurred on its own.

    Args:
        scene: The field.
        specimen: Its specimen, prepared by the laboratory.
        lab: The laboratory.
        rng: Source of the random numbers.

    Returns:
        uint8 (h, w) grey levels.
    """
    optics = partial(blur, sharp=specimen.sharp, halo=specimen.halo)
    soft = np.zeros_like(scene.soft)
    for number, found in enumerate(ndimage.find_objects(scene.source), 1):
        if found is None:
            continue
        part = tuple(slice(max(s.start - _BLUR_REACH, 0), s.stop + _BLUR_REACH) for s in found)
        own = np.where(scene.source[part] == number, scene.soft[part], np.float32(0))
        soft[part] += optics(own, defocus=scene.defocus[number - 1])
    # The brighter one, not the sum: where they meet, both hold the haze of cytoplasm.
    signal = np.maximum(optics(scene.signal, defocus=0), soft)
    light = optics(scene.background, defocus=0) + signal
    return expose(np.ascontiguousarray(lab.develop(light)), specimen.gain, rng)
