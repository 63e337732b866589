"""What doctor=true says of this machine: software, who else computes on it, room for workers."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from hep2gan.config import TrainerSettings
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import available_cores
from hep2gan.runs.provenance import versions
from hep2gan.training.devices import MPS_DECLINED, has_mps, require_devices, resolve_device
from hep2gan.training.gpu_support import unusable_gpu
from hep2gan.training.preflight_report import Finding, Note

SHARED_MEMORY = Path("/dev/shm")
_LOCKS = 64 * 1024
"""Bytes of shared memory that the queues of one loader worker take, generously."""


def check_software() -> Iterator[Finding]:
    """Versions of what a report of a problem is asked for, and the system."""
    found = versions()
    named = [f"{name} {found[name]}" for name in ("hep2gan", "torch", "lightning", "hydra-core")]
    yield f"{', '.join(named)}; Python {platform.python_version()} on {platform.platform()}"


def check_devices(settings: TrainerSettings) -> Iterator[Finding]:
    """Devices of the run; why it takes the CPU on a machine with a GPU.

    Args:
        settings: Of the trainer.

    Yields:
        The devices, and a note.

    Raises:
        Hep2ganError: The machine has not as many, or torch cannot compute on them.
    """
    yield require_devices(settings)
    if settings.accelerator == "auto" and (why := unusable_gpu()):
        yield Note(f"the run takes the CPU: {why.fact}; {why.rule}. To use the GPU, {why.fix}")


def check_machine(settings: TrainerSettings, image_size: int) -> Iterator[Finding]:
    """Cores, what others use of this machine, and room for loader workers.

    Args:
        settings: Of the trainer.
        image_size: Side of the stored images in pixels.
    """
    ranks, cores = settings.devices, available_cores()
    gpu = resolve_device(settings.accelerator, "trainer.accelerator").type == "cuda"
    yield from _check_load(cores)
    if gpu:
        yield from _check_gpus(ranks)
    elif settings.accelerator == "auto" and has_mps():
        yield Note(f"{MPS_DECLINED}: the run takes the CPU")
    if settings.num_workers and not settings.cache_on_device:
        yield from _check_workers(settings, image_size, cores)
    threads = settings.threads or max(1, cores // ranks)
    if not gpu and threads * ranks > cores:
        yield Note(
            f"{threads} threads of each of {pluralize(ranks, 'process', 'processes')} are more than"
            f" the {pluralize(cores, 'core')}: all become slower"
        )
    yield pluralize(cores, "core")


def _check_load(cores: int) -> Iterator[Finding]:
    # Of the whole machine, also where this process may use a part of it. Windows counts none.
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > max(1.5, (os.cpu_count() or cores) / 2):
        yield Note(
            f"others compute on this machine: a load of {load:.1f} on"
            f" {pluralize(os.cpu_count() or cores, 'core')}. While they do, trainer.threads="
            f"{max(1, cores // 2)} is faster for all"
        )


def _check_gpus(count: int) -> Iterator[Finding]:
    for number in range(min(count, torch.cuda.device_count())):
        free, total = torch.cuda.mem_get_info(number)
        if free < total / 2:
            yield Note(
                f"others use GPU {number}: {free / 1e9:.1f} of {total / 1e9:.1f} GB are free."
                " CUDA_VISIBLE_DEVICES chooses another"
            )


def _check_workers(settings: TrainerSettings, image_size: int, cores: int) -> Iterator[Finding]:
    workers = settings.num_workers * settings.devices
    batch = max(settings.batch_size // settings.devices, settings.eval_batch_size)
    megabytes = 2 * batch * image_size**2 / 1e6
    said = (
        f"{pluralize(workers, 'loader worker')} of batches of up to {megabytes:.1f} MB, which go"
        " through pipes"
    )
    if workers + settings.devices > cores:
        yield Note(f"{said}, on {pluralize(cores, 'core')}: trainer.num_workers=0 is faster")
    if SHARED_MEMORY.is_dir():
        # One loader for each part of the split.
        needed, free = 3 * workers * _LOCKS, shutil.disk_usage(SHARED_MEMORY).free
        if free < needed:
            yield Hep2ganError(
                f"{SHARED_MEMORY} has {free / 1e6:.1f} MB free, and {workers} loader workers need"
                f" {needed / 1e6:.1f} MB for their locks",
                "without, they cannot start",
                f"free some of {SHARED_MEMORY} (in a container: --shm-size=64m), or set"
                " trainer.num_workers=0",
            )
        said += f"; {SHARED_MEMORY} holds their locks alone, {free / 1e6:.0f} MB free"
    yield said
