"""The packed store: one folder of memory-mapped arrays, shared by all processes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.image import GreyImage
from hep2gan.data.readers.source import INTENSITY_NAMES
from hep2gan.data.store.integrity import (
    COLUMNS,
    FILES,
    FORMAT,
    MANIFEST,
    SPECIMENS,
    VERSION,
    FileSizeGuard,
    column_names,
    damaged_store,
)
from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json
from hep2gan.runs.folder import CropGeometry, Target


@dataclass(frozen=True, eq=False)
class Store:
    """N packed cells. Opening a store reads its manifest and ten headers, whatever N is.

    Arrays are read-only and memory-mapped. Pickling a store passes its path, not its cells.

    Attributes:
        path: Folder of the store.
        classes: K class names in the order of the labels.
        size: S: images are stored at S × S pixels.
        fingerprint: SHA-256 over classes and all arrays, in hexadecimal: equal for equal stores.
        manifest: Source, settings and findings of the pack.
        image: (N, S, S), each image stretched to 0..255; `levels` undoes it.
        mask: (N, S, S) of {0, 1}; None in a set without masks.
        label: (N,) in 0..K−1.
        specimen: (N,) row of `specimen_names`; -1 unknown.
        levels: (N, 2) lo, hi: grey level = lo + stored / 255 · (hi − lo), on the 0..255 scale.
        crop_size: (N, 2) height and width of the raw crop in pixels.
        intensity: (N,) -1 unknown, 0 intermediate, 1 positive.
        part: (N,) the data set's own split: 0 training, 1 validation, 2 test; -1 none.
        digest: (N, 16) hash of raw image and mask, if there is one: equal rows are identical cells.
        id: (N,) names of the cells, each once.
        specimen_names: Names of the specimens, in the order of their numbers.
        packed: The store as packed, if this is one `for_target` intensity; else None.
        _files: Guard against truncation of the mapped files.
    """

    path: Path
    classes: tuple[str, ...]
    size: int
    fingerprint: str
    manifest: dict[str, Any] = field(repr=False)
    image: npt.NDArray[np.uint8] = field(repr=False)
    mask: npt.NDArray[np.uint8] | None = field(repr=False)
    label: npt.NDArray[np.int64] = field(repr=False)
    specimen: npt.NDArray[np.int64] = field(repr=False)
    levels: npt.NDArray[np.float32] = field(repr=False)
    crop_size: npt.NDArray[np.int64] = field(repr=False)
    intensity: npt.NDArray[np.int8] = field(repr=False)
    part: npt.NDArray[np.int8] = field(repr=False)
    digest: npt.NDArray[np.uint8] = field(repr=False)
    id: npt.NDArray[np.str_] = field(repr=False)
    specimen_names: npt.NDArray[np.str_] = field(repr=False)
    packed: "Store | None" = field(default=None, repr=False)
    _files: FileSizeGuard = field(default_factory=FileSizeGuard, repr=False)

    @property
    def has_masks(self) -> bool:
        """Whether the cells have masks: all of them or none."""
        return self.mask is not None

    def __len__(self) -> int:
        return len(self.label)

    def __reduce__(self) -> tuple[Callable[[Path, Target], "Store"], tuple[Path, Target]]:
        return _reopen, (self.path, self.target)

    @property
    def target(self) -> Target:
        """What the labels are: staining patterns, or intensities."""
        return "pattern" if self.packed is None else "intensity"

    @property
    def left_out(self) -> int:
        """Number of packed cells that are not in here, since their label is unknown."""
        return 0 if self.packed is None else len(self.packed) - len(self)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open a store.

        Args:
            path: Folder of the store.

        Returns:
            The store.

        Raises:
            Hep2ganError: It is missing, damaged or of another version.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        try:
            count, size = _positive_integer(manifest, "cells"), _positive_integer(manifest, "size")
            classes, fingerprint = manifest["classes"], manifest["fingerprint"]
            if not _are_class_names(classes) or not isinstance(fingerprint, str):
                raise ValueError(f"{MANIFEST} needs class names and a fingerprint")
            if type(has_masks := manifest["masks"]) is not bool:
                raise ValueError(f"{MANIFEST}: masks is {str(has_masks)[:40]}")
            if not _are_nuclei(manifest.get("nuclei")):
                raise ValueError(f"{MANIFEST}: nuclei is {str(manifest.get('nuclei'))[:40]}")
            arrays: dict[str, Any] = {"mask": None}
            for name in column_names(has_masks):
                dtype, per_cell = COLUMNS[name]
                shape = (count, *(size if isinstance(side, str) else side for side in per_cell))
                arrays[name] = _map_array(path, name, dtype, shape)
            return cls(
                path=path,
                classes=tuple(classes),
                size=size,
                fingerprint=fingerprint,
                manifest=manifest,
                specimen_names=_map_array(path, SPECIMENS, "<U"),
                _files=FileSizeGuard(path / file for file in FILES if file.endswith(".npy")),
                **arrays,
            )
        # A damaged header raises whatever numpy's reader trips over: tokenize, struct, mmap, …
        except Exception as error:
            raise damaged_store(path, str(error)) from error

    def for_target(self, target: Target) -> "Store":
        """Return the cells with the labels of a target.

        Under "intensity" they have two classes, `INTENSITY_NAMES`, and cells of unknown intensity
        are left out: rows count the others. Pixels are not copied.

        Args:
            target: What is to be learned.

        Returns:
            This store, or one that shares its files.

        Raises:
            Hep2ganError: The intensities of the target are not both known.
        """
        if target == self.target:
            return self
        if self.packed is not None:
            return self.packed
        rows = np.flatnonzero(self.intensity >= 0)
        label = self.intensity[rows].astype(np.int64)
        if (kinds := len(np.unique(label))) < 2:
            raise Hep2ganError(
                f"all cells of known intensity in {self.path} are {INTENSITY_NAMES[label[0]]}"
                if kinds
                else f"no cell of {self.path} has a known intensity",
                "target=intensity learns to tell intermediate cells from positive ones",
                "set target=pattern; or pack again from a table whose column intensity says"
                " positive or intermediate",
            )
        columns = {name: getattr(self, name) for name in COLUMNS}
        if len(rows) < len(self):
            columns = {
                name: _Rows(array, rows) if array.ndim > 2 else array[rows]
                for name, array in columns.items()
                if array is not None
            }
        columns["label"] = label
        return replace(self, classes=INTENSITY_NAMES, packed=self, **columns)

    def intensity_names(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_] | None:
        """Name the intensities of some cells, "" where unknown.

        Args:
            rows: Rows of the cells (N,).

        Returns:
            (N,) names; None if all are unknown, or intensities are the classes.
        """
        intensity = self.intensity[rows]
        if self.packed is not None or (intensity < 0).all():
            return None
        return np.asarray((*INTENSITY_NAMES, ""))[intensity]  # -1 is the last

    def pattern_names(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_] | None:
        """Name the staining patterns of some cells.

        Args:
            rows: Rows of the cells (N,).

        Returns:
            (N,) names; None if patterns are the classes.
        """
        if self.packed is None:
            return None
        label = self.packed.label[self.packed.intensity >= 0]
        return np.asarray(self.packed.classes)[label[rows]]

    def crop_geometry(self, margin: float = 0.0, margin_fraction: float = 0.0) -> CropGeometry:
        """Return how large the raw cells are.

        Args:
            margin: Pixels around the nucleus of a set without masks, as its settings say.
            margin_fraction: More of it, as a fraction of the crop's side.

        Returns:
            Sizes in pixels, with the margin and the nuclei as the masks have them.
        """
        median = float(np.median(self.crop_size))
        margin += margin_fraction * median
        nuclei = self.manifest.get("nuclei") or {
            "margin": margin,
            "diameter": max(1.0, median - 2 * margin),
        }
        return CropGeometry(
            largest=int(self.crop_size.max()),
            smallest=int(self.crop_size.min()),
            median=round(median),
            margin=round(nuclei["margin"]),
            nucleus=round(nuclei["diameter"], 2),
        )

    def check_not_truncated(self) -> None:
        """Check that no file was truncated since opening; call this before reading arrays.

        Reading what is no longer there would end the process (SIGBUS).

        Raises:
            Hep2ganError: A file was truncated.
        """
        self._files.check()

    def crop(self, row: int) -> GreyImage:
        """Reconstruct the raw crop of one cell.

        Args:
            row: Row of the cell, 0 to N−1.

        Returns:
            Whole grey levels (h, w) on the 0..255 scale, at the size of the raw crop. Exact for
            8-bit crops of the stored size; otherwise changed by being resized twice.
        """
        low, high = self.levels[row].astype(np.float64)
        grey = (low + self.image[row] * ((high - low) / 255)).astype(np.float32)
        height, width = (int(side) for side in self.crop_size[row])
        resized = Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)
        return np.rint(np.asarray(resized, np.float32))


class _Rows:
    """Some rows of a mapped array, read when they are asked for."""

    def __init__(self, array: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> None:
        self._array, self._rows = array, rows

    def __getitem__(self, index: Any) -> Any:
        return self._array[self._rows[index]]


def _reopen(path: Path, target: Target) -> Store:
    return Store.open(path).for_target(target)


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise Hep2ganError(
            f"{path} {'is not a packed store' if path.exists() else 'does not exist'}",
            "a store is a folder written by hep2gan-pack",
            "run hep2gan-pack, or correct the path",
        )
    try:
        manifest = read_json(file)
    except ValueError as error:
        raise damaged_store(path, str(error)) from error
    if manifest.get("format") != FORMAT:
        raise Hep2ganError(f"{file} is not the manifest of a store", "", "run hep2gan-pack")
    if manifest.get("version") != VERSION:
        raise Hep2ganError(
            f"{path} has version {str(manifest.get('version'))[:20]} of the store's format",
            f"this hep2gan reads {VERSION}",
            "run hep2gan-pack again",
        )
    return manifest


def _map_array(
    path: Path, name: str, dtype: str, shape: tuple[int, ...] | None = None
) -> npt.NDArray[Any]:
    """Map an array and check its type and its shape; None is one axis of any length."""
    # Mapped, since numpy would allocate whatever a header asks for. A plain view, since slicing
    # numpy's memmap class costs microseconds each time.
    array = np.asarray(np.lib.format.open_memmap(path / f"{name}.npy", mode="r"))
    shape = shape or (array.size,)
    if not array.dtype.str.startswith(dtype) or array.shape != shape:
        raise ValueError(f"{name}.npy holds {array.dtype} {array.shape}, expected {dtype} {shape}")
    return array


def _positive_integer(manifest: dict[str, Any], key: str) -> int:
    value = manifest[key]
    if type(value) is not int or not 0 < value < 2**40:
        raise ValueError(f"{MANIFEST}: {key} is {str(value)[:40]}")
    return value


def _are_class_names(classes: Any) -> bool:
    are_strings = isinstance(classes, list) and all(type(name) is str for name in classes)
    return are_strings and 0 < len(set(classes)) == len(classes)


def _are_nuclei(nuclei: Any) -> bool:
    """Tell whether these are a margin and a diameter, or None of a set without masks."""
    if nuclei is None:
        return True
    are_named = isinstance(nuclei, dict) and nuclei.keys() == {"margin", "diameter"}
    return are_named and all(type(n) is float and 0 <= n < 1e6 for n in nuclei.values())
