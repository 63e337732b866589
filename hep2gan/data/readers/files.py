"""Which files of a folder are images of cells: one rule for the readers and for predictions."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hep2gan.data.readers.image import SUFFIXES
from hep2gan.errors import pluralize

RESULT_FOLDERS = ("masks", "overlays")
"""Folders of what a prediction writes beside its table."""
_MASK = re.compile(r"[\W_]?(?<![^\W\d_])masks?(?![^\W\d_])[\W_]?", re.IGNORECASE)
"""The word, not a part of one such as CellMask, with what separates it from the image's name."""
_MASK_ENDING = re.compile(r"[\W_](m|seg|gt|labels?)$", re.IGNORECASE)
"""Of a mask only beside the image without it: 3_m.png beside 3.png."""
_SYSTEM = ("__macosx", "@eadir", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini")
_NO_IMAGES = {
    ".csv", ".tsv", ".txt", ".md", ".rtf", ".doc", ".docx", ".xls", ".xlsx", ".ods", ".pdf",
    ".json", ".yaml", ".yml", ".xml", ".html", ".log", ".py", ".ipynb", ".sha256", ".md5",
}  # fmt: skip
"""Tables and texts, which nobody takes for images that were forgotten."""


class FolderFiles(NamedTuple):
    """Files of one folder, sorted by name; hidden ones and those of a system are left out.

    Attributes:
        path: The folder.
        images: Image files that are no masks.
        masks: Masks, each with the stem of its image.
        others: Files of other kinds, except tables and texts.
        folders: Subfolders.
    """

    path: Path
    images: list[Path]
    masks: dict[Path, str]
    others: list[Path]
    folders: list[Path]


def list_files(folder: Path) -> FolderFiles:
    """List the files of one folder by what they are.

    Args:
        folder: The folder.

    Returns:
        Its files and subfolders.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        visible = sorted((e.name, _is_folder(e)) for e in entries if not is_hidden(e.name))
    folders = [folder / name for name, is_folder in visible if is_folder]
    files = [folder / name for name, is_folder in visible if not is_folder]
    images, masks = split_masks([path for path in files if path.suffix.lower() in SUFFIXES])
    others = [path for path in files if path.suffix.lower() not in {*SUFFIXES, *_NO_IMAGES}]
    return FolderFiles(folder, images, masks, others, folders)


def split_masks(files: Iterable[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Tell masks from images by their names: `1_Mask.png`, `mask-1.tif`, `1_m.png` beside `1.png`.

    Args:
        files: Image files and masks.

    Returns:
        The images, and the masks with the stem of the image that each belongs to.
    """
    files = list(files)
    stems = {path.stem for path in files}
    masks = {path: stem for path in files if (stem := _masked_stem(path.stem, stems)) is not None}
    return [path for path in files if path not in masks], masks


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # A link to nothing, or to itself, is a file: whoever reads it says so.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_dir())


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is hidden, or a system's own.

    Args:
        name: Its name, such as `.ipynb_checkpoints`, `._1.png` or `Thumbs.db`.

    Returns:
        Whether it is left out without a word.
    """
    return name.startswith(".") or name.casefold() in _SYSTEM


def _masked_stem(stem: str, stems: set[str]) -> str | None:
    """Return the stem of the image that a file is the mask of; None if it is no mask."""
    if (without := _MASK_ENDING.sub("", stem)) != stem and without in stems:
        return without
    return _MASK.sub("", stem, count=1) if _MASK.search(stem) else None


def walk_files(folder: Path, without: Path | None = None) -> Iterator[FolderFiles]:
    """List a folder and all below it, each once even where links lead to it again.

    All that lies in folders called masks, labels or overlays counts as masks.

    Args:
        folder: The folder.
        without: A folder that is left out.

    Yields:
        The files of each folder.

    Raises:
        OSError: A folder cannot be read.
    """
    seen = {os.path.realpath(without)} if without else set()
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if (real := os.path.realpath(path)) in seen:
            continue
        seen.add(real)
        files = list_files(path)
        inside = {part.casefold() for part in path.relative_to(folder).parts}
        if not inside.isdisjoint(("mask", "label", "labels", *RESULT_FOLDERS)):
            masks = files.masks | {image: image.stem for image in files.images}
            files = files._replace(images=[], masks=masks)
        yield files
        waiting += files.folders


def describe_others(others: Iterable[Path]) -> str:
    """Describe files of kinds that are not read.

    Args:
        others: The files.

    Returns:
        Their number and suffixes, or '' if there are none.

    Examples:
        >>> describe_others([Path("a.gif"), Path("b.GIF"), Path("c.czi")])
        '3 files of kinds that are not read (.czi, .gif; PNG, TIFF, BMP and JPEG are)'
    """
    kinds = Counter(path.suffix.lower() or "without suffix" for path in others)
    files = f"{pluralize(kinds.total(), 'file')} of kinds that are not read"
    return f"{files} ({', '.join(sorted(kinds))}; PNG, TIFF, BMP and JPEG are)" if kinds else ""


class FileFinder:
    r"""Finds the files that a table names, as Windows and macOS would.

    A name that no file has as it stands is looked up with / for \ and without regard to case and
    to the Unicode form of its letters.

    Args:
        folder: The folder that the names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = cache(_names_by_spelling)

    def find(self, name: str) -> Path:
        r"""Find one file.

        Args:
            name: The path as it is written in the table.

        Returns:
            The file; if there is none, or there are several, the path as written, with / for \.
        """
        if names_a_file(exact := self._folder / name):
            return exact
        path = self._folder
        for part in PurePosixPath(name.replace("\\", "/")).parts:
            found = self._names(path).get(plain_name(part), [])
            path = path / (found[0] if len(found) == 1 else part)
        return path


def _names_by_spelling(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    # isdir, unlike Path, says no to a name that is too long for the file system.
    for path in folder.iterdir() if os.path.isdir(folder) else ():  # noqa: PTH112
        names.setdefault(plain_name(path.name), []).append(path.name)
    return names


def names_a_file(path: Path) -> bool:
    """Tell whether something exists at a path that a table names.

    Args:
        path: Any path; `Path.exists` raises OSError for a name that is too long.
    """
    return os.path.exists(path)  # noqa: PTH110


def plain_name(name: str) -> str:
    """Return a name in a form in which spellings of one name are equal.

    Args:
        name: Any name.

    Returns:
        The name in Unicode's composed form, in lower case.
    """
    return unicodedata.normalize("NFC", name).casefold()
