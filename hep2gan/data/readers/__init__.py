"""Readers of raw data sets: images, masks, labels."""
