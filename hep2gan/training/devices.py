"""Which device a name stands for, and what suits it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hep2gan.errors import Hep2ganError, pluralize


def resolve_device(accelerator: str) -> torch.device:
    """The first GPU for 'gpu', the CPU for 'cpu', whichever is there for 'auto'."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise Hep2ganError(f"accelerator is {accelerator!r}", "choose from auto, cpu, gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise Hep2ganError("there is no GPU that torch can use", "", "set accelerator=cpu")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def use_tf32(allowed: bool) -> None:
    """Let GPUs that have it compute float32 products and convolutions in TensorFloat-32, or not."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    # Convolutions have a setting of their own, which torch switches on by default.
    torch.backends.cudnn.allow_tf32 = allowed


def require_devices(accelerator: str, wanted: int) -> str:
    """Say what `wanted` devices of this machine are; Hep2ganError where there are fewer GPUs."""
    gpus = torch.cuda.device_count()
    if resolve_device(accelerator).type == "cpu":
        return f"{wanted} {'process' if wanted == 1 else 'processes'} on the CPU"
    if gpus < wanted:
        raise Hep2ganError(
            f"trainer.devices is {wanted}, this machine has {pluralize(gpus, 'GPU')}",
            "each rank needs one of its own",
            f"set trainer.devices={max(gpus, 1)}, or trainer.accelerator=cpu",
        )
    return f"{wanted} of {pluralize(gpus, 'GPU')} ({torch.cuda.get_device_name(0)})"


def to_channels_last(networks: Iterable[nn.Module]) -> None:
    """Lay the weights of convolutions channels last, for good."""
    for network in networks:
        network.to(memory_format=torch.channels_last)


@contextmanager
def channels_last_inference(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Networks whose weights lie channels last on the CPU, and as they were afterwards.

    A forward takes a third less time so, and its outputs differ in their last bits. On a GPU that
    is left to trainer.channels_last.
    """
    kernels = [p for network in networks for p in network.parameters() if p.ndim == 4]
    as_they_were = [kernel.data for kernel in kernels]
    try:
        if device.type == "cpu":
            for kernel in kernels:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for kernel, data in zip(kernels, as_they_were, strict=True):
            kernel.data = data
