"""What torch's releases from 2.6 on do differently, each once, with its version beside it.

Told by what a function takes where that says it, since builds of NVIDIA and nightly ones call
themselves by the release that comes next; else by the version.
"""

import inspect
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_SETTLED = 0.5
"""Seconds in which gloo's threads have given back the tensors of the last collective."""


def _takes(function: Callable[..., Any], option: str) -> bool:
    return option in inspect.signature(function).parameters


# ---------------------------------------------------------------------- starting and ending ranks


def launch_options(signals: Collection[signal.Signals], seconds: int) -> dict[str, Any]:
    """Options of torch's LaunchConfig for what stops its ranks; with them, use `stopping_ranks`.

    Args:
        signals: The signals that stop the ranks.
        seconds: Time that ranks have to save before they are killed.

    Returns:
        `signals_to_handle`, since 2.10, and `shutdown_timeout`, since 2.12; before them nothing.
    """
    from torch.distributed.launcher.api import LaunchConfig

    names = ",".join(number.name for number in signals)
    options = {"signals_to_handle": names, "shutdown_timeout": seconds}
    return {name: value for name, value in options.items() if _takes(LaunchConfig, name)}


@contextmanager
def stopping_ranks(signals: Collection[signal.Signals], seconds: int) -> Iterator[None]:
    """Do what `launch_options` could not say, while torch's launcher runs in this block.

    Args:
        signals: The signals. Before 2.10 the launcher knows SIGTERM, SIGINT, SIGHUP and SIGQUIT
            alone, not those of Slurm: its exception is raised here. The caller puts handlers back.
        seconds: The time. Before 2.12 the launcher gives ranks 30 seconds.
    """
    options = launch_options(signals, seconds)
    if "signals_to_handle" not in options:
        for number in signals:
            signal.signal(number, _raise_as_torch_does)
    with nullcontext() if "shutdown_timeout" in options else _closing_within(seconds):
        yield


def shutdown_seconds(default: int) -> int:
    """Seconds that ranks may take to save: TORCH_ELASTIC_SHUTDOWN_TIMEOUT where the user set it.

    Args:
        default: Without it.

    Returns:
        The time in seconds.
    """
    return int(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", default))


def _raise_as_torch_does(number: int, _: FrameType | None) -> None:
    from torch.distributed.elastic.multiprocessing import SignalException

    name = signal.Signals(number)
    raise SignalException(f"the launcher got {name.name}", sigval=name)


@contextmanager
def _closing_within(seconds: int) -> Iterator[None]:
    """Give ranks `seconds` to end in this block, whatever the launcher says."""
    from torch.distributed.elastic.multiprocessing.api import PContext

    close = PContext.close

    def close_later(self: PContext, death_sig: signal.Signals | None = None, *_: int) -> None:
        close(self, death_sig, seconds)

    PContext.close = close_later  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        PContext.close = close  # type: ignore[method-assign]


def let_gloo_settle() -> None:
    """Wait a moment before gloo's group is destroyed; to be called after the last collective.

    Before 2.8 torch keeps Python's lock while it ends gloo's threads, and waits for ever where one
    of them is just giving a tensor back, for which it needs that lock (pytorch pull 154976).
    """
    if torch.__version__ < "2.8":
        time.sleep(_SETTLED)


# ---------------------------------------------------------------------- networks


def compile_each(networks: Collection[nn.Module], **options: Any) -> None:
    """Compile networks in place, each with as many graphs as torch keeps of one function, eight.

    All start in the same function of nn.Module: without `isolate_recompiles`, which came in 2.13,
    they share its graphs, and the limit is raised for all.

    Args:
        networks: The networks.
        **options: Those of torch.compile.
    """
    if _takes(torch.compile, "isolate_recompiles"):
        options["isolate_recompiles"] = True
    else:
        _keep_graphs(8 * len(networks))
    for network in networks:
        network.compile(**options)


def _keep_graphs(count: int) -> None:
    from torch._dynamo import config

    # Renamed in 2.7.
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, name, max(count, getattr(config, name)))


def wrap_in_ddp(network: nn.Module, **options: Any) -> DistributedDataParallel:
    """Wrap a network whose buffers are sent once, at the start, and not before each forward.

    Args:
        network: The network.
        **options: Those of DistributedDataParallel.

    Returns:
        The wrapped network.
    """
    # Since 2.13; before it broadcast_buffers, which left out the start too.
    if _takes(DistributedDataParallel, "forward_sync_buffers"):
        return DistributedDataParallel(network, **{"forward_sync_buffers": False} | options)
    sync = options.pop("forward_sync_buffers", options.pop("broadcast_buffers", False))
    wrapped = DistributedDataParallel(network, **options)
    wrapped.broadcast_buffers = bool(sync)
    return wrapped


# ---------------------------------------------------------------------- export


def onnx_options() -> dict[str, Any]:
    """Options of torch.onnx.export, by its exporter with dynamo.

    Returns:
        Before 2.7 an opset that its converter passes over, and writes 18: it cannot convert
        networks that call functions. Since then nothing.
    """
    return {"opset_version": 17} if torch.__version__ < "2.7" else {}


def infers_onnx_shapes() -> bool:
    """Tell whether ONNX's shape inference is right about graphs of this torch.

    Returns:
        False before 2.8: its exporter writes unused outputs of batch normalisation without
        elements, which the inference takes for an error.
    """
    return torch.__version__ >= "2.8"


def batch_dimension() -> Any:
    """Any number of images, for torch.export.

    Returns:
        The dimension. Before 2.7 one without a bound clashes with a guard on the largest integer,
        and the exporter falls back to the example's number.
    """
    bound = {"max": 2**31} if torch.__version__ < "2.7" else {}
    return torch.export.Dim("batch", **bound)
