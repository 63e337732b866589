"""Figures, from predictions alone."""
