"""Which cells of a field may mislead: cut by the border, of an odd size, or out of focus."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hep2gan.data.fields.regions import CellRegion, Labels
from hep2gan.data.readers.image import GreyImage

Flags = npt.NDArray[np.bool_]

TIMES_NUCLEUS = 2.0
"""Times the usual diameter of the training's nuclei, or that part of it: beyond, a size is odd."""
DEVIATIONS = 3.0
"""Robust standard deviations from the field's median beyond which a cell is unlike the rest."""
LEAST_CELLS = 8
"""Cells whole within a field from which on they are compared with each other."""
_LEAST_RATIO = 1.5
"""Of two areas in a field of cells all alike, below which neither is odd."""
_LEAST_BLUR = 0.85
"""Sharpness of a cell as a part of the field's median, above which it is never called blurred."""
_FINE = 1 / 45
"""Width of the finest structures compared, as a part of a nucleus' diameter: 1.5 of 67 px."""


class CellFlags(NamedTuple):
    """What is odd about the n cells of a field.

    Attributes:
        at_border: (n,) bool, cells cut by the border of the field.
        odd_size: (n,) bool, cells far larger or smaller than the training's, or the field's.
        out_of_focus: (n,) bool, cells without the fine structures that the others have.
        sharpness: (n,) float, fine structures as a part of coarser ones.
    """

    at_border: Flags
    odd_size: Flags
    out_of_focus: Flags
    sharpness: npt.NDArray[np.float64]

    @property
    def any(self) -> Flags:
        """(n,) bool, cells with a flag: they do not count where others are there."""
        return self.at_border | self.odd_size | self.out_of_focus


def flag_cells(
    image: GreyImage, labels: Labels, regions: Sequence[CellRegion], nucleus: float | None
) -> CellFlags:
    """Find the cells of a field that may mislead.

    A size is odd if the diameter of a circle of the cell's area is more than twice or less than
    half of `nucleus`; or if its area is beyond 3 robust standard deviations of log area in the
    field, and at least 1.5 times as large or small as the median. Cells at the border are no such
    cells, and no measure for others.

    A cell is out of focus if its sharpness, see `measure_sharpness`, lies more than 3 robust
    standard deviations of log sharpness below the median of the field, and below 0.85 of it. So
    a field that is blurred as a whole has no such cell: a specimen's pattern decides how much fine
    structure there is, and only cells of one pattern can be compared.

    Both comparisons within a field need 8 cells that the border does not cut.

    Args:
        image: float32 (h, w) grey levels.
        labels: int32 (h, w) label image.
        regions: Its n cells.
        nucleus: Usual diameter of the training's nuclei in px; None if it is not known.

    Returns:
        The flags.
    """
    border = np.array([region.at_border for region in regions], np.bool_)
    area = np.array([region.area for region in regions], np.float64)
    diameter = np.sqrt(4 / np.pi * area)
    odd = np.zeros(len(regions), np.bool_)
    if nucleus:
        odd |= (diameter > TIMES_NUCLEUS * nucleus) | (diameter < nucleus / TIMES_NUCLEUS)
    centre, spread = _robust(np.log(area), ~border)
    odd |= np.abs(np.log(area) - centre) > max(DEVIATIONS * spread, np.log(_LEAST_RATIO))
    scale = float(np.median(diameter)) if len(regions) else 1.0
    sharpness = measure_sharpness(image, labels, regions, scale)
    logs = np.log(np.maximum(sharpness, 1e-9))
    centre, spread = _robust(logs, ~border)
    blurred = centre - logs > max(DEVIATIONS * spread, -np.log(_LEAST_BLUR))
    return CellFlags(border, odd & ~border, blurred, sharpness)


def measure_sharpness(
    image: GreyImage, labels: Labels, regions: Sequence[CellRegion], diameter: float
) -> npt.NDArray[np.float64]:
    """Measure how much fine structure cells have beside coarser structure.

    It is the ratio of two standard deviations within a cell and a rim around it: of the image
    between Gaussian blurs of d/45 and 2 d/45, and of that between 2 d/45 and 4 d/45. Defocus takes
    the first away sooner than the second.

    Args:
        image: float32 (h, w) grey levels.
        labels: int32 (h, w) label image.
        regions: Its n cells.
        diameter: d, the usual diameter of the cells in px.

    Returns:
        (n,) ratios; 0 where a cell has no structure.
    """
    fine = max(diameter * _FINE, 0.7)
    ratios = (_sharpness_of(image, labels, region, fine) for region in regions)
    return np.fromiter(ratios, np.float64, len(regions))


def _sharpness_of(image: GreyImage, labels: Labels, region: CellRegion, fine: float) -> float:
    rim = round(2.5 * fine)
    top, left, bottom, right = region.box
    # As far again as the rim, so that the edge of the part is not seen.
    near = np.s_[max(top - 2 * rim, 0) : bottom + 2 * rim, max(left - 2 * rim, 0) : right + 2 * rim]
    part, others = image[near], labels[near]
    own = others == region.label
    around = ndimage.maximum_filter(own.view(np.uint8), 2 * rim + 1) > 0
    around &= own | (others == 0)
    first = ndimage.gaussian_filter(part, fine, truncate=3)
    second = ndimage.gaussian_filter(first, fine * np.sqrt(3), truncate=3)
    third = ndimage.gaussian_filter(second, fine * np.sqrt(12), truncate=3)
    coarse = float((second - third)[around].std())
    return float((first - second)[around].std()) / coarse if coarse > 0 else 0.0


def _robust(values: npt.NDArray[np.float64], whole: Flags) -> tuple[float, float]:
    """Median and robust standard deviation of cells; infinite spread where there are too few."""
    if int(whole.sum()) < LEAST_CELLS:
        return 0.0, float("inf")
    centre = float(np.median(values[whole]))
    return centre, 1.4826 * float(np.median(np.abs(values[whole] - centre)))
