"""Devices by name, and the precision and memory format that suit them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import available_cores


def resolve_device(accelerator: str, key: str = "accelerator") -> torch.device:
    """Return the first GPU for 'gpu', the CPU for 'cpu', and the GPU if there is one for 'auto'.

    Args:
        accelerator: auto, cpu or gpu.
        key: The key that it was given by, for errors.

    Raises:
        Hep2ganError: It is none of these, or there is no such GPU.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise Hep2ganError(f"{key} is {accelerator!r}", "choose from auto, cpu, gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise Hep2ganError(
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
    """Compute with so many threads on the CPU.

    Args:
        threads: Their number; None for what OMP_NUM_THREADS says, or else one a core that this
            process may use.
    """
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), available_cores())
    if threads is not None:
        torch.set_num_threads(threads)


def use_tf32(allowed: bool) -> None:
    """Let GPUs that have it compute float32 products and convolutions in TensorFloat-32, or not."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    # Convolutions have a setting of their own, which torch switches on by default.
    torch.backends.cudnn.allow_tf32 = allowed


def require_devices(accelerator: str, count: int) -> str:
    """Describe `count` devices of this machine; raises Hep2ganError where there are fewer GPUs."""
    gpus = torch.cuda.device_count()
    if resolve_device(accelerator, "trainer.accelerator").type == "cpu":
        return f"{pluralize(count, 'process', 'processes')} on the CPU"
    if gpus < count:
        raise Hep2ganError(
            f"trainer.devices is {count}, this machine has {pluralize(gpus, 'GPU')}",
            "each rank needs one of its own",
            f"set trainer.devices={max(gpus, 1)}, or trainer.accelerator=cpu",
        )
    return f"{count} of {pluralize(gpus, 'GPU')} ({torch.cuda.get_device_name(0)})"


def to_channels_last(networks: Iterable[nn.Module]) -> None:
    """Convert the weights of convolutions to channels last, in place."""
    for network in networks:
        network.to(memory_format=torch.channels_last)


@contextmanager
def channels_last_inference(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Keep the weights of `networks` channels last in this block, on the CPU.

    A forward takes a third less time so, and its outputs differ in their last bits. On a GPU that
    is left to trainer.channels_last.
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
