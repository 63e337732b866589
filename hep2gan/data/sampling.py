"""Which cells an epoch of training is made of, and in which order."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError

Sampling = Literal["all", "balanced"]
Rows = npt.NDArray[np.int64]


def check_sampling(sampling: str) -> None:
    """Raise Hep2ganError for a sampling that is not known."""
    if sampling not in get_args(Sampling):
        options = " or ".join(get_args(Sampling))
        raise Hep2ganError(f"sampling is {sampling!r}", f"choose {options}")


def shuffled(rows: Rows, rng: np.random.Generator) -> Rows:
    """Every one of (M,) rows once, in random order."""
    return rng.permutation(rows)


def balanced(rows: Rows, label: Rows, rng: np.random.Generator) -> Rows:
    """As many rows as were given, (M,), every class equally often, in random order.

    label: (M,) classes of the rows. The numbers of cells differ by one at most, where M does not
    divide by the classes. A class starts over in a new order when all its cells were used, so that
    none comes twice before all others of its class came once; of large classes some do not come.
    """
    classes = np.unique(label)
    order = rng.permutation(np.resize(rng.permutation(classes), len(rows)))
    chosen = np.empty_like(rows)
    for k in classes:
        places = order == k
        chosen[places] = _in_turns(rows[label == k], int(places.sum()), rng)
    return chosen


def _in_turns(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` of the rows, each once before any comes again."""
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]
