"""From raw cells to batches: readers of raw sets, the packed store, splits and augmentation."""
