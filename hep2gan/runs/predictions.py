"""Predictions on disk: all that an evaluation writes, and all that figures and tables need."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.io import atomic_open

FOREGROUND = 128
"""Generated masks hold probability x 255; foreground is this and above."""

_MIN_UNPACKED, _MAX_RATIO = 256 * 1024 * 1024, 32
"""Images are the greater part and hardly shrink, so that a file unpacks to a few times its size."""
_LAYOUT = {
    "id": (np.str_, "N"),
    "image": (np.uint8, "NHW"),
    "specimen": (np.int64, "N"),
    "label": (np.int64, "N"),
    "truth": (np.uint8, "NHW"),
    "crop_size": (np.int64, "N2"),
    "mask": (np.uint8, "NHW"),
    "probabilities": (np.float32, "NK"),
    "probabilities_true_mask": (np.float32, "NK"),
    "features": (np.float32, "ND"),
    "mean_mask": (np.float32, "HW"),
    "train_counts": (np.int64, "K"),
    "intensity": (np.str_, "N"),
    "pattern": (np.str_, "N"),
    "block": (np.int64, "N"),
    "crop_margin": (np.float64, "2"),
    "distances": (np.float32, "NK"),
    "train_specimens": (np.int64, "S"),
    "validation_specimen": (np.int64, "V"),
    "validation_label": (np.int64, "V"),
    "validation_probabilities": (np.float32, "VK"),
    "validation_distances": (np.float32, "VK"),
}
"""Type and axes of each array; one letter is one length throughout."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Everything that a figure or a metric of N test cells in K classes is computed from.

    Arrays that a method or its set does not have are None (no generated masks without a generator,
    no probabilities without a classifier).

    Attributes:
        classes: K class names in the order of the labels.
        id: (N,) cell ids of the store.
        specimen: (N,) specimen numbers; -1 if unknown.
        label: (N,) true classes in [0, K).
        image: (N, H, W) inputs of the networks, stretched to 0..255 for display.
        truth: (N, H, W) true masks of {0, 1}; None in a set without masks.
        crop_size: (N, 2) height and width of the raw crop in pixels.
        mask: (N, H, W) generated masks: probability x 255, rounded; foreground from `FOREGROUND`
            on.
        probabilities: (N, K) class probabilities given the generated mask, or no mask if unguided.
        probabilities_true_mask: (N, K) class probabilities given the true mask; guided methods
            only.
        features: (N, D) features of the classifier before its output layer.
        mean_mask: (H, W) mean of the true masks of the training part, for the mean-mask baseline.
        train_counts: (K,) cells per class in the training part, for the majority-class baseline.
        intensity: (N,) "intermediate", "positive", or "" if unknown; None if the set has none or
            intensities are the classes.
        pattern: (N,) staining patterns, where intensities are the classes.
        block: (N,) blocks of contiguous ids that a block split kept together; else None.
        crop_margin: (2,) margin of the crops in raw pixels, and as a fraction of a crop's side, for
            the inscribed ellipse.
        distances: (N, K) squared distances of the features to the means of the Gaussian mixture.
        train_specimens: (S,) specimens of the training part, ascending; None where any is unknown.
        validation_specimen: (V,) as `specimen`, of the V validation cells. They tell how far a test
            cell is to be trusted, see `hep2gan.statistics.trust`; None without a validation part.
        validation_label: (V,) as `label`, of the validation cells.
        validation_probabilities: (V, K) as `probabilities`, of the validation cells.
        validation_distances: (V, K) as `distances`, of the validation cells.
    """

    classes: tuple[str, ...]
    id: npt.NDArray[np.str_]
    specimen: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    image: npt.NDArray[np.uint8]
    crop_size: npt.NDArray[np.int64]
    truth: npt.NDArray[np.uint8] | None = None
    mask: npt.NDArray[np.uint8] | None = None
    probabilities: npt.NDArray[np.float32] | None = None
    probabilities_true_mask: npt.NDArray[np.float32] | None = None
    features: npt.NDArray[np.float32] | None = None
    mean_mask: npt.NDArray[np.float32] | None = None
    train_counts: npt.NDArray[np.int64] | None = None
    intensity: npt.NDArray[np.str_] | None = None
    pattern: npt.NDArray[np.str_] | None = None
    block: npt.NDArray[np.int64] | None = None
    crop_margin: npt.NDArray[np.float64] | None = None
    distances: npt.NDArray[np.float32] | None = None
    train_specimens: npt.NDArray[np.int64] | None = None
    validation_specimen: npt.NDArray[np.int64] | None = None
    validation_label: npt.NDArray[np.int64] | None = None
    validation_probabilities: npt.NDArray[np.float32] | None = None
    validation_distances: npt.NDArray[np.float32] | None = None

    def require_probabilities(self) -> npt.NDArray[np.float32]:
        """Return the (N, K) class probabilities.

        Raises:
            Hep2ganError: If the method has no classifier.
        """
        if self.probabilities is None:
            raise Hep2ganError("these predictions hold no class probabilities")
        return self.probabilities

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) most probable class; raises Hep2ganError without a classifier."""
        return np.asarray(self.require_probabilities().argmax(axis=1), np.int64)

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """(N, H, W) generated masks from probability 0.5 on; Hep2ganError without a generator."""
        if self.mask is None:
            raise Hep2ganError("these predictions hold no generated masks")
        return self.mask >= FOREGROUND

    @cached_property
    def dice(self) -> npt.NDArray[np.float64] | None:
        """(N,) Dice coefficient 2|A∩B| / (|A| + |B|) of each cell's generated and true foreground.

        1 where both are empty; None without generated or without true masks.
        """
        if self.mask is None or self.truth is None:
            return None
        # Row by row: thresholds of all masks at once take as much memory as the predictions.
        pairs = zip(self.mask, self.truth, strict=True)
        return np.array([_dice(mask >= FOREGROUND, truth > 0) for mask, truth in pairs])

    def check(self) -> None:
        """Check types, shapes and ranges of all arrays.

        Raises:
            Hep2ganError: If any is wrong; names all of them.
        """
        problems = _layout_problems(self) or _value_problems(self)
        if problems:
            raise Hep2ganError("predictions are inconsistent", "; ".join(problems))

    def save(self, path: Path) -> None:
        """Write one compressed .npz file, completely or not at all.

        Args:
            path: The file.

        Raises:
            Hep2ganError: As `check`.
            OSError: If the file cannot be written.
        """
        self.check()
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays["classes"] = np.asarray(self.classes)
        present = {name: array for name, array in arrays.items() if array is not None}
        # The archive has a checksum of each array, but not of the list of them.
        present["contents"] = np.asarray(sorted(present))
        with atomic_open(path) as file:
            _write_arrays(file, present)

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Read a file that `save` wrote.

        Args:
            path: The .npz file, trusted or not.

        Raises:
            Hep2ganError: If the file is missing, damaged or inconsistent.
        """
        fix = "run hep2gan-evaluate on the run again"
        if not path.is_file():
            raise Hep2ganError(f"{path} does not exist", "", fix)
        try:
            _refuse_bomb(path)
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Any] = {name: file[name] for name in file.files}
            if sorted(arrays) != sorted([*arrays.pop("contents"), "contents"]):
                raise ValueError("arrays are missing")
            classes = tuple(str(name) for name in arrays.pop("classes"))
            predictions = cls(classes=classes, **arrays)
            predictions.check()
        # A damaged archive can raise anything: zlib.error, struct.error, MemoryError, …
        except Exception as error:
            raise Hep2ganError(f"{path} cannot be read ({error})", "", fix) from error
        return predictions


SUBGROUPS = ("intensity", "pattern")
"""What test cells are divided by, beside their classes."""


class _Grouped(Protocol):
    @property
    def intensity(self) -> npt.NDArray[np.str_] | None: ...

    @property
    def pattern(self) -> npt.NDArray[np.str_] | None: ...


class Subgroup(NamedTuple):
    """Test cells of one intensity or pattern.

    Attributes:
        kind: One of `SUBGROUPS`.
        name: The intensity or pattern.
        rows: (M,) indices of its cells, ascending.
    """

    kind: str
    name: str
    rows: npt.NDArray[np.int64]


def find_subgroups(cells: _Grouped) -> list[Subgroup]:
    """Divide test cells by intensity, or by pattern where intensities are the classes.

    Args:
        cells: The test cells.

    Returns:
        Subgroups in the order of their names, without cells whose intensity is unknown; empty where
        nothing is known.
    """
    return [
        Subgroup(kind, str(name), np.flatnonzero(values == name))
        for kind in SUBGROUPS
        if (values := getattr(cells, kind)) is not None
        for name in np.unique(values)
        if name
    ]


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    size = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / size if size else 1.0


def _write_arrays(file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    # As numpy.savez_compressed, whose level takes two and a half times as long for 4 % less.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=2) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _refuse_bomb(path: Path) -> None:
    """Raise ValueError for a file that unpacks to far more than its size, or than it declares."""
    limit = max(_MIN_UNPACKED, _MAX_RATIO * path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > limit:
            raise ValueError(f"it unpacks to {size:,} bytes, at most {limit:,} are read")
        for member in archive.infolist():
            with archive.open(member) as file:
                _refuse_header(file, member)


def _refuse_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    # numpy allocates what a header declares before it checks whether the file has so much.
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{member.filename} has version {version} of the format")
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    if kind.hasobject or math.prod(shape) * kind.itemsize + file.tell() != member.file_size:
        raise ValueError(f"{member.filename} does not hold the {kind} {shape} that it declares")


def _layout_problems(predictions: Predictions) -> list[str]:
    problems = []
    lengths = {"2": 2, "K": len(predictions.classes)}
    for name, (kind, axes) in _LAYOUT.items():
        array = getattr(predictions, name)
        if array is None and name in _OPTIONAL:
            continue
        if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, kind):
            actual = getattr(array, "dtype", type(array).__name__)
            problems.append(f"{name} is {actual}, must be an array of {kind.__name__}")
        elif array.ndim != len(axes):
            problems.append(f"{name} has shape {array.shape}, must have axes ({', '.join(axes)})")
        else:
            expected = tuple(
                lengths.setdefault(a, n) for a, n in zip(axes, array.shape, strict=True)
            )
            if array.shape != expected:
                problems.append(f"{name} has shape {array.shape}, must be {expected}")
    return problems


_OPTIONAL = {f.name for f in fields(Predictions) if f.default is None}


def _value_problems(predictions: Predictions) -> list[str]:
    """Problems with the values of arrays whose types and shapes are right."""
    p, classes = predictions, len(predictions.classes)
    problems = {
        "there are no cells": not len(p.id),
        "ids occur twice": len(np.unique(p.id)) < len(p.id),
        "class names are missing or occur twice": not 0 < len(set(p.classes)) == classes,
        f"label is not in 0..{classes - 1}": bool(((p.label < 0) | (p.label >= classes)).any()),
        "specimen is below -1": bool((p.specimen < -1).any()),
        "truth holds values beside 0 and 1": p.truth is not None and bool((p.truth > 1).any()),
        "crop_size is not positive": bool((p.crop_size < 1).any()),
        "train_counts is negative": p.train_counts is not None and bool((p.train_counts < 0).any()),
        "mean_mask is not in [0, 1]": p.mean_mask is not None and not _in_0_1(p.mean_mask),
        "features are not finite": p.features is not None and not np.isfinite(p.features).all(),
    }
    if p.validation_label is not None:
        outside = (p.validation_label < 0) | (p.validation_label >= classes)
        problems[f"validation_label is not in 0..{classes - 1}"] = bool(outside.any())
    for name in ("distances", "validation_distances"):
        array = getattr(p, name)
        finite = array is None or bool((np.isfinite(array) & (array >= 0)).all())
        problems[f"{name} are not finite and 0 or more"] = not finite
    for name in ("probabilities", "probabilities_true_mask", "validation_probabilities"):
        array = getattr(p, name)
        if array is not None:
            problems[f"{name} are not in [0, 1] (did training diverge?)"] = not _in_0_1(array)
            problems[f"{name} do not sum to 1"] = not np.allclose(
                array.sum(axis=1, dtype=np.float64), 1, atol=1e-3
            )
    return [problem for problem, occurs in problems.items() if occurs]


def _in_0_1(array: npt.NDArray[np.float32]) -> bool:
    # Written so that NaN fails; 1e-5 leaves room for rounding in a softmax or a mean.
    return bool(((array >= -1e-5) & (array <= 1 + 1e-5)).all())
