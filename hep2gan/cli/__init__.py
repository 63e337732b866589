"""The commands: the only package that imports Hydra, and the one that starts processes."""
