"""Metrics of segmentation and classification, and the trivial priors they are read against."""
