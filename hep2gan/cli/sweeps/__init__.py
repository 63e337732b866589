"""Sweeps of trainings: what the jobs of `hep2gan.cli.launch` are here, and Hydra's plugins."""
