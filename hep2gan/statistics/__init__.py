"""Statistics of comparisons between methods."""
