"""The packed store: memory-mapped pixels, labels and where they came from."""
