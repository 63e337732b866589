"""Files of a run: its folder, lock, checkpoints, predictions, metrics."""
