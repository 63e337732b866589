"""What Hydra and OmegaConf complain of, in the user's words, with the nearest right key."""

import difflib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any


def explain_error(error: Exception, config_name: str) -> str:
    """One message for a failed composition, naming the nearest key or option where there is one."""
    from hydra.errors import OverrideParseException

    text = str(error).strip().split("\n    full_key")[0]
    # Hydra advises to append any misspelt key, and lists where it searched.
    text = text.split("\nTo append to your config")[0].split("\nConfig search path:")[0].rstrip()
    missing = re.search(r"(?:Missing mandatory value|Mandatory value is missing): (\S+)", text)
    if missing:
        key = missing.group(1).rstrip(".'")
        return f"{key} is not set: it has no default. Fix: add {key}=VALUE to the command."
    hints = []
    # What cannot be parsed at all has no keys, and the error says where it ends.
    with suppress(OverrideParseException):
        hints = [hint for hint in map(_hint, _wrong_keys(config_name)) if hint]
    return "\n".join([text, *hints]) + "\nSee --help for every group and key."


def _hint(wrong: tuple[str, list[str]]) -> str:
    key, near = wrong
    if "=" in key:
        group, _, option = key.partition("=")
        first = f"There is no {group} {option!r}."
        if near:
            first += f" Did you mean {near[0]}?"
        return f"{first} Choose from {', '.join(_groups()[group])}."
    return f"{key!r} is no key here. Did you mean {' or '.join(near)}?" if near else ""


def _wrong_keys(config_name: str) -> Iterator[tuple[str, list[str]]]:
    """Overrides of the command line whose key or option the configuration does not have."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = [a for a in sys.argv[1:] if "=" in a and not a.startswith("-")]
    groups, keys = _groups(), _keys(config_name)
    for override in OverridesParser.create().parse_overrides(words):
        if override.is_add() or override.is_delete() or override.is_hydra_override():
            continue
        key, value = override.key_or_group, override.value()
        if key in groups and isinstance(value, str) and value not in groups[key]:
            near = difflib.get_close_matches(value, groups[key], 1, 0.4)
            yield f"{key}={value}", [f"{key}={option}" for option in near]
        elif key not in groups and key not in keys:
            yield key, nearest_names(key, [*keys, *groups])


def nearest_names(key: str, known: list[str]) -> list[str]:
    """Up to two known dotted keys that look most like `key`, also by their last part alone.

    >>> nearest("batchsize", ["trainer.batch_size", "seed"])
    ['trainer.batch_size']
    """
    whole = difflib.get_close_matches(key, known, 2, 0.75)
    last = {name: name.rpartition(".")[2] for name in known}
    tail = difflib.get_close_matches(key.rpartition(".")[2], list(last.values()), 2, 0.7)
    by_tail = [name for part in tail for name in known if last[name] == part]
    return list(dict.fromkeys(whole + by_tail))[:2]


def _groups() -> dict[str, list[str]]:
    from hep2gan.cli.app import config_folder

    folders = sorted(p for p in config_folder().iterdir() if p.is_dir() and p.name != "hydra")
    return {folder.name: sorted(p.stem for p in folder.glob("*.yaml")) for folder in folders}


def _keys(config_name: str) -> list[str]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from hep2gan.cli.app import config_folder

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return list(_dotted(compose(config_name)))


def _dotted(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if hasattr(node, "items") and not node._is_none() and not node._is_missing():
            yield from _dotted(node, f"{prefix}{key}.")
