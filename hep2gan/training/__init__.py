"""Training and testing a run: the only package that imports Lightning and wandb."""
