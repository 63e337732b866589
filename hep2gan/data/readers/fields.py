"""Whole fields with label images: each labelled cell becomes a cell of the set."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from hep2gan.data.fields.labels import LABEL_FOLDERS, LabelFinder, read_labels, split_labels
from hep2gan.data.fields.regions import CellRegion, find_regions, widen_box
from hep2gan.data.readers.field_tables import FieldRow, FieldTable, read_field_tables
from hep2gan.data.readers.files import describe_others, plain_name, walk_files
from hep2gan.data.readers.labelled import check_classes, describe_classes
from hep2gan.data.readers.source import (
    UNKNOWN,
    CellError,
    DataSource,
    FieldRegion,
    RawCell,
    RawCells,
    name_ids,
    natural_key,
)
from hep2gan.data.store.pack_worker import run_chunks
from hep2gan.errors import Hep2ganError, bullet_list, pluralize
from hep2gan.io import available_cores
from hep2gan.settings import Text

LEFT_OUT = ("no class", "border", "speck")
"""Why a labelled cell is not packed."""
_SPECK = 0.05
"""Of the median area of the cells of its field: a labelled speck is smaller."""
_FIELDS_FOR_PROCESSES = 100  # below, starting processes takes longer than reading label images
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)
_LISTED = 3


class FieldCell(NamedTuple):
    """One labelled cell of a field.

    Attributes:
        region: Where the label image has it.
        pattern: Its class; '' if it has none.
        left_out: Why it is not packed, one of `LEFT_OUT`; '' if it is.
    """

    region: CellRegion
    pattern: str
    left_out: str = ""


class LabelledField(NamedTuple):
    """A field with its cells.

    Attributes:
        row: Its files, its specimen and what else the tables say.
        labels: Its label image or binary mask.
        shape: Height and width of the label image in px.
        cells: All its labelled cells, in the order of their numbers.
    """

    row: FieldRow
    labels: Path
    shape: tuple[int, int]
    cells: tuple[FieldCell, ...]

    def cell_id(self, cell: FieldCell) -> str:
        """Return the id that a cell of the field has in a packed store.

        Args:
            cell: The cell.
        """
        return f"{self.row.id}_c{cell.region.label}"


class LabelledFields(NamedTuple):
    """The labelled fields of a set.

    Attributes:
        fields: The fields, in the order of their ids.
        problems: Fields that cannot be read, and lines of tables without a field.
        notes: Findings, one sentence each.
    """

    fields: tuple[LabelledField, ...]
    problems: tuple[CellError, ...]
    notes: tuple[str, ...]


class FieldsSource(DataSource):
    """data=fields: whole fields with label images, whose cells are cut out when they are packed.

    Args:
        crop_margin: Pixels between a cell and the edge of its crop; fewer at the field's border.
        crop_margin_fraction: 0: the margin of fields is one number of pixels.
        masks: Pack the outlines of the cells as their masks; false packs images alone.
        border: Pack the cells that the border of their field cuts.
        labels: Where the label image of a field lies, * being its name without suffix, such as
            `*_cp_masks` or `segmented/*`; None for NAME_labels or NAME_mask beside it, or NAME in a
            folder labels or masks beside it.
    """

    crop_margin: Annotated[int, Field(ge=0, le=1000)] = 10
    crop_margin_fraction: Annotated[float, Field(ge=0, le=0)] = 0.0
    masks: bool = True
    border: bool = True
    labels: Text | None = Field(default=None, examples=["*_labels"])

    def read_tables(self, root: Path, images: Sequence[Path]) -> FieldTable:
        """Read what is known of each field.

        Args:
            root: The folder of the set.
            images: The files of its fields, in the order of their paths.

        Returns:
            The fields.

        Raises:
            Hep2ganError: The tables are missing or not valid.
        """
        return read_field_tables(root, images)

    def read_fields(self, workers: int | None = None) -> LabelledFields:
        """Read the tables and all label images, without the pixels of the fields.

        Args:
            workers: Number of processes; None for one per core.

        Returns:
            The fields with all their labelled cells, also those that are not packed.

        Raises:
            Hep2ganError: The set is not valid, or no field has a label image.
        """
        root, finder = self.folder, LabelFinder(self.labels)
        images, others = _list_fields(root, finder)
        table = self.read_tables(root, images)
        rows = sorted(table.rows, key=lambda row: natural_key(row.id))
        named = [(row, row.labels or finder.find(row.image)) for row in rows]
        _require_labels(root, [labels for _, labels in named])
        fields, problems = list[LabelledField](), list(table.problems)
        read = partial(_read_field, border=self.border, invert=self.invert_masks)
        for (row, _), field in zip(named, _in_processes(read, named, workers), strict=True):
            if isinstance(field, LabelledField):
                fields.append(field)
            else:
                problems.append(CellError(row.id, field))
        notes = [*table.notes, *_describe_cells(fields, self.border)]
        notes += [f"left out: {others}"] if others else []
        return LabelledFields(tuple(fields), tuple(problems), tuple(notes))

    def read(self, workers: int | None = None) -> RawCells:
        """Read which cells the label images show, and their classes; see `DataSource.read`."""
        found = self.read_fields(workers)
        packed = [
            (field, cell) for field in found.fields for cell in field.cells if not cell.left_out
        ]
        classes = name_ids(cell.pattern for _, cell in packed)
        check_classes(str(self.folder), list(classes))
        specimens = name_ids(field.row.specimen for field, _ in packed)
        cells = [
            RawCell(
                field.cell_id(cell),
                field.row.image,
                field.labels if self.masks else None,
                classes[cell.pattern],
                specimens.get(field.row.specimen, UNKNOWN),
                field.row.intensity,
                field.row.part,
                FieldRegion(
                    cell.region.label, widen_box(cell.region.box, self.crop_margin, field.shape)
                ),
            )
            for field, cell in packed
        ]
        if not cells:
            raise _no_cells(self.folder, found)
        return RawCells(
            f"{pluralize(len(found.fields), 'field')} in {self.folder}, cells cut out with a"
            f" margin of {self.crop_margin} px",
            tuple(classes),
            cells,
            specimens=tuple(specimens),
            problems=found.problems,
            notes=(*found.notes, *describe_classes(list(classes))),
        )


def _no_cells(root: Path, found: LabelledFields) -> Hep2ganError:
    reasons = [f"{problem.id}: {problem.reason}" for problem in found.problems]
    return Hep2ganError(
        f"{root} holds no labelled cell that can be packed",
        "a label image shows a cell, and a table gives it a class",
        "repair these:\n" + bullet_list([*reasons, *found.notes]),
    )


def _list_fields(root: Path, finder: LabelFinder) -> tuple[list[Path], str]:
    """List the fields below a folder, and describe the files that are not read."""
    if not root.is_dir():
        raise Hep2ganError(
            f"{root} {'is a file' if root.is_file() else 'does not exist'}",
            "data.root is the folder of the fields, with their tables",
            "set data.root to it",
        )
    images, others = list[Path](), list[Path]()
    for files in walk_files(root):
        inside = {plain_name(part) for part in files.path.relative_to(root).parts}
        others += files.others
        if inside.isdisjoint({*LABEL_FOLDERS, "overlays"}):
            images += split_labels(files)[0]
    labels = {finder.find(image) for image in images}
    images = sorted(image for image in images if image not in labels)
    if not images:
        but = f", but {describe_others(others)}" if others else ""
        raise Hep2ganError(
            f"{root} holds no fields{but}",
            "fields are PNG, TIFF, BMP or JPEG",
            "set data.root to the folder of the fields",
        )
    return images, describe_others(others)


def _require_labels(root: Path, labels: Sequence[Path | None]) -> None:
    if not any(labels):
        raise Hep2ganError(
            f"none of the {pluralize(len(labels), 'field')} in {root} has a label image",
            "that of NAME.png is NAME_labels.png or NAME_mask.png beside it, or NAME.png in a"
            " folder labels or masks beside it",
            "add them, or say how they are called: data.labels=*_ENDING or data.labels=FOLDER/*",
        )


def _in_processes(
    read: "partial[LabelledField | str]",
    named: Sequence[tuple[FieldRow, Path | None]],
    workers: int | None,
) -> list["LabelledField | str"]:
    if workers is None:
        workers = available_cores() if len(named) >= _FIELDS_FOR_PROCESSES else 1
    with closing(run_chunks(read, named, min(workers, len(named)))) as results:
        return list(results)


def _read_field(
    named: tuple[FieldRow, Path | None], border: bool, invert: bool
) -> LabelledField | str:
    """Read the label image of a field; return what is wrong where that cannot be done."""
    row, path = named
    if path is None:
        return f"{row.image} has no label image. Fix: add it, or move the field away"
    try:
        labels = read_labels(path, _size(row.image), invert)
    except Hep2ganError as error:
        return str(error).rstrip(".")
    regions = find_regions(labels)
    classes = row.classes
    if unknown := sorted((classes or {}).keys() - {region.label for region in regions}):
        return (
            f"a table names cell {unknown[0]} of {row.image}, which {path} does not show."
            " Fix: correct its line"
        )
    least = _SPECK * float(np.median([region.area for region in regions] or [0]))
    cells = []
    for region in regions:
        pattern = row.pattern if classes is None else classes.get(region.label, "")
        reasons = (not pattern, region.at_border and not border, region.area < least)
        why = next((why for why, holds in zip(LEFT_OUT, reasons, strict=True) if holds), "")
        cells.append(FieldCell(region, pattern, why))
    return LabelledField(row, path, (labels.shape[0], labels.shape[1]), tuple(cells))


def _size(image: Path) -> tuple[int, int] | None:
    """Height and width by the header of a file; None where packing must say what is wrong."""
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            is_turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (width, height) if is_turned else (height, width)


def _describe_cells(fields: Sequence[LabelledField], border: bool) -> list[str]:
    """Note what is left out and what is cut by the border."""
    empty = [field.row.id for field in fields if not field.cells]
    notes = [f"label images without cells: {_first(empty)}"] if empty else []
    for why, text in (
        ("no class", "labelled cells have no class and are not packed"),
        ("border", "cells are cut by the border of their field and not packed"),
        (
            "speck",
            f"labelled specks, below {_SPECK:.0%} of their field's median cell, are left out",
        ),
    ):
        found = _ids((f, c) for f in fields for c in f.cells if c.left_out == why)
        notes += [f"{len(found):,} {text}: {_first(found)}"] if found else []
    cut = _ids((f, c) for f in fields for c in f.cells if c.region.at_border and not c.left_out)
    if cut and border:
        notes.append(
            f"{len(cut):,} cells are cut by the border of their field and packed"
            " (data.border=false leaves them out)"
        )
    return notes


def _ids(cells: Iterable[tuple[LabelledField, FieldCell]]) -> list[str]:
    return [field.cell_id(cell) for field, cell in cells]


def _first(names: Sequence[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f", … and {rest:,} more" if rest > 0 else "")
