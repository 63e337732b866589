"""Image and mask files of one folder, found by name."""

import os
from pathlib import Path
from typing import NamedTuple

from hep2gan.data.readers.decoding import SUFFIXES
from hep2gan.data.readers.raw import Problem, cell_id
from hep2gan.errors import Hep2ganError

_MASK = "_mask"


class Folder(NamedTuple):
    """Files of one folder by the id of their cell; `NNNNN_Mask.png` belongs to `NNNNN.png`."""

    path: Path
    images: dict[str, Path]
    masks: dict[str, Path]

    def mask(self, cell: str) -> Path:
        """Return the mask of a cell: the file there is, or the name it should have."""
        return self.masks.get(cell, self.path / f"{cell}_Mask.png")

    def unnamed(self, named: set[str], table: str) -> list[Problem]:
        """Tell the images and masks of cells that the table does not name."""
        files = {**self.masks, **self.images}
        return [
            Problem(
                cell,
                f"{files[cell]} is not named in {table}: every image needs its class."
                f" Fix: add its line to {table}, or move the file away",
            )
            for cell in sorted(files.keys() - named)
        ]


def scan(path: Path) -> Folder:
    """List the image and mask files of a folder, without its subfolders and hidden files.

    Raises Hep2ganError when two files stand for one cell (`1.png` and `00001.png`).
    """
    folder = Folder(path, {}, {})
    with os.scandir(path) as entries:
        names = sorted(e.name for e in entries if e.name[0] != "." and not e.is_dir())
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix
        if suffix.lower() in SUFFIXES:
            is_mask = stem.lower().endswith(_MASK)
            cell = cell_id(stem[: -len(_MASK)] if is_mask else stem)
            _add(folder.masks if is_mask else folder.images, cell, path / name)
    return folder


def _add(files: dict[str, Path], cell: str, path: Path) -> None:
    if cell in files:
        fact = f"{files[cell]} and {path} are both the cell {cell}"
        raise Hep2ganError(fact, "a cell has one image and one mask", "move one of them away")
    files[cell] = path
