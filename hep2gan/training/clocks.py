"""Time as the device sees it: marks that nothing waits for, and the seconds between them."""

import time
from typing import Any

import torch


def mark(device: torch.device) -> Any:
    """Now, on a GPU as an event among its work: the host may be far ahead of it."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def seconds_between(before: Any, after: Any) -> float:
    """Seconds between two marks, once the device has passed both (see `wait`)."""
    if isinstance(before, float):
        return float(after - before)
    return float(before.elapsed_time(after)) / 1000


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
