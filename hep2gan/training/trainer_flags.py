"""Flags of the trainer that cannot work on this machine, or have no effect."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from hep2gan.config import ALLOWED_OPTIMIZERS, COMPILE_MODES, import_class, uses_cuda_graphs
from hep2gan.errors import Hep2ganError
from hep2gan.training.optimizers import check_fused
from hep2gan.training.preflight_report import Finding, Note

Config = Mapping[str, Any]

_OLDEST_CAPABILITY = (7, 0)
"""Compute capability from which torch.compile makes kernels for a GPU (Volta)."""


def check_trainer_flags(config: Config) -> Iterator[Finding]:
    """Everything of `trainer` that cannot work here, or has no effect."""
    settings = config["trainer"]
    on_gpu = settings["accelerator"] == "gpu" or (
        settings["accelerator"] == "auto" and torch.cuda.is_available()
    )
    ranks = settings["devices"] * settings["nodes"]
    if settings["compile"]:
        yield from _check_compile(settings, on_gpu, ranks)
    if settings["sync_batchnorm"] and not on_gpu:
        yield Hep2ganError(
            "trainer.sync_batchnorm is true on the CPU",
            "torch has this for GPUs alone",
            "set trainer.sync_batchnorm=false",
        )
    elif settings["sync_batchnorm"] and ranks == 1:
        yield Note("trainer.sync_batchnorm has no effect on one device")
    yield from _check_fused(config)
    if settings["resident"] and settings["workers"]:
        yield Note(
            f"trainer.workers={settings['workers']} has no effect with trainer.resident=true:"
            " cells that lie on the device need no worker"
        )


def _check_compile(settings: Config, on_gpu: bool, ranks: int) -> Iterator[Finding]:
    mode = settings["compile"]
    fact, off = f"trainer.compile is {str(mode).lower()}", "set trainer.compile=false"
    if mode not in COMPILE_MODES or not isinstance(mode, bool | str):
        options = ", ".join(str(mode).lower() for mode in COMPILE_MODES)
        yield Hep2ganError(f"trainer.compile is {mode!r}", f"choose from {options}")
        return
    compilers = _compilers(on_gpu)
    if not any(map(shutil.which, compilers)):
        missing = f"{fact}, and none of {', '.join(compilers)} is installed"
        yield Hep2ganError(missing, "torch.compile needs a compiler", f"install gcc, or {off}")
    if on_gpu and torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
        if capability < _OLDEST_CAPABILITY:
            old = f"{fact} on a GPU of compute capability {'.'.join(map(str, capability))}"
            yield Hep2ganError(old, "torch.compile makes kernels from 7.0 on", off)
    if settings["sync_batchnorm"] and ranks > 1:
        yield Hep2ganError(
            f"{fact} with trainer.sync_batchnorm=true",
            "each such layer talks to the other devices, where torch.compile has to stop and begin"
            " again (pytorch issue 161302)",
            "set one of them to false",
        )
    if uses_cuda_graphs(mode) and not on_gpu:
        yield Hep2ganError(fact, "CUDA graphs need a GPU", "set trainer.compile=true or false")
    elif uses_cuda_graphs(mode) and ranks > 1:
        yield Hep2ganError(
            f"{fact} on {ranks} devices",
            "CUDA graphs beside the reduction of gradients are known to fail (pytorch issues"
            " 113809, 140395)",
            "set trainer.compile=true",
        )


def _compilers(on_gpu: bool) -> tuple[str, ...]:
    """What torch looks for: C for Triton's launchers, C++ for kernels of the CPU."""
    if on_gpu:
        return tuple(filter(None, (os.environ.get("CC"), "gcc", "clang", "cc")))
    return (os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"),)


def _check_fused(config: Config) -> Iterator[Finding]:
    for name in ("generator", "discriminator", "classifier"):
        target = config["optimizer"][name]["_target_"]
        # Other classes are refused elsewhere, or the user's own.
        if not isinstance(target, str) or target not in ALLOWED_OPTIMIZERS:
            continue
        try:
            check_fused(config["trainer"]["fused_optimizers"], import_class(target))
        except Hep2ganError as error:
            yield error
            return
