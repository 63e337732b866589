"""Which device a name stands for."""

import torch

from hep2gan.errors import Hep2ganError


def device(accelerator: str) -> torch.device:
    """The first GPU for 'gpu', the CPU for 'cpu', whichever is there for 'auto'."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise Hep2ganError(f"accelerator is {accelerator!r}", "choose from auto, cpu, gpu")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise Hep2ganError("there is no GPU that torch can use", "", "set accelerator=cpu")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
