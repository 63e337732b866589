"""Segmentation guided HEp-2 cell classification with adversarial networks."""

__version__ = "0.1.0"
