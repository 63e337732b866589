"""Folders of synthetic data: written complete or not at all, and only if they are not there yet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_folder, check_replaceable, file_lock

MARKER = "phantom.json"
"""File that distinguishes synthetic cells and fields from real ones."""


class SyntheticFolder(NamedTuple):
    """What a folder of synthetic data holds.

    Attributes:
        marker: Content of its marker: all that its content depends on.
        files: Number of its files, the marker among them.
        is_own: Tells whether a file of this name belongs to such a folder: true, or a match.
        kind: What such a folder is, for messages: "a folder of synthetic cells".
        need: What it needs, for messages.
    """

    marker: dict[str, Any]
    files: int
    is_own: Callable[[str], object]
    kind: str
    need: str

    def is_at(self, root: Path) -> bool:
        """Tell whether a folder holds exactly this, with no file missing.

        Args:
            root: The folder.

        Returns:
            Whether it does.
        """
        try:
            found = json.loads((root / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(found == self.marker) and len(list(root.iterdir())) == self.files

    def write(self, root: Path, write_files: Callable[[Path], None]) -> Path:
        """Write the folder unless it is there; another one of its kind is replaced.

        Args:
            root: The folder: missing, empty, or of this kind.
            write_files: Writes all files but the marker into an empty folder.

        Returns:
            `root`.

        Raises:
            Hep2ganError: `root` holds anything else, or cannot be written.
        """
        if self.is_at(root):
            return root
        check_replaceable(root, self.is_own, MARKER, self.kind)
        destination = root.resolve()
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(destination):
                # Another process may have written the same while this one waited.
                if self.is_at(root):
                    return root
                # Not synced: thousands of small files would take seconds, and can be made again.
                with atomic_folder(destination, sync=False) as folder:
                    write_files(folder)
                    text = json.dumps(self.marker, indent=2) + "\n"
                    (folder / MARKER).write_text(text, "utf-8")
        except OSError as error:
            raise Hep2ganError(
                f"{root} cannot be written ({error.strerror or error})",
                self.need,
                "choose another folder or make room",
            ) from error
        return root
