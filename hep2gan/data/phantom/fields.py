"""Generating synthetic fields of many cells, one by one or as a folder of labelled fields."""

import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from hep2gan.data.fields.regions import Labels
from hep2gan.data.grouping import largest_remainder
from hep2gan.data.patterns import ICPR2016
from hep2gan.data.phantom.field_scene import compose_field, magnify_field, photograph
from hep2gan.data.phantom.folder import SyntheticFolder
from hep2gan.data.phantom.laboratory import Laboratory
from hep2gan.data.phantom.placement import AREA_PER_CELL
from hep2gan.data.phantom.specimens import Specimen, sample_class, specimen_generator
from hep2gan.data.readers.fields import FieldsSource, LabelledFields
from hep2gan.data.readers.source import INTENSITY_NAMES, RawCells
from hep2gan.data.store.pack_worker import run_chunks
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import Progress, available_cores, csv_text, progress_bar
from hep2gan.settings import NonNegative, PositiveInt, Seed, Settings

FIELDS_VERSION = 1
"""Increased when the same settings give other fields than before."""
FIELDS_PER_SPECIMEN = 4
_ALL_CLASSES = FIELDS_PER_SPECIMEN * (len(ICPR2016) - 1) + 1
"""Fields from which on each class has a specimen."""

Side = Annotated[int, Field(ge=128, le=8192)]

_OWN_FILES = re.compile(r"\d{5,}_p\d(_labels)?\.png|fields\.csv|cells\.csv|phantom\.json")
_FILES_BESIDE_FIELDS = 3  # the two tables and the marker
_FIELDS_FOR_PROCESSES = 8  # below, starting processes takes longer than generating


class FieldsPlan(Settings):
    """What synthetic fields depend on.

    Args:
        fields: Number of fields, four of each specimen. All six classes occur from 21 on; from 69
            on each has three specimens, which a split by specimen needs.
        seed: Seed of the random numbers; the specimens of a class are the first ones of
            `data=phantom` with the same seed, so that another seed gives unseen specimens.
        spread: How far specimens differ in stain and optics, as a multiple of the default.
        lab: Number of the laboratory; each other than 0 has other patients, optics and stain.
        width: Width of a field in pixels.
        height: Height of a field in pixels.
        cells_min: Least number of cells of a field; fewer where there is no room for more.
        cells_max: Largest number of cells of a field.
    """

    fields: PositiveInt = 72
    seed: Seed = 0
    spread: NonNegative = 1.0
    lab: Seed = 0
    width: Side = 1388
    height: Side = 1040
    cells_min: PositiveInt = 40
    cells_max: PositiveInt = 120

    def conflict(self) -> Hep2ganError | None:
        """Check that the cells have room; see `Settings.conflict`."""
        room = self.width * self.height // AREA_PER_CELL
        if self.cells_min > self.cells_max:
            return Hep2ganError(
                f"cells_min is {self.cells_min}, cells_max {self.cells_max}",
                "the least number of cells is not above the largest",
                f"set cells_max={self.cells_min}",
            )
        if self.cells_max > room:
            return Hep2ganError(
                f"cells_max is {self.cells_max}",
                f"{self.width} × {self.height} pixels have room for {room} cells",
                f"set cells_max={room} or below, cells_min too, or larger width and height",
            )
        return None


class PhantomFieldsSource(FieldsSource, FieldsPlan):
    """data=phantom_fields: synthetic fields with label images; `is_generated` is true."""

    is_generated: ClassVar[bool] = True

    def conflict(self) -> Hep2ganError | None:
        """Check what both bases check; see `Settings.conflict`."""
        return FieldsPlan.conflict(self) or FieldsSource.conflict(self)

    def read_fields(self, workers: int | None = None) -> LabelledFields:
        """Generate the fields if they are missing, and read them as others.

        Args:
            workers: Number of processes; None for one per core, or one for few fields.

        Returns:
            The fields with all their cells.

        Raises:
            Hep2ganError: As `write_phantom_fields` and `FieldsSource.read_fields` do.
        """
        plan = FieldsPlan(**{name: getattr(self, name) for name in FieldsPlan.model_fields})
        with progress_bar("generating fields") as progress:
            write_phantom_fields(self.folder, plan, workers=workers, progress=progress)
        return super().read_fields(workers)

    def read(self, workers: int | None = None) -> RawCells:
        """Read which cells the fields show; see `DataSource.read`."""
        raw = super().read(workers)
        absent = [pattern.name for pattern in ICPR2016 if pattern.name not in raw.classes]
        note = (
            f"{pluralize(self.fields, 'field')} {'has' if self.fields == 1 else 'have'} no specimen"
            f" of {', '.join(absent)}: from data.fields={_ALL_CLASSES} on all six classes occur"
        )
        return raw._replace(
            source=raw.source.replace(" field", " synthetic field", 1),
            notes=(*raw.notes, *([note] if absent else [])),
        )


class SyntheticField(NamedTuple):
    """A field of cells of one specimen.

    Attributes:
        name: Number of the specimen from 00001, then _p and the number of the field from 0.
        image: uint8 (h, w), grey levels.
        labels: (h, w) label image, 1 to the number of cells.
        label: Class of its cells, 0 to 5.
        specimen: Name of the specimen.
        intensity: 0 intermediate, 1 positive.
        mitotic: Whether each cell divides, by its number less 1; these have no class.
        defocus: Extra blur of each cell, standard deviation in px; 0 in focus.
    """

    name: str
    image: npt.NDArray[np.uint8]
    labels: Labels
    label: int
    specimen: str
    intensity: int
    mitotic: tuple[bool, ...]
    defocus: tuple[float, ...]


def plan_field_specimens(plan: FieldsPlan) -> list[Specimen]:
    """Plan the specimens of fields, sorted by class; their size is their number of fields.

    Args:
        plan: What the fields depend on.

    Returns:
        The specimens, prepared by the laboratory, as many of each class as of any other, or one
        more: the real set's proportions would leave too few of Golgi to split by specimen.

    Raises:
        Hep2ganError: The spread is out of range.
    """
    lab = Laboratory.sample(plan.lab)
    number = -(-plan.fields // FIELDS_PER_SPECIMEN)
    specimens: list[Specimen] = []
    shares = largest_remainder(np.ones(len(ICPR2016)), number)
    for label, share in enumerate(shares.tolist()):
        for specimen in sample_class(lab.seed(plan.seed), label, share, plan.spread):
            first = len(specimens) * FIELDS_PER_SPECIMEN
            size = min(FIELDS_PER_SPECIMEN, plan.fields - first)
            placed = replace(specimen, number=len(specimens), first=first, size=size)
            specimens.append(lab.prepare(placed))
    return specimens


def generate_field(plan: FieldsPlan, specimen: Specimen, position: int) -> SyntheticField:
    """Generate one field; it depends on the settings, its specimen and its position there alone.

    Args:
        plan: What the fields depend on.
        specimen: A specimen of `plan_field_specimens`.
        position: Position of the field in the specimen.

    Returns:
        The field.
    """
    lab = Laboratory.sample(plan.lab)
    rng = specimen_generator(lab.seed(plan.seed), *specimen.key, 3, position)
    shape = (plan.height, plan.width)
    cells = int(rng.integers(plan.cells_min, plan.cells_max + 1))
    scene = compose_field(specimen, cells, lab.unmagnified(shape), rng)
    scene = magnify_field(scene, lab, shape)
    specimen_name = f"{specimen.number + 1:05d}"
    return SyntheticField(
        name=f"{specimen_name}_p{position}",
        image=photograph(scene, specimen, lab, rng),
        labels=scene.labels,
        label=specimen.label,
        specimen=specimen_name,
        intensity=specimen.intensity,
        mitotic=scene.mitotic,
        defocus=scene.defocus,
    )


def write_phantom_fields(
    root: Path, plan: FieldsPlan, *, workers: int | None = None, progress: Progress | None = None
) -> Path:
    """Write synthetic fields into a folder in the layout of labelled fields.

    Files: `00001_p0.png`, `00001_p0_labels.png` (16 bits), …; `fields.csv` (image, specimen, label,
    intensity); `cells.csv` (image, cell, label, mitotic, defocus; a cell that divides has no
    label); and `phantom.json`. The folder appears complete or not at all. Nothing is done if the
    same fields are already there; other synthetic fields are replaced.

    Args:
        root: The folder: missing, empty, or of synthetic fields.
        plan: What the fields depend on.
        workers: Number of processes; None takes one per core from 8 fields on. The pixels do not
            depend on it. Scripts that call this with more than one need `if __name__ ==
            "__main__":`.
        progress: Called in this process with (fields done, fields in all).

    Returns:
        `root`.

    Raises:
        Hep2ganError: `root` holds anything but synthetic fields or cannot be written; and as
            `plan_field_specimens` does.
    """
    if workers is not None and workers < 1:
        raise Hep2ganError(f"workers={workers}", "at least 1 is needed", "leave it out")
    specimens = plan_field_specimens(plan)
    content = SyntheticFolder(
        {"kind": "fields", "version": FIELDS_VERSION, **plan.model_dump()},
        files=2 * plan.fields + _FILES_BESIDE_FIELDS,
        is_own=_OWN_FILES.fullmatch,
        kind="a folder of synthetic fields",
        need="synthetic fields need a writable folder and about 1 MB each",
    )

    def write_files(folder: Path) -> None:
        jobs = [(specimen, position) for specimen in specimens for position in range(specimen.size)]
        processes = workers
        if processes is None:
            processes = available_cores() if len(jobs) >= _FIELDS_FOR_PROCESSES else 1
        written: list[_Rows] = []
        write = partial(_write_field, folder, plan)
        with closing(run_chunks(write, jobs, min(processes, len(jobs)))) as results:
            for rows in results:
                written.append(rows)
                if progress:
                    progress(len(written), len(jobs))
        _write_tables(folder, written)

    return content.write(root, write_files)


class _Rows(NamedTuple):
    """Rows of one field in the tables."""

    field: dict[str, object]
    cells: list[dict[str, object]]


def _write_field(folder: Path, plan: FieldsPlan, job: tuple[Specimen, int]) -> _Rows:
    field = generate_field(plan, *job)
    image, pattern = f"{field.name}.png", ICPR2016[field.label].name
    labels = field.labels.astype(np.uint16)
    for name, pixels in ((image, field.image), (f"{field.name}_labels.png", labels)):
        Image.fromarray(pixels).save(folder / name, compress_level=3)
    cells: list[dict[str, object]] = [
        {
            "image": image,
            "cell": cell,
            "label": "" if mitotic else pattern,
            "mitotic": int(mitotic),
            "defocus": f"{defocus:.2f}",
        }
        for cell, (mitotic, defocus) in enumerate(zip(field.mitotic, field.defocus, strict=True), 1)
    ]
    intensity = INTENSITY_NAMES[field.intensity]
    return _Rows(
        {"image": image, "specimen": field.specimen, "label": pattern, "intensity": intensity},
        cells,
    )


def _write_tables(folder: Path, written: Iterable[_Rows]) -> None:
    fields = [rows.field for rows in written]
    cells = [cell for rows in written for cell in rows.cells]
    for name, table in (("fields.csv", fields), ("cells.csv", cells)):
        text = csv_text(list(table[0]), table)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
