"""Metrics of segmentation and classification, and trivial baselines to compare them with."""
