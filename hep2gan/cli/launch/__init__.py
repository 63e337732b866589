"""A launcher of jobs: one GPU each, what is done skipped, what failed told; knows no training.

Of this project it imports `io` and `errors` alone. What it must know of the jobs they tell it
themselves, see `jobs.Job`; what it must know of a sweep that Hydra composes, see `hydra.Sweep`.
"""
