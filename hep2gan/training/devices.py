"""Devices by name, and the precision and memory format that suit them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hep2gan.config import Accelerator
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import available_cores
from hep2gan.training.gpu_support import require_kernels, unusable_gpu


def resolve_device(accelerator: Accelerator, key: str = "accelerator") -> torch.device:
    """Choose the device by its kind.

    Args:
        accelerator: "gpu" for the first GPU, "cpu", or "auto" for a GPU where there is one.
        key: The key that it was given by, for errors.

    Returns:
        The device.

    Raises:
        Hep2ganError: There is no GPU that torch can use; says why where it is torch or the driver.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise unusable_gpu() or Hep2ganError(
            f"{key} is gpu, and there is no GPU that torch can use by CUDA or ROCm",
            MPS_DECLINED if has_mps() else "",
            f"set {key}=cpu",
        )
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


MPS_DECLINED = "Apple's GPUs (MPS) are not used, since nothing here was ever tried on them"


def has_mps() -> bool:
    """Whether this is a Mac whose GPU torch could use."""
    return torch.backends.mps.is_available()


def use_threads(threads: int | None) -> None:
    """Set the number of threads for computing on the CPU.

    Args:
        threads: The number; None for what OMP_NUM_THREADS says, or else one per core that this
            process may use.
    """
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), available_cores())
    if threads is not None:
        torch.set_num_threads(threads)


def use_tf32(allowed: bool) -> None:
    """Let GPUs compute float32 products and convolutions in TensorFloat-32, or not.

    Args:
        allowed: Whether they may; no effect on GPUs without that format.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    # Convolutions have a setting of their own, which torch switches on by default.
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute in float32 without TensorFloat-32 in this block, as every evaluation does."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    use_tf32(False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def require_devices(accelerator: Accelerator, count: int) -> str:
    """Check that this machine has the devices that a run needs, and describe them.

    Args:
        accelerator: "gpu", "cpu" or "auto".
        count: Number of devices.

    Returns:
        The description, for the report of the preflight checks.

    Raises:
        Hep2ganError: There are fewer GPUs, or torch has no kernels for one of them.
    """
    gpus = torch.cuda.device_count()
    if resolve_device(accelerator, "trainer.accelerator").type == "cpu":
        return f"{pluralize(count, 'process', 'processes')} on the CPU"
    if gpus < count:
        raise Hep2ganError(
            f"trainer.devices is {count}, this machine has {pluralize(gpus, 'GPU')}",
            "each rank needs one of its own",
            f"set trainer.devices={max(gpus, 1)}, or trainer.accelerator=cpu",
        )
    require_kernels(range(count))
    return f"{count} of {pluralize(gpus, 'GPU')} ({torch.cuda.get_device_name(0)})"


def to_channels_last(networks: Iterable[nn.Module]) -> None:
    """Convert the weights of convolutions to the memory format channels last, in place.

    Args:
        networks: The networks.
    """
    for network in networks:
        network.to(memory_format=torch.channels_last)


@contextmanager
def channels_last_inference(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Keep the weights of `networks` channels last in this block, on the CPU.

    A forward pass takes a third less time so, and its outputs differ in their last bits. On a GPU
    trainer.channels_last decides.

    Args:
        networks: The networks.
        device: The device that they run on.
    """
    kernels = [p for network in networks for p in network.parameters() if p.ndim == 4]
    former = [kernel.data for kernel in kernels]
    try:
        if device.type == "cpu":
            for kernel in kernels:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for kernel, data in zip(kernels, former, strict=True):
            kernel.data = data
