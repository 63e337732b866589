"""Errors as commands print them; Hydra's own with the nearest right key or option."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from hep2gan.errors import Hep2ganError, from_os_error
from hep2gan.io import parse_yaml

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Set to 1 in the environment, errors keep their traceback."""


@contextmanager
def readable_errors(config_file: Path) -> Iterator[None]:
    """Print errors that a user can correct and exit with status 2; with 130 after Ctrl-C.

    Other errors pass through, and all do where HYDRA_FULL_ERROR is 1.

    Args:
        config_file: The configuration of the command, whose keys and groups are suggested.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get(FULL_ERROR) == "1":
            raise
        explained = to_readable(error, config_file)
        if explained is None:
            raise
        exit_with_error(explained)


def to_readable(error: Exception, config_file: Path) -> Hep2ganError | None:
    """Turn an error that a user can correct into one that says how.

    Args:
        error: Any error of a command.
        config_file: The configuration of the command, whose keys and groups are suggested.

    Returns:
        The error to show; None for one that is no user's mistake.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, HydraException | OmegaConfBaseException):
        return Hep2ganError(explain_error(error, config_file) + "\n")
    return error if isinstance(error, Hep2ganError) else from_os_error(error)


def exit_with_error(error: object, status: int = 2) -> NoReturn:
    """Print an error without a traceback and end the process.

    Args:
        error: The error or its text.
        status: Exit status of the process.
    """
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.exit(status)


def explain_error(error: Exception, config_file: Path) -> str:
    """Explain a failed composition, with the nearest key or option if there is one.

    Args:
        error: An error of Hydra or OmegaConf.
        config_file: The configuration of the command, whose keys and groups are suggested.

    Returns:
        The message for the user, of one line or more.
    """
    from hydra.errors import OverrideParseException

    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return (
            f"{error.override} cannot be read as KEY=VALUE ({str(error).strip().splitlines()[0]})."
            f""" Fix: for a text, quote the value twice: {key}='"{value}"'."""
        )
    text = str(error).strip().split("\n    full_key")[0]
    # Hydra advises to append any misspelt key, and lists where it searched.
    text = text.split("\nTo append to your ")[0].split("\nConfig search path:")[0].rstrip()
    missing = re.search(r"(?:Missing mandatory value|Mandatory value is missing): (\S+)", text)
    if missing:
        key = missing.group(1).rstrip(".'")
        return f"{key} is not set: it has no default. Fix: add {key}=VALUE to the command."
    hints: list[str] = []
    # What cannot be parsed at all has no keys, and the error says where it ends.
    with suppress(OverrideParseException):
        hints.extend(_hints(config_file))
    if any("Choose from" in hint for hint in hints):  # Hydra lists the options too, a line each.
        text = text.split("\n\nAvailable options in")[0]
    return (
        "\n".join([text, *hints])
        + f"\nSee hep2gan-{config_file.stem} --help for every group and key."
    )


def _hints(config_file: Path) -> Iterator[str]:
    """A hint for each override of the command line whose key or option does not exist."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    groups, keys = options_by_group(config_file.parent), _keys(config_file)
    defaults = parse_yaml(config_file.read_text())["defaults"]
    taken = {group for entry in defaults if isinstance(entry, dict) for group in entry}
    for override in OverridesParser.create().parse_overrides(words):
        if override.is_add() or override.is_delete() or override.is_hydra_override():
            continue
        key, value = override.key_or_group, override.value()
        if key in groups and isinstance(value, str) and value not in groups[key]:
            near = difflib.get_close_matches(value, groups[key], 1, 0.4)
            suggestion = f" Did you mean {key}={near[0]}?" if near else ""
            yield f"There is no {key} {value!r}.{suggestion} Choose from {', '.join(groups[key])}."
        elif key in groups and key.partition("/")[0] not in taken:
            option = parse_yaml((config_file.parent / key / f"{value}.yaml").read_text())
            cells = [f"data.{name}={each}" for name, each in (option.get("data") or {}).items()]
            instead = f"write {' '.join(cells)} instead" if cells else "leave it out"
            yield f"{key} is a group of hep2gan-train. Fix: {instead}."
        elif key not in {*groups, *keys} and (names := nearest_names(key, [*keys, *groups])):
            yield f"{key!r} is no key here. Did you mean {' or '.join(names)}?"


def nearest_names(key: str, names: list[str]) -> list[str]:
    """Find up to two dotted names that are most similar to `key`, also by their last part alone.

    Args:
        key: The dotted key as the user wrote it.
        names: The dotted names that exist.

    Returns:
        The most similar name first; empty if none is similar.

    >>> nearest_names("batchsize", ["trainer.batch_size", "seed"])
    ['trainer.batch_size']
    """
    whole = difflib.get_close_matches(key, names, 2, 0.75)
    last = {name: name.rpartition(".")[2] for name in names}
    by_last_part = [
        name
        for part in difflib.get_close_matches(key.rpartition(".")[2], list(last.values()), 2, 0.7)
        for name in names
        if last[name] == part
    ]
    return list(dict.fromkeys(whole + by_last_part))[:2]


def options_by_group(folder: Path) -> dict[str, list[str]]:
    """List the options of each group of a folder of configurations; Hydra's own are left out.

    Args:
        folder: The folder of the YAML files.

    Returns:
        Names of options by group.
    """
    groups: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*/**/*.yaml")):
        group = file.parent.relative_to(folder).as_posix()
        # Files that begin with _ are what others have in common.
        if group.partition("/")[0] != "hydra" and not file.stem.startswith("_"):
            groups.setdefault(group, []).append(file.stem)
    return groups


def _keys(config_file: Path) -> list[str]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_file.parent), version_base="1.3"):
        return list(_dotted_keys(compose(config_file.stem)))


def _dotted_keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key in config:
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if hasattr(node, "items") and not node._is_none() and not node._is_missing():
            yield from _dotted_keys(node, f"{prefix}{key}.")
