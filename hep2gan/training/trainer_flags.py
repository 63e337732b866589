"""Flags of the trainer that cannot work on this machine, or have no effect."""

import os
import shutil
import sys
from collections.abc import Iterator

import torch

from hep2gan.config import TrainerSettings, uses_cuda_graphs
from hep2gan.errors import Hep2ganError
from hep2gan.training.preflight_report import Finding, Note

_OLDEST_CAPABILITY = (7, 0)
"""Compute capability from which torch.compile makes kernels for a GPU (Volta)."""


def check_trainer_flags(settings: TrainerSettings) -> Iterator[Finding]:
    """Check for settings of the trainer that cannot work on this machine, or have no effect.

    Args:
        settings: The group `trainer` of the configuration.

    Yields:
        Errors and notes.
    """
    on_gpu = settings.accelerator == "gpu" or (
        settings.accelerator == "auto" and torch.cuda.is_available()
    )
    ranks = settings.world_size
    if settings.compile:
        yield from _check_compile(settings, on_gpu, ranks)
    if settings.cuda_graph:
        yield from _check_cuda_graph(settings, on_gpu, ranks)
    if settings.sync_batchnorm and not on_gpu:
        yield Hep2ganError(
            "trainer.sync_batchnorm is true on the CPU",
            "torch has this for GPUs alone",
            "set trainer.sync_batchnorm=false",
        )
    elif settings.sync_batchnorm and ranks == 1:
        yield Note("trainer.sync_batchnorm has no effect on one device")
    if settings.share_device and (ranks == 1 or not on_gpu):
        where = "one device" if ranks == 1 else "the CPU"
        yield Note(f"trainer.share_device has no effect on {where}")
    if settings.cache_on_device and settings.num_workers:
        yield Note(
            f"trainer.num_workers={settings.num_workers} has no effect with"
            " trainer.cache_on_device=true: cells on the device need no worker"
        )


def _check_compile(settings: TrainerSettings, on_gpu: bool, ranks: int) -> Iterator[Finding]:
    fact, off = f"trainer.compile is {str(settings.compile).lower()}", "set trainer.compile=false"
    compilers, graphs = _compilers(on_gpu), uses_cuda_graphs(settings.compile)
    has_gpu = on_gpu and torch.cuda.is_available()
    capability = torch.cuda.get_device_capability() if has_gpu else _OLDEST_CAPABILITY
    rules = [
        (
            any(map(shutil.which, compilers)),
            f"{fact}, and none of {', '.join(compilers)} is installed",
            "torch.compile needs a compiler",
            f"install gcc, or {off}",
        ),
        (
            capability >= _OLDEST_CAPABILITY,
            f"{fact} on a GPU of compute capability {'.'.join(map(str, capability))}",
            "torch.compile makes kernels from 7.0 on",
            off,
        ),
        (
            not settings.sync_batchnorm or ranks == 1,
            f"{fact} with trainer.sync_batchnorm=true",
            "each such layer talks to the other devices, where torch.compile has to stop and begin"
            " again (pytorch issue 161302)",
            "set one of them to false",
        ),
        (
            not graphs or on_gpu,
            fact,
            "CUDA graphs need a GPU",
            "set trainer.compile=true or false",
        ),
        (
            not graphs or not on_gpu or ranks == 1,
            f"{fact} on {ranks} devices",
            "CUDA graphs beside the reduction of gradients are known to fail (pytorch issues"
            " 113809, 140395)",
            "set trainer.compile=true",
        ),
    ]
    yield from (Hep2ganError(*words) for holds, *words in rules if not holds)


def _check_cuda_graph(settings: TrainerSettings, on_gpu: bool, ranks: int) -> Iterator[Finding]:
    if not on_gpu:
        yield Hep2ganError(
            "trainer.cuda_graph is true on the CPU",
            "CUDA graphs need a GPU",
            "set trainer.cuda_graph=false",
        )
    if uses_cuda_graphs(settings.compile):
        yield Hep2ganError(
            f"trainer.cuda_graph is true, and trainer.compile={settings.compile} replays CUDA"
            " graphs too",
            "a graph cannot be recorded within another",
            "set trainer.compile=true or false",
        )
    waits = {
        "trainer.precision=16-mixed": settings.precision == "16-mixed",
        "trainer.nonfinite=skip": settings.nonfinite == "skip",
    }
    yield from (
        Note(
            f"trainer.cuda_graph has no effect with {setting}, which waits for the GPU before each"
            " update"
        )
        for setting, holds in waits.items()
        if holds
    )
    if ranks > 1:
        yield Note(
            f"trainer.cuda_graph on {ranks} devices is experimental: it was never tried on two"
            " GPUs. Where it fails, set trainer.cuda_graph=false; the same command resumes"
        )


def _compilers(on_gpu: bool) -> tuple[str, ...]:
    """What torch looks for: C for Triton's launchers, C++ for kernels of the CPU."""
    if on_gpu:
        return tuple(filter(None, (os.environ.get("CC"), "gcc", "clang", "cc")))
    return (os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"),)
