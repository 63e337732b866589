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


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each dotted key whose value differs, with a sentence that says how.

    >>> list(differences({"seed": 0}, {"seed": 1}))
    [('seed', 'seed: 0 there, 1 here')]
    """
    before, after = dict(flat(old)), dict(flat(new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, f"{key}: {before.get(key, 'absent')} there, {after.get(key, 'absent')} here"
