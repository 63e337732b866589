"""Metrics of segmentation and classification, and the trivial baselines they are read against."""
