"""Do the switches for speed fit the devices and each other?"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hydra.utils import get_class

from hep2gan.compile_modes import MODES, records_graphs
from hep2gan.errors import Hep2ganError
from hep2gan.targets import OPTIMIZERS
from hep2gan.training.checklist import Finding, Note
from hep2gan.training.optimizers import check_fused

Config = Mapping[str, Any]
_OLDEST = (7, 0)
"""Compute capability from which torch.compile makes kernels for a GPU (Volta)."""


def of_switches(config: Config) -> Iterator[Finding]:
    """Everything of `trainer` that cannot work here, or has no effect."""
    settings = config["trainer"]
    on_gpu = settings["accelerator"] == "gpu" or (
        settings["accelerator"] == "auto" and torch.cuda.is_available()
    )
    several = settings["devices"] * settings["nodes"] > 1
    if settings["compile"]:
        yield from _compile(settings, on_gpu, several)
    yield from _statistics(settings, on_gpu, several)
    yield from _fused(config)
    yield from _no_effect(settings)


def _compile(settings: Config, on_gpu: bool, several: bool) -> Iterator[Finding]:
    mode = settings["compile"]
    if mode not in MODES or not isinstance(mode, bool | str):
        yield Hep2ganError(
            f"trainer.compile is {mode!r}",
            f"choose from {', '.join(str(mode).lower() for mode in MODES)}",
        )
        return
    fact = f"trainer.compile is {str(mode).lower()}"
    if not _finds(_compilers(on_gpu)):
        yield Hep2ganError(
            f"{fact}, and none of {', '.join(_compilers(on_gpu))} is installed",
            "torch.compile needs a compiler",
            "install gcc, or set trainer.compile=false",
        )
    if on_gpu and torch.cuda.is_available() and torch.cuda.get_device_capability() < _OLDEST:
        yield Hep2ganError(
            f"{fact} on a GPU of compute capability"
            f" {'.'.join(map(str, torch.cuda.get_device_capability()))}",
            "torch.compile makes kernels from 7.0 on",
            "set trainer.compile=false",
        )
    if settings["sync_batchnorm"] and several:
        yield Hep2ganError(
            f"{fact} with trainer.sync_batchnorm=true",
            "each such layer talks to the other devices, where torch.compile has to stop and begin"
            " again (pytorch issue 161302)",
            "set one of them to false",
        )
    if records_graphs(mode) and not on_gpu:
        yield Hep2ganError(fact, "CUDA graphs need a GPU", "set trainer.compile=true or false")
    elif records_graphs(mode) and several:
        yield Hep2ganError(
            f"{fact} on {settings['devices'] * settings['nodes']} devices",
            "CUDA graphs beside the reduction of gradients are known to fail (pytorch issues"
            " 113809, 140395)",
            "set trainer.compile=true",
        )


def _compilers(on_gpu: bool) -> tuple[str, ...]:
    """What torch looks for: C for Triton's launchers, C++ for kernels of the CPU."""
    if on_gpu:
        return tuple(filter(None, (os.environ.get("CC"), "gcc", "clang", "cc")))
    return (os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"),)


def _finds(names: tuple[str, ...]) -> bool:
    return any(shutil.which(name) for name in names)


def _statistics(settings: Config, on_gpu: bool, several: bool) -> Iterator[Finding]:
    if not settings["sync_batchnorm"]:
        return
    if not on_gpu:
        yield Hep2ganError(
            "trainer.sync_batchnorm is true on the CPU",
            "torch has this for GPUs alone",
            "set trainer.sync_batchnorm=false",
        )
    elif not several:
        yield Note("trainer.sync_batchnorm has no effect on one device")


def _fused(config: Config) -> Iterator[Finding]:
    for name in ("generator", "discriminator", "classifier"):
        target = config["optimizer"][name]["_target_"]
        # Others are looked up by who knows whether they may be.
        if not isinstance(target, str) or target not in OPTIMIZERS:
            continue
        try:
            check_fused(config["trainer"]["fused_optimizers"], get_class(target))
        except Hep2ganError as error:
            yield error
            return


def _no_effect(settings: Config) -> Iterator[Finding]:
    if settings["resident"] and settings["workers"]:
        yield Note(
            f"trainer.workers={settings['workers']} has no effect with trainer.resident=true:"
            " cells that lie on the device need no worker"
        )
