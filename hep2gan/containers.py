"""Plain containers from JSON and YAML files that anybody may have written."""

import json
import stat
from pathlib import Path
from typing import Any

import yaml

MAX_JSON = 16 * 1024 * 1024
"""Bytes of a JSON file. The largest of ours, a store's manifest, has some kilobytes."""
MAX_YAML = 64 * 1024
"""Bytes of a configuration; a run's has some 5,000. PyYAML reads some 100 kB a second."""
MAX_DEPTH = 32
"""Levels of a configuration; ours have four."""


def limited_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most `most` bytes. Raises ValueError, saying why, else."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is no ordinary file")
        if status.st_size > most:
            raise ValueError(f"{path.name} has {status.st_size:,} bytes, at most {most:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def json_object(path: Path) -> dict[str, Any]:
    """Read one JSON object. Raises ValueError, saying why, for whatever else the file holds."""
    content = limited_bytes(path, MAX_JSON)
    try:
        found = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no names and values")
    return found


def yaml_text(path: Path) -> str:
    """The text of a configuration that is safe to parse, with whichever YAML loader.

    Refused are tags, which name Python's types; anchors and aliases, by which a few lines stand for
    gigabytes; interpolations, which read the environment; and endless nesting. A run's own
    configuration is resolved and has none of them. Raises ValueError, saying why.
    """
    try:
        text = limited_bytes(path, MAX_YAML).decode("utf-8")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if reason := _refused(event, depth):
                raise ValueError(f"{path.name}, line {event.start_mark.line + 1}: {reason}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is damaged ({' '.join(str(error).split())})") from error
    return text


def _refused(event: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep"
    if getattr(event, "anchor", None):
        return f"an anchor or alias '{event.anchor}'"
    if getattr(event, "tag", None):
        return f"a type of its own, '{event.tag}'"
    if "${" in getattr(event, "value", ""):
        return f"an interpolation, '{event.value[:60]}'"
    return ""
