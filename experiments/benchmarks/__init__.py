"""What hep2gan costs, as ratios measured side by side: `python -m experiments.benchmarks`."""
