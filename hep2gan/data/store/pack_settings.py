"""Settings of a pack, and what must hold before it begins."""

from typing import Literal, NamedTuple

from hep2gan.data.readers.raw import RawCells
from hep2gan.errors import Hep2ganError


class Settings(NamedTuple):
    """What the content of a store depends on beside its source."""

    size: int
    on_error: Literal["stop", "skip"]
    white: int | None


def check_settings(settings: Settings, workers: int | None) -> None:
    """Raise Hep2ganError where a setting is out of range."""
    size, on_error, white = settings
    if not isinstance(size, int) or size % 16 or not 32 <= size <= 1024:
        fix = "choose 64, 96 or 128"
        raise Hep2ganError(f"size is {size}", "must be divisible by 16, from 32 to 1024", fix)
    if on_error not in ("stop", "skip"):
        raise Hep2ganError(f"on_error is {on_error!r}", "must be 'stop' or 'skip'", "choose one")
    if white is not None and (not isinstance(white, int) or white < 1):
        fix = "choose 4095 for a 12-bit camera, 65535 for 16 bits"
        raise Hep2ganError(f"white is {white}", "must be a whole number, at least 1", fix)
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers is {workers}", "must be at least 1", "leave it out")


def check_cells(raw: RawCells) -> None:
    """Raise Hep2ganError for no cells, ids that occur twice and labels without a class."""
    seen: set[str] = set()
    for cell in raw.cells:
        if cell.id in seen:
            raise Hep2ganError(f"{raw.source} has the id {cell.id} twice", "ids occur once", "")
        if not 0 <= cell.label < len(raw.classes):
            fact = f"cell {cell.id} of {raw.source} has label {cell.label}"
            raise Hep2ganError(fact, f"labels are 0 to {len(raw.classes) - 1}")
        seen.add(cell.id)
    if not seen:
        raise Hep2ganError(f"{raw.source} has no cells", "", "check data.root")
