"""Where the masks of a data set lie: beside its images, in a folder of their own, or nowhere."""

from pathlib import Path

from hep2gan.data.readers.files import walk_files
from hep2gan.data.readers.source import DataSource, RawCell, RawCells
from hep2gan.errors import Hep2ganError


def choose_masks(raw: RawCells, source: DataSource) -> RawCells:
    """Leave the masks as the reader found them, drop them, or take them from another folder.

    Args:
        raw: The cells, as the reader returns them.
        source: The settings of the data set; `masks` and `root` count.

    Returns:
        The cells with the masks that `source.masks` names.

    Raises:
        Hep2ganError: The folder of the masks does not exist, or no cell has its mask there.
    """
    if source.masks is True:
        return raw
    if source.masks is False:
        return raw._replace(cells=[cell._replace(mask=None) for cell in raw.cells])
    folder = Path(source.masks).expanduser()
    root = source.folder if source.folder.is_dir() else source.folder.parent
    found = _masks_by_image(folder)
    cells = [cell._replace(mask=_mask_of(cell, root, found)) for cell in raw.cells]
    if all(cell.mask is None for cell in cells):
        raise Hep2ganError(
            f"{folder} {'holds no mask of these cells' if folder.is_dir() else 'does not exist'}",
            "a mask lies there as its image lies below data.root: a/1_Mask.png or a/1.png for"
            " the image a/1.tif",
            "set data.masks to that folder, or to false to pack the images alone",
        )
    return raw._replace(cells=cells)


def _masks_by_image(folder: Path) -> dict[str, Path]:
    """Files below a folder by the path of the image that each belongs to, without its suffix."""
    found: dict[str, Path] = {}
    for files in walk_files(folder) if folder.is_dir() else ():
        below = files.path.relative_to(folder)
        # Masks last: where images lie beside them, 1_Mask.png is the mask and 1.png is not.
        for path, stem in ({path: path.stem for path in files.images} | files.masks).items():
            found[(below / stem).as_posix()] = path
    return found


def _mask_of(cell: RawCell, root: Path, found: dict[str, Path]) -> Path | None:
    if not cell.image.is_relative_to(root):
        return None
    name = cell.image.relative_to(root)
    # With its suffix where two images differ in it alone, as hep2gan-predict names its results.
    mask = found.get(name.as_posix()) or found.get(name.with_suffix("").as_posix())
    return None if mask == cell.image else mask
