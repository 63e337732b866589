"""Devices by name, and the precision and memory format that suit them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from hep2gan.config import Accelerator, ProcessGroupBackend, TrainerSettings
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


def require_devices(settings: TrainerSettings) -> str:
    """Check that this machine has the devices that a run needs, and describe them.

    Args:
        settings: The group `trainer` of the configuration.

    Returns:
        The description, for the report of the preflight checks.

    Raises:
        Hep2ganError: There are fewer GPUs than ranks, torch has no kernels for one of them, or the
            ranks cannot talk to each other so.
    """
    count, gpus = settings.devices, torch.cuda.device_count()
    on_cpu = resolve_device(settings.accelerator, "trainer.accelerator").type == "cpu"
    backend = choose_process_group_backend(settings)
    if on_cpu:
        return f"{pluralize(count, 'process', 'processes')} on the CPU"
    name = torch.cuda.get_device_name(0)
    require_kernels(range(min(count, gpus)))
    if gpus < count and settings.share_device:
        return f"{count} ranks share {pluralize(gpus, 'GPU')} ({name}), by {backend}"
    if gpus < count:
        raise Hep2ganError(
            f"trainer.devices is {count}, this machine has {pluralize(gpus, 'GPU')}",
            "each rank needs one of its own",
            f"set trainer.devices={max(gpus, 1)}, or trainer.accelerator=cpu; to try several ranks"
            " on one card, trainer.share_device=true",
        )
    return f"{count} of {pluralize(gpus, 'GPU')} ({name})"


def choose_process_group_backend(settings: TrainerSettings) -> ProcessGroupBackend:
    """Choose what sends gradients between ranks: NCCL for GPUs of their own, otherwise gloo.

    Args:
        settings: The group `trainer` of the configuration.

    Returns:
        The backend, as torch.distributed names it.

    Raises:
        Hep2ganError: NCCL was asked for, where it cannot work.
    """
    on_cpu = resolve_device(settings.accelerator, "trainer.accelerator").type == "cpu"
    chosen = settings.process_group_backend
    if chosen == "nccl" and on_cpu:
        raise Hep2ganError(
            "trainer.process_group_backend is nccl on the CPU",
            "NCCL sends between GPUs alone",
            "set trainer.process_group_backend=null, which takes gloo there",
        )
    if chosen == "nccl" and settings.share_device:
        raise Hep2ganError(
            "trainer.share_device is true with trainer.process_group_backend=nccl",
            "NCCL refuses two ranks on one GPU",
            "set trainer.process_group_backend=gloo, or trainer.share_device=false",
        )
    return chosen or ("gloo" if on_cpu or settings.share_device else "nccl")


def device_of_rank(local_rank: int, gpus: int, share: bool) -> torch.device | None:
    """Choose the GPU of a rank: that of its number, or, where they share, modulo the GPUs.

    Args:
        local_rank: Number of the rank on its machine.
        gpus: GPUs of the machine.
        share: Whether ranks may share a GPU.

    Returns:
        The GPU; None where there is none left for this rank.
    """
    if gpus and (share or local_rank < gpus):
        return torch.device("cuda", local_rank % gpus)
    return None


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
