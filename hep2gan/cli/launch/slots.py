"""Slots for jobs that run side by side on this machine: GPUs by number, or a count on the CPU."""

import logging
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores

log = logging.getLogger(__name__)


class Needs(NamedTuple):
    """What each job of a launch needs.

    Attributes:
        devices: GPUs of a job, on each of its machines; on the CPU its processes.
        nodes: Machines of a job.
        accelerator: "gpu", "cpu", or "auto" for GPUs where there are any.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"


@dataclass
class DeviceSlots:
    """Slots for jobs side by side: GPUs by number, or a count on the CPU.

    Attributes:
        gpus: What CUDA_VISIBLE_DEVICES may name; empty on the CPU.
        each: Devices of a job.
        count: Jobs at once.
        jobs_per_device: Jobs that may share a GPU.
        taken: GPUs in use, by job number.
    """

    gpus: list[str]
    each: int
    count: int
    jobs_per_device: int = 1
    taken: dict[int, list[str]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether another job may start."""
        has_room = not self.gpus or len(self._with_room()) >= self.each
        return len(self.taken) < self.count and has_room

    def take(self, number: int) -> dict[str, str]:
        """Take a slot: the GPUs with the fewest jobs.

        Args:
            number: Number of the job.

        Returns:
            The environment variables of the job.
        """
        gpus = self._with_room()[: self.each]
        self.taken[number] = gpus
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        processes = self.count * self.each
        if "OMP_NUM_THREADS" not in os.environ and processes > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // processes))
        return environment

    def _with_room(self) -> list[str]:
        """GPUs that another job may use, those with the fewest jobs first."""
        jobs = Counter(gpu for gpus in self.taken.values() for gpu in gpus)
        return sorted(
            (g for g in self.gpus if jobs[g] < self.jobs_per_device), key=jobs.__getitem__
        )

    def release(self, number: int) -> None:
        """Free the slot of a job.

        Args:
            number: Number of the job.
        """
        del self.taken[number]


def device_slots(
    needs: Needs, count: int | None = None, jobs_per_device: int = 1, *, fewer: str = ""
) -> DeviceSlots:
    """Make slots for as many jobs at once as the GPUs hold, or one on the CPU; or for `count`.

    Args:
        needs: What each job needs.
        count: Jobs at once, at most what the GPUs hold; None for the default.
        jobs_per_device: Jobs that share a GPU.
        fewer: How a job is made to need fewer GPUs, told where there are too few.

    Returns:
        The free slots.

    Raises:
        Hep2ganError: A job needs more GPUs than there are, or more machines than this one.
    """
    if needs.nodes != 1:
        raise Hep2ganError(
            f"a job needs {needs.nodes} machines", "jobs start on this machine", "launch by Slurm"
        )
    gpus = [] if needs.accelerator == "cpu" else _visible_gpus()
    if needs.accelerator == "gpu" and len(gpus) < needs.devices:
        fact = f"a job needs {needs.devices} GPUs, this machine has {len(gpus)}"
        raise Hep2ganError(fact, "", fewer)
    if len(gpus) < needs.devices:
        if jobs_per_device > 1:
            log.warning("No GPU is used, and none shared; jobs at once on the CPU: %d", count or 1)
        return DeviceSlots([], needs.devices, count or 1)
    fitting = len(gpus) * jobs_per_device // needs.devices
    return DeviceSlots(gpus, needs.devices, min(count or fitting, fitting), jobs_per_device)


def _visible_gpus() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]
