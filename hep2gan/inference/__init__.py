"""Prediction with a trained run: loading, backends, export."""
