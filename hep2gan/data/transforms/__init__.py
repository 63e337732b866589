"""Augmentation and normalisation of batches."""
