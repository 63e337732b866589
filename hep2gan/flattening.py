"""Nested configurations as dotted keys."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted key; an empty mapping is a leaf.

    >>> dict(flat({"loss": {"beta": 10.0}, "seed": 0}))
    {'loss.beta': 10.0, 'seed': 0}
    """
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config
