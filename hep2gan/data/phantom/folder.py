"""Folders of drawn cells: told by their marker, replaced whole, never mistaken for real data."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from hep2gan.data.phantom.drawing import DRAWING_VERSION
from hep2gan.errors import Hep2ganError

MARKER = "phantom.json"
_OURS = re.compile(r"\d{5,}(_Mask)?\.png|gt_training\.csv|specimens\.csv|phantom\.json")
_NOT_CELLS = 3  # the two tables and the marker


@dataclass(frozen=True)
class Settings:
    """All that the pixels depend on."""

    count: int
    seed: int
    duplicate_specimen: bool
    spread: float
    drawing_version: int = DRAWING_VERSION


def already_drawn(root: Path, settings: Settings) -> bool:
    """Whether `root` holds exactly these drawn cells, with no file missing."""
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return marker == asdict(settings) and _files(root) == 2 * settings.count + _NOT_CELLS


def _files(root: Path) -> int:
    with os.scandir(root) as entries:
        return sum(1 for _ in entries)


def check_replaceable(root: Path) -> None:
    """Raise Hep2ganError unless `root` is missing, empty, or nothing but drawn cells."""
    if not root.exists():
        return
    if not root.is_dir():
        raise Hep2ganError(
            f"{root} is a file", "drawn cells are written to a folder", "name a new folder"
        )
    names = sorted(entry.name for entry in root.iterdir())
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if names and MARKER not in names:
        foreign = foreign or names
    if foreign:
        raise Hep2ganError(
            f"{root} holds {foreign[0]}, which wasn't drawn",
            "only a folder of nothing but drawn cells is overwritten",
            "name a new folder",
        )


@contextmanager
def replaced(root: Path, settings: Settings) -> Iterator[Path]:
    """Give a new folder beside `root` that takes its place at the end, marked with `settings`.

    On any error or interrupt the new folder goes and `root` stays as it was.
    """
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    folder = _beside(root)
    folder.mkdir()
    try:
        yield folder
        (folder / MARKER).write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")
        _swap(folder, root, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _swap(folder: Path, root: Path, settings: Settings) -> None:
    if already_drawn(root, settings):
        return  # another process was faster
    check_replaceable(root)
    old = _beside(root)
    if root.exists():
        root.rename(old)
    folder.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def _beside(root: Path) -> Path:
    return root.with_name(f".{root.name}.{uuid4().hex[:8]}")
