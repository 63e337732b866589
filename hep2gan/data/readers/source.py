"""Data sets: how a configuration names one, and the raw cells that its reader returns."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hep2gan.data.readers.image import SUFFIXES
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Name, NonNegative, Settings, Text

Channel = Annotated[Annotated[int, Field(ge=0)] | Text | None, Field(examples=["green"])]
"""Of the settings that name a channel."""
UNKNOWN = -1
PARTS = {
    "": UNKNOWN,
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "valid", "val"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
"""Names of the parts of a data set's own split."""
INTENSITY_NAMES = ("intermediate", "positive")
INTENSITIES = {"": UNKNOWN, **{name: number for number, name in enumerate(INTENSITY_NAMES)}}


class FieldRegion(NamedTuple):
    """Where a cell lies in a field of many.

    Attributes:
        label: Its number in the label image, which is then the cell's `mask`.
        box: What is cut out, with the margin: top, left, bottom, right in px, the last two past it.
    """

    label: int
    box: tuple[int, int, int, int]


class RawCell(NamedTuple):
    """One cell on disk; numbers are -1 if unknown.

    Attributes:
        id: Name of the cell; each occurs once.
        image: File of the image.
        mask: File of the mask; None in a data set without masks, and then of every cell.
        label: Class, from 0.
        specimen: Number of the specimen, from 0.
        intensity: 0 intermediate, 1 positive.
        part: The data set's own split: 0 training, 1 validation, 2 test.
        region: Where it lies in `image`, which is a field; None if the image shows it alone.
    """

    id: str
    image: Path
    mask: Path | None
    label: int
    specimen: int = UNKNOWN
    intensity: int = UNKNOWN
    part: int = UNKNOWN
    region: FieldRegion | None = None


class CellError(NamedTuple):
    """Why a cell cannot be packed.

    Attributes:
        id: Name of the cell.
        reason: A sentence that names the file and the fix.
    """

    id: str
    reason: str


class RawCells(NamedTuple):
    """A data set as its reader returns it.

    Attributes:
        source: What was read, for messages and the manifest of the store.
        classes: Names of the classes, in the order of the labels.
        cells: The cells.
        published_counts: Published number of cells of each class; None if there is none.
        specimens: Names of the specimens, in the order of their numbers.
        problems: Cells that the reader had to leave out; packing stops at them, or records them.
        notes: Findings of the reader that do not stop packing.
    """

    source: str
    classes: tuple[str, ...]
    cells: Sequence[RawCell]
    published_counts: tuple[int, ...] | None = None
    specimens: tuple[str, ...] = ()
    problems: tuple[CellError, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_masks(self) -> bool:
        """Whether cells have masks; packing sees to it that then all have."""
        return any(cell.mask is not None for cell in self.cells)


def natural_key(name: str) -> tuple[int, int, str]:
    """Make a sort key that puts whole numbers first and compares them as numbers: 2 before 10.

    Args:
        name: Any text.

    Returns:
        The key.
    """
    is_number = name.isascii() and name.isdigit() and len(name) < 4000
    return (0, int(name), name) if is_number else (1, 0, name)


def name_ids(names: Iterable[str]) -> dict[str, int]:
    """Number the distinct names from 0 in natural order.

    Args:
        names: The names; '' is left out, since it means unknown.

    Returns:
        Number of each name.
    """
    return {name: n for n, name in enumerate(sorted(set(names) - {""}, key=natural_key))}


def cell_id(name: str) -> str:
    """Return the id of a cell: '1', '00001' and '00001.png' are the same cell.

    Args:
        name: File name or number of the cell.

    Returns:
        The id; numbers have five digits or more.
    """
    name = unicodedata.normalize("NFC", name.strip())
    path = PurePath(name)
    name = path.stem if path.suffix.lower() in SUFFIXES else name
    return f"{int(name):05d}" if natural_key(name)[0] == 0 else name


def ids_of_paths(paths: Sequence[Path]) -> list[str]:
    """Name cells after their files.

    Args:
        paths: Files relative to the folder of the set.

    Returns:
        The paths without suffix, or with it if two differ only in their suffix.
    """
    stems = [str(path.with_suffix("")) for path in paths]
    ids = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    return [unicodedata.normalize("NFC", cell) for cell in ids]


def path_problem(name: str) -> str:
    """Explain why a path in a csv file must not be followed.

    Args:
        name: The path as it is written in the file.

    Returns:
        The reason, or '' if the path may be followed.
    """
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\", "~")) or name[1:2] == ":":
        return "is not relative to the folder of the csv file"
    if ".." in parts:
        return "leaves the folder of the csv file with '..'"
    if "\0" in name:
        return "holds a NUL character"
    return "" if parts[-1] not in ("", ".") else "names no file"


class PackSettings(Settings):
    """What the content of a store depends on besides its source.

    Args:
        size: Side of the stored images in pixels.
        on_error: At damaged or implausible cells `stop` with a list of them, or `skip` them and
            record that.
        white_level: Grey level that is white in files of more than 8 bits; None for the largest
            of unsigned 12 or 16 bits.
        invert_masks: Exchange nucleus and background in every mask.
        keep_implausible: Pack masks that do not look like nuclei, or do not follow their images.
        channel: Number from 0, or name, of the channel that shows the stain; None for the only
            one, or the grey of red, green and blue.
        plane: Number from 0 of the plane; None for the only one.
        crop_change: Pixels added to each side of the raw crops, or cut off if negative: how a
            method depends on how crops are cut. What is added is the crop's margin mirrored, since
            a crop has no more; masks are 0 there. `crop_margin` says what is then left.
        crop_shift: Each crop's window is moved along both axes by a whole number of pixels up to
            this, which its id decides.
    """

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)] = 128
    on_error: Literal["stop", "skip"] = "stop"
    white_level: Annotated[int, Field(ge=1, examples=[4095])] | None = None
    invert_masks: bool = False
    keep_implausible: bool = False
    channel: Channel = None
    plane: Annotated[int, Field(ge=0)] | None = None
    crop_change: Annotated[int, Field(ge=-64, le=10)] = 0
    crop_shift: Annotated[int, Field(ge=0, le=10)] = 0


class DataSource(PackSettings):
    """The group `data`; each kind of data set is a subclass, which overrides `read`.

    Args:
        name: Name of the data set; part of the name of its store.
        root: Folder or file of the raw cells.
        crop_margin: Pixels between the nucleus and the edge of its crop, for the ellipse baseline.
        crop_margin_fraction: The same as a fraction of the crop's side.
        masks: Pack the masks that the set has; false packs images alone. Or the folder of the
            masks: the mask of `a/1.png` lies there as `a/1_Mask.png` or `a/1.png`.
        store: Folder of the packed store.

    `is_generated` tells whether missing cells are generated, so that a training packs them itself.
    """

    is_generated: ClassVar[bool] = False

    name: Name = Field(examples=["mine"])
    root: Text | None = Field(default=None, examples=["FOLDER"])
    crop_margin: NonNegative = 0.0
    crop_margin_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    masks: bool | Text = True
    store: Text = Field(examples=["stores/mine"])

    @property
    def folder(self) -> Path:
        """Path of the raw cells.

        Raises:
            Hep2ganError: `data.root` is not set.
        """
        if self.root in (None, "???"):
            raise Hep2ganError(
                "data.root is not set",
                "it names the folder of the raw cells",
                "add data.root=FOLDER",
            )
        return Path(os.path.expanduser(str(self.root)))  # noqa: PTH111, it raises nothing

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the raw cells, without their pixels.

        Args:
            workers: Number of processes; None for one per core.

        Returns:
            The cells.

        Raises:
            Hep2ganError: The data set is not valid.
        """
        raise NotImplementedError
