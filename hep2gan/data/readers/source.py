"""Data sets: how a configuration names one, and the raw cells that its reader returns."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from hep2gan.data.readers.image import SUFFIXES
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Name, NonNegative, Settings, Text

UNKNOWN = -1
INTENSITIES = {"": UNKNOWN, "intermediate": 0, "positive": 1}


class RawCell(NamedTuple):
    """One cell on disk. Numbers are -1 where unknown; `part` as in `Store.part`."""

    id: str
    image: Path
    mask: Path
    label: int
    specimen: int = UNKNOWN
    intensity: int = UNKNOWN
    part: int = UNKNOWN


class CellError(NamedTuple):
    """Why a cell cannot be packed: a sentence naming the file and the fix."""

    id: str
    reason: str


class RawCells(NamedTuple):
    """A data set as its reader returns it.

    classes: names in the order of the labels. specimens: names in the order of the numbers.
    problems: cells that the reader had to leave out; they stop a pack, or are recorded by it.
    notes: findings of the reader that stop nothing.
    """

    source: str
    classes: tuple[str, ...]
    cells: Sequence[RawCell]
    published_counts: tuple[int, ...] | None = None
    specimens: tuple[str, ...] = ()
    problems: tuple[CellError, ...] = ()
    notes: tuple[str, ...] = ()


def natural_key(name: str) -> tuple[int, int, str]:
    """Sort key under which whole numbers come first and count as numbers: 2 before 10."""
    is_number = name.isascii() and name.isdigit() and len(name) < 4000
    return (0, int(name), name) if is_number else (1, 0, name)


def name_ids(names: Iterable[str]) -> dict[str, int]:
    """Number distinct names 0, 1, … in natural order; the empty name is unknown."""
    return {name: n for n, name in enumerate(sorted(set(names) - {""}, key=natural_key))}


def cell_id(name: str) -> str:
    """Return a cell's id by its file name or number: '1', '00001' and '00001.png' are one cell."""
    name = name.strip()
    path = PurePath(name)
    name = path.stem if path.suffix.lower() in SUFFIXES else name
    return f"{int(name):05d}" if natural_key(name)[0] == 0 else name


def path_problem(name: str) -> str:
    """Say why a path in a csv file may not be followed, or ''."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\", "~")) or name[1:2] == ":":
        return "is not relative to the folder of the csv file"
    if ".." in parts:
        return "leaves the folder of the csv file with '..'"
    if "\0" in name:
        return "holds a NUL character"
    return "" if parts[-1] not in ("", ".") else "names no file"


class PackSettings(Settings):
    """What the content of a store depends on besides its source."""

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)] = 128
    """Side of the stored images in pixels."""
    on_error: Literal["stop", "skip"] = "stop"
    """At broken pairs: stop with a list of them, or leave them out and record them."""
    white_level: Annotated[int, Field(ge=1, examples=[4095])] | None = None
    """16-bit grey level shown as white; null: 65535."""


class DataSource(PackSettings):
    """The keys of `data`; a class for each kind of data set, which overrides `read`."""

    is_generated: ClassVar[bool] = False
    """Whether cells are made where they are missing, so that a training packs them itself."""

    name: Name = Field(examples=["mine"])
    """Of the data set; part of the store's name."""
    root: Text | None = Field(default=None, examples=["FOLDER"])
    """Folder or file of the raw cells."""
    crop_margin: NonNegative = 0.0
    """Pixels from the nucleus to the crop's edge, for the ellipse baseline."""
    crop_margin_fraction: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """The same as a fraction of the crop's side."""
    store: Text = Field(examples=["stores/mine"])
    """Folder of the packed store."""

    @property
    def folder(self) -> Path:
        """Where the raw cells are.

        Raises:
            Hep2ganError: if `data.root` is not set.
        """
        if self.root in (None, "???"):
            raise Hep2ganError(
                "data.root is not set",
                "it names the folder of the raw cells",
                "add data.root=FOLDER",
            )
        return Path(str(self.root))

    def read(self, workers: int | None = None) -> RawCells:
        """Read labels and paths of the raw cells, without their pixels.

        Args:
            workers: processes that may help; None for one per core.

        Raises:
            Hep2ganError: if the data set is not as it should be.
        """
        raise NotImplementedError
