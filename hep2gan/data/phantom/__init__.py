"""Drawn HEp-2 cells that stand in for the real set, which may not be redistributed."""

from hep2gan.data.phantom.drawing import DRAWING_VERSION, DrawnCell, draw_cells
from hep2gan.data.phantom.writing import write_phantom

__all__ = ["DRAWING_VERSION", "DrawnCell", "draw_cells", "write_phantom"]
