"""Drawn HEp-2 cells that stand in for the real set, which may not be redistributed."""

__all__ = ["DRAWING_VERSION", "DrawnCell", "draw_cells", "write_phantom"]
