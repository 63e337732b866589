"""What `trainer.compile` may be."""

from typing import Any, Literal, get_args

Graphs = Literal["reduce-overhead", "max-autotune"]
Mode = bool | Graphs
MODES: tuple[Mode, ...] = (False, True, *get_args(Graphs))


def records_graphs(mode: Any) -> bool:
    """Whether a mode of torch.compile records CUDA graphs and replays them."""
    return mode in get_args(Graphs)
