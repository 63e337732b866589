"""A run's configuration in few words, and what differs between runs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hep2gan.runs.flattening import flat

_PLACES = ("run_dir", "runs", "stores", "hydra.", "logger.", "data.root", "data.store")
_UNUSED = {"segment": ("generator", "discriminator"), "classify": ("classifier",)}
_GROUPS = (
    ("Cells", "data", ("name", "count", "size")),
    ("Split", "split", ()),
    ("Normalisation", "normalisation", ()),
    ("Augmentation", "augmentation", ()),
    ("Generator", "generator", ()),
    ("Discriminator", "discriminator", ()),
    ("Classifier", "classifier", ()),
    ("Guidance", "guidance", ()),
    ("Losses", "loss", ()),
    ("Optimizers", "optimizer", ()),
    ("Training", "trainer", ("max_epochs", "batch_size", "precision", "accelerator", "devices")),
)


class Difference(NamedTuple):
    """A key that runs do not agree on: each value in words, and the numbers of its runs."""

    key: str
    values: list[tuple[str, list[int]]]


def highlights(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, one line a part; parts that did not take part are left out."""
    off = {part for key, parts in _UNUSED.items() if config.get(key) is False for part in parts}
    lines = []
    for title, group, keys in _GROUPS:
        value = config.get(group)
        if value is None or group in off:
            continue
        if keys and isinstance(value, Mapping):
            value = {key: value[key] for key in keys if key in value}
        if words := brief(value):
            lines.append((title, words))
    return lines


def brief(value: Any, depth: int = 0) -> str:
    """Put a part of the configuration in one line: a name, and its settings in brackets.

    >>> brief({"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": None})
    'SGD (lr 0.1)'
    """
    if isinstance(value, Mapping):
        head = next((str(value[k]) for k in ("_target_", "name", "kind") if value.get(k)), "")
        names = ("_target_", "_partial_", "name", "kind")
        told = {k: brief(v, depth + 1) for k, v in value.items() if k not in names}
        inner = ", ".join(f"{spoken(key)} {words}" for key, words in told.items() if words)
        head = head.rpartition(".")[2]
        if head and inner:
            return f"{head} ({inner})"
        return head or (f"({inner})" if depth and inner else inner)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(brief(member) or "–" for member in value) + "]"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)


def spoken(key: object) -> str:
    """Turn a key into words."""
    return str(key).replace("_", " ")


def differences(configs: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return the keys whose values differ between runs; where things lie does not count."""
    every = [dict(flat(config)) for config in configs]
    keys = dict.fromkeys(key for one in every for key in one)
    found = []
    for key in keys:
        if key.startswith(_PLACES):
            continue
        values: dict[str, list[int]] = {}
        for number, one in enumerate(every):
            values.setdefault(_words(one, key), []).append(number)
        if len(values) > 1:
            found.append(Difference(key, list(values.items())))
    return found


def _words(flat: Mapping[str, Any], key: str) -> str:
    if key not in flat:
        return "absent"
    return "null" if flat[key] is None else brief(flat[key]) or "empty"
