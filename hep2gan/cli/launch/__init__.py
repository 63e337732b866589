"""How jobs are started: on this machine, in sweeps, under Slurm."""
