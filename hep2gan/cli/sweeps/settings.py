"""What hydra.launcher and hydra.sweeper say of a sweep."""

from typing import Annotated, Any, Literal

from pydantic import Field

from hep2gan.settings import (
    Name,
    NonNegative,
    PositiveInt,
    Probability,
    Settings,
    Text,
    Texts,
)


class ProcessSettings(Settings):
    """hydra.launcher of hydra/launcher=processes."""

    slots: PositiveInt | None
    """Jobs at once; null: as many as the GPUs hold, one on the CPU."""
    jobs_per_device: PositiveInt
    """Jobs that share a GPU."""


class SlurmSettings(Settings):
    """hydra.launcher of hydra/launcher=slurm."""

    submitit_folder: Text
    """Folder of the jobs' scripts and outputs."""
    name: Name
    """Name of the jobs in the queue."""
    timeout_min: PositiveInt
    """Minutes of one start."""
    signal_delay_s: PositiveInt
    """Seconds before the end of its time at which a job is told to save."""
    max_num_timeout: PositiveInt
    """Starts of a job that may run out of time."""
    cpus_per_task: PositiveInt
    """Cores on each node."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None
    """GPUs on each node; null: trainer.devices, none with trainer.accelerator=cpu."""
    mem_gb: NonNegative | None
    """Memory on each node."""
    partition: Name | None
    """Slurm's partition."""
    qos: Name | None
    """Slurm's quality of service."""
    account: Name | None
    """Account that the time is charged to."""
    constraint: Name | None
    """Features that nodes must have."""
    exclude: Name | None
    """Nodes that are not used."""
    gres: Name | None
    """Generic resources, such as gpu:a100:1."""
    comment: Name | None
    """A comment for Slurm."""
    array_parallelism: PositiveInt
    """Jobs at once."""
    setup: Texts | None
    """Shell lines before the job."""
    additional_parameters: dict[str, Any]
    """Any other parameters of sbatch, by name."""


class SweeperSettings(Settings):
    """What hydra.sweeper says of a study, beside its sampler and its search space."""

    direction: Literal["maximize", "minimize"]
    """What the best value of optimized_metric is."""
    n_trials: Annotated[int, Field(ge=0)]
    """Trials in all."""
    n_jobs: PositiveInt
    """Trials that are chosen together, before any of them has ended."""
    max_failure_rate: Probability
    """Part of the trials that may fail."""
