"""Whole fields of many cells: their cells found, predicted, and summed to fields and specimens."""
