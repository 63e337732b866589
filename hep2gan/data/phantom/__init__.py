"""Synthetic HEp-2 cells that stand in for the real set, which may not be redistributed."""
