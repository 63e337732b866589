"""What a run leaves on disk: its folder, lock, checkpoints, predictions, metrics."""
