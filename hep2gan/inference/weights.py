"""Weights as safetensors: numbers with names and shapes, and nothing that could run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_write


def write_weights(weights: Mapping[str, Tensor], file: Path) -> None:
    """Write weights as a file of safetensors.

    Args:
        weights: Tensors by name.
        file: The file, replaced if it exists.

    Raises:
        Hep2ganError: A weight is NaN or infinite.
    """
    if name := _nonfinite(weights):
        raise Hep2ganError(
            f"{name} holds numbers that are NaN or infinite",
            "networks that compute nothing are not exported",
            "choose an earlier checkpoint with checkpoint=FILE, or train again with"
            " trainer.nonfinite=skip",
        )
    # Copies: the format has no strides, and no two names of one memory.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    # Not save_file, whose files nobody else may read.
    atomic_write(file, save(copies, metadata={"format": "pt"}))


def read_weights(file: Path, fix: str) -> dict[str, Tensor]:
    """Read a file of safetensors, which its library checks against its header.

    Args:
        file: The file.
        fix: What helps against damage.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        Hep2ganError: It is damaged, no such file, or holds a number that is NaN or infinite.
    """
    try:
        weights = load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise Hep2ganError(
            f"{file} is no whole file of safetensors ({reason})",
            "weights are read from nothing else",
            fix,
        ) from error
    if name := _nonfinite(weights):
        raise Hep2ganError(
            f"{name} in {file} holds numbers that are NaN or infinite",
            "networks with such weights predict nothing",
            fix,
        )
    return weights


def _nonfinite(weights: Mapping[str, Tensor]) -> str | None:
    return next((name for name, each in weights.items() if not torch.isfinite(each).all()), None)
