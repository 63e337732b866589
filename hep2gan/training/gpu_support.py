"""Whether the installed torch fits the GPU and its driver, and which torch does.

A wheel of torch has kernels for some generations of NVIDIA's GPUs, and needs a driver as new as the
CUDA that it was built with. Otherwise torch dies at its first kernel, or finds no GPU at all.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from hep2gan.errors import Hep2ganError

DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""Where NVIDIA's driver says its version, on Linux."""
OLDEST, EARLIER = (5, 0), (7, 5)
"""Compute capabilities that PyPI's wheels of torch begin at: those of 2.6, those of 2.14."""
DRIVERS = {12: 525, 13: 580}
"""The first driver for each CUDA; one that is newer than its driver runs by minor versions only.
Source: NVIDIA, CUDA Compatibility, table of minor version compatibility."""
INSTALL_2_6 = 'pip install "torch==2.6.*" "torchvision==0.21.*"'
"""For CUDA 12.4, with kernels from sm_50 to sm_90; what `torch.cuda.get_arch_list` says."""
INSTALL_NEWEST = 'pip install --upgrade "torch>=2.14" "torchvision>=0.29"'
"""For CUDA 13.0, from sm_75 to sm_120."""


class TorchBuild(NamedTuple):
    """What the installed torch was built for.

    Attributes:
        version: Its version, such as "2.14.1+cu130".
        cuda: The version of CUDA, such as "13.0"; None for builds without.
        kernels: What it has kernels for, such as ("sm_75", "sm_80", "compute_90").
    """

    version: str
    cuda: str | None
    kernels: tuple[str, ...]

    @classmethod
    def installed(cls) -> "TorchBuild":
        """Describe the torch of this process."""
        return cls(torch.__version__, torch.version.cuda, tuple(torch.cuda.get_arch_list()))


def has_kernels(capability: tuple[int, int], kernels: Iterable[str]) -> bool:
    """Tell whether a GPU can run kernels of a build.

    Args:
        capability: The GPU's compute capability, such as (6, 1).
        kernels: What the build has: machine code ("sm_60") runs on its own generation from this
            minor version on, "sm_90a" on this GPU alone; code that the driver translates
            ("compute_60") runs on this GPU and all newer ones.

    Returns:
        Whether one of them runs.
    """
    for kind, major, minor, exact in re.findall(
        r"\b(sm|compute)_(\d+)(\d)([a-z]?)", " ".join(kernels)
    ):
        built_for = int(major), int(minor)
        if exact == "a":
            runs = capability == built_for
        elif kind == "compute":
            runs = capability >= built_for
        else:
            runs = capability[0] == built_for[0] and capability >= built_for
        if runs:
            return True
    return False


def kernels_problem(
    gpu: str, capability: tuple[int, int], build: TorchBuild
) -> Hep2ganError | None:
    """Find out why torch's first kernel on a GPU would fail.

    Args:
        gpu: Name of the GPU.
        capability: Its compute capability.
        build: The installed torch.

    Returns:
        The error that names a torch for this GPU; None where this one is.
    """
    if build.cuda is None or not build.kernels or has_kernels(capability, build.kernels):
        return None
    if capability < OLDEST:
        fix = "set accelerator=cpu, in a training trainer.accelerator=cpu"
    elif capability < EARLIER:
        fix = f"install a torch that has them: {INSTALL_2_6}"
    else:
        fix = f"install a torch that has them: {INSTALL_NEWEST}"
    return Hep2ganError(
        f"torch {build.version} has no kernels for the {gpu} (sm_{capability[0]}{capability[1]})",
        f"it was built for {', '.join(build.kernels)}",
        fix,
    )


def driver_problem(found: str, driver: str, build: TorchBuild) -> Hep2ganError | None:
    """Find out why torch sees no GPU on a machine with NVIDIA's driver.

    Args:
        found: What torch says when it is asked for a GPU.
        driver: Version of the driver, such as "535.104.05"; empty where there is none.
        build: The installed torch.

    Returns:
        The error; None where there is no driver, or it is none of these reasons.
    """
    if build.cuda is None:
        if not driver or torch.version.hip:
            return None
        return Hep2ganError(
            f"torch {build.version} is built without CUDA, on a machine with NVIDIA's driver"
            f" {driver}",
            "it cannot use a GPU",
            "install torch with CUDA: make setup TORCH=locked, or pip install --force-reinstall"
            " torch torchvision",
        )
    told = re.search(r"driver on your system is too old \(found version (\d+)\)", found)
    if not told:
        return None
    needed = int(build.cuda.partition(".")[0])
    # 12020 is CUDA 12.2.
    major, minor = int(told[1]) // 1000, int(told[1]) % 1000 // 10
    older = f", or install a torch for this one: {INSTALL_2_6}" if major == 12 < needed else ""
    release = f"R{DRIVERS[needed]} or newer" if needed in DRIVERS else "a newer one"
    return Hep2ganError(
        f"NVIDIA's driver{f' {driver}' if driver else ''} is for CUDA {major}.{minor}, and torch"
        f" {build.version} for CUDA {build.cuda}",
        "the driver must know the CUDA that torch was built with",
        f"update the driver to {release}{older}",
    )


def require_kernels(gpus: Sequence[int]) -> None:
    """Check that torch has kernels for GPUs of this machine, before anything is started.

    Args:
        gpus: Their numbers.

    Raises:
        Hep2ganError: It has none for one of them; says which torch has.
    """
    build = TorchBuild.installed()
    for gpu in gpus:
        capability = torch.cuda.get_device_capability(gpu)
        name = torch.cuda.get_device_name(gpu)
        if problem := kernels_problem(name, capability, build):
            raise problem


def unusable_gpu() -> Hep2ganError | None:
    """Find out why torch sees no GPU, where NVIDIA's driver says that there is one.

    Returns:
        The reason; None where torch sees one, or there is no driver.
    """
    if torch.cuda.is_available():
        return None
    return driver_problem(_why_no_gpu(), _driver(), TorchBuild.installed())


def _why_no_gpu() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return ""


def _driver() -> str:
    try:
        told = re.search(r"Module\s.*?(\d+\.\d[\d.]*)", DRIVER_FILE.read_text(errors="replace"))
    except OSError:
        return ""
    return told[1] if told else ""
