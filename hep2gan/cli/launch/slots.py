"""Slots for jobs that run side by side on this machine: GPUs by number, or a count on the CPU."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError
from hep2gan.io import available_cores
from hep2gan.settings import PositiveInt, Settings, errors_of, parse


class ProcessSettings(Settings):
    """hydra.launcher of hydra/launcher=processes."""

    slots: PositiveInt | None
    """Jobs at once; null: as many as the GPUs hold, one on the CPU."""


@dataclass
class DeviceSlots:
    """Slots for jobs side by side: GPUs by number, or a count on the CPU.

    Attributes:
        gpus: What CUDA_VISIBLE_DEVICES may name; empty on the CPU.
        each: Devices of a job.
        count: Jobs at once.
        taken: GPUs in use, by job number.
    """

    gpus: list[str]
    each: int
    count: int
    taken: dict[int, list[str]] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether another job may start."""
        return len(self.taken) < self.count

    def take(self, number: int) -> dict[str, str]:
        """Take a slot.

        Args:
            number: Number of the job.

        Returns:
            The environment variables of the job.
        """
        used = {gpu for gpus in self.taken.values() for gpu in gpus}
        gpus = [gpu for gpu in self.gpus if gpu not in used][: self.each]
        self.taken[number] = gpus
        environment = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        processes = self.count * self.each
        if "OMP_NUM_THREADS" not in os.environ and processes > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // processes))
        return environment

    def release(self, number: int) -> None:
        """Free the slot of a job.

        Args:
            number: Number of the job.
        """
        del self.taken[number]


def device_slots(settings: Mapping[str, Any], count: int | None) -> DeviceSlots:
    """Make slots for as many jobs at once as the GPUs hold, or one on the CPU; or for `count`.

    Args:
        settings: The group `trainer` of the jobs' configuration.
        count: Jobs at once, at most what the GPUs hold; None for the default.

    Returns:
        The free slots.

    Raises:
        Hep2ganError: A job needs more GPUs than there are, or more machines than this one, or
            `count` is no count.
    """
    parse(ProcessSettings, {"slots": count}, "hydra.launcher")
    if settings["num_nodes"] != 1:
        raise Hep2ganError(
            f"trainer.num_nodes is {settings['num_nodes']}",
            "hydra/launcher=processes starts jobs on this machine",
            "use hydra/launcher=slurm",
        )
    if error := errors_of(TrainerSettings, settings, "trainer").get("trainer.devices"):
        raise error
    each = settings["devices"]
    gpus = [] if settings["accelerator"] == "cpu" else _visible_gpus()
    if settings["accelerator"] == "gpu" and len(gpus) < each:
        raise Hep2ganError(
            f"a job needs {each} GPUs, this machine has {len(gpus)}",
            "",
            "set trainer.devices lower or trainer.accelerator=cpu",
        )
    fitting = len(gpus) // each
    return DeviceSlots(gpus if fitting else [], each, min(count or fitting, fitting) or count or 1)


def _visible_gpus() -> list[str]:
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]
