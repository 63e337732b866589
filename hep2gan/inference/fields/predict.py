"""Predict fields of cells, one after the other, and write what was found of each."""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.image import GreyImage, ImageReading, read_image
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.inference.fields.cells import FOUND, CellSource, FieldCells
from hep2gan.inference.fields.flags import CellFlags, flag_cells
from hep2gan.inference.fields.geojson import feature_collection
from hep2gan.inference.fields.label_images import generated_labels, save_labels
from hep2gan.inference.fields.overlay import Legend, class_color, draw_field, paste_maps
from hep2gan.inference.fields.predictor import FieldPredictor, FieldResult
from hep2gan.inference.fields.specimens import FieldSpecimens
from hep2gan.inference.fields.tables import (
    FLAGS,
    UNLIKE,
    TableWriter,
    answer_columns,
    answer_row,
    cell_columns,
    cell_rows,
    open_table,
)
from hep2gan.inference.predict import (
    InputImage,
    Masks,
    map_ordered,
    require_masks,
    save_png,
    with_own_keys,
)
from hep2gan.io import atomic_write
from hep2gan.statistics.specimens import CellVotes, SpecimenAnswer

_THREADS = 2
_AHEAD = 1
"""Fields that are read, and that are written, beside the one in the networks: memory is theirs."""


@dataclass(frozen=True)
class FieldOptions:
    """What to write of the fields, and how to read them.

    Attributes:
        reading: White level, channel and plane.
        nucleus: Usual diameter of the training's nuclei in px; None if it is not known.
        output: The folder of the results.
        overlays: Whether to draw the cells on each field.
        masks: Whether to write the generated masks, or nothing else.
    """

    reading: ImageReading
    nucleus: float | None
    output: Path
    overlays: bool = True
    masks: Masks = True


@dataclass
class FieldsReport:
    """How many fields are done, and what they say.

    Attributes:
        done: Fields whose results are written.
        cells: Their cells.
        flags: Cells by flag, "unlike_training" among them where the run has limits.
        clear: Cells without a flag.
        found: Fields whose cells were found, not read from a label image.
        without_cells: Fields that have none.
        problems: One message for each field that could not be read.
        specimens: The answer of each specimen, by name.
        divided: Names of the specimens whose fields give different answers.
    """

    done: int = 0
    cells: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    clear: int = 0
    found: int = 0
    without_cells: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    specimens: dict[str, SpecimenAnswer] = field(default_factory=dict)
    divided: list[str] = field(default_factory=list)


class _LoadedField(NamedTuple):
    file: InputImage
    image: GreyImage
    cells: FieldCells


class _UnreadField(NamedTuple):
    file: InputImage
    problem: str


class _DoneField(NamedTuple):
    """One field whose files are written."""

    file: InputImage
    rows: list[dict[str, Any]]
    labels: str
    flags: Counter[str]
    votes: CellVotes


@dataclass
class _Specimen:
    """What the fields of one specimen said so far."""

    votes: CellVotes | None = None
    fields: int = 0
    left_out: int = 0
    unlike: int = 0
    answers: set[int] = field(default_factory=set)

    def add(self, done: "_DoneField") -> None:
        self.votes = done.votes if self.votes is None else self.votes.plus(done.votes)
        self.fields += 1
        self.unlike += done.flags[UNLIKE]
        if (answer := done.votes.answer().by_majority) is not None:
            self.answers.add(answer)


def predict_fields(
    fields: Sequence[InputImage],
    predictor: FieldPredictor,
    source: CellSource,
    specimens: FieldSpecimens,
    options: FieldOptions,
    progress: Callable[[int, int], None],
) -> FieldsReport:
    """Write labels/, masks/, overlays/, geojson/, cells.csv, fields.csv and specimens.csv.

    The files of a field are written when it is done; fields that cannot be read are skipped. Only
    a few fields are in memory, however many there are. With `masks="only"`, NAME_labels.png of the
    generated masks are written alone.

    Args:
        fields: The files, see `find_images`.
        predictor: The networks.
        source: Gives the cells of each field.
        specimens: The specimen of each field.
        options: What to write.
        progress: Called with (fields done, fields in all).

    Returns:
        What was done, and which fields were skipped.

    Raises:
        Hep2ganError: Only masks are wanted, and the networks make none.
    """
    report = FieldsReport()
    require_masks(options.masks, predictor.outputs)
    output, classes = options.output, predictor.classes
    output.mkdir(parents=True, exist_ok=True)
    known = defaultdict[str, _Specimen](_Specimen)
    load = partial(_load, source=source, options=options)
    write = partial(_write, classes=classes, names=specimens.names, options=options)
    with ExitStack() as stack:
        tables = None if options.masks == "only" else _open_tables(stack, predictor, options)
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))
        loaded = stack.enter_context(closing(map_ordered(pool, load, fields, _AHEAD)))
        predicted = stack.enter_context(closing(_run(loaded, predictor)))
        written = stack.enter_context(closing(map_ordered(pool, write, predicted, _AHEAD)))
        for done in written:
            specimen = specimens.names[done.file.path]
            if isinstance(done, _UnreadField):
                report.problems.append(done.problem)
                known[specimen].left_out += 1
            else:
                known[specimen].add(done)
                _add(report, done)
            if tables is not None:
                _write_rows(tables, done, specimen, classes)
            progress(report.done + len(report.problems), len(fields))
        for name, one in known.items():
            answer = None if one.votes is None else one.votes.answer()
            if answer is not None:
                report.specimens[name] = answer
            report.divided += [name] if len(one.answers) > 1 else []
            if tables is not None:
                row = {} if answer is None else answer_row(answer, classes)
                place = {"specimen": name, "fields": one.fields, "fields_left_out": one.left_out}
                flags = {UNLIKE: one.unlike} if one.fields and _has_limit(predictor) else {}
                tables.specimens.write(place | row | flags)
    return report


class _Tables(NamedTuple):
    cells: TableWriter
    fields: TableWriter
    specimens: TableWriter


def _open_tables(stack: ExitStack, predictor: FieldPredictor, options: FieldOptions) -> _Tables:
    answer, limit = answer_columns(predictor.classes), _has_limit(predictor)
    unlike = [UNLIKE] if limit else []
    columns = {
        "cells": cell_columns(
            predictor.classes,
            has_distances=predictor.outputs.distances is not None,
            has_limit=limit,
            has_spread=predictor.outputs.spread is not None,
        ),
        "fields": ["field", "specimen", "labels", *answer, *FLAGS, *unlike, "problem"],
        "specimens": ["specimen", "fields", "fields_left_out", *answer, *unlike],
    }
    return _Tables(
        *(
            stack.enter_context(open_table(options.output / f"{name}.csv", columns[name]))
            for name in _Tables._fields
        )
    )


def _has_limit(predictor: FieldPredictor) -> bool:
    return predictor.outputs.probabilities is not None and predictor.trust.has_limits


def _load(
    file: InputImage, source: CellSource, options: FieldOptions
) -> _LoadedField | _UnreadField:
    try:
        image = read_image(file.path, *options.reading)
        return _LoadedField(file, image, source.of(file.path, image))
    except Hep2ganError as error:
        return _UnreadField(file, str(with_own_keys(error)))


def _run(
    loaded: Iterator[_LoadedField | _UnreadField], predictor: FieldPredictor
) -> Generator[_UnreadField | tuple[_LoadedField, FieldResult]]:
    for each in loaded:
        if isinstance(each, _UnreadField):
            yield each
        else:
            yield each, predictor.predict_field(each.image, each.cells.labels)


def _write(
    predicted: _UnreadField | tuple[_LoadedField, FieldResult],
    classes: Sequence[str],
    names: Mapping[Path, str],
    options: FieldOptions,
) -> _UnreadField | _DoneField:
    """Write the files of one field."""
    if isinstance(predicted, _UnreadField):
        return predicted
    (file, image, (labels, origin)), result = predicted
    output, masks = options.output, options.masks
    flags = flag_cells(image, labels, result.regions, options.nucleus)
    if masks == "only":
        stem = output / file.name.with_name(f"{file.name.name}_labels")
        save_labels(stem, generated_labels(labels, result))
        rows = []
    else:
        save_labels(output / "labels" / file.name, labels)
        if masks and result.masks is not None:
            save_labels(output / "masks" / file.name, generated_labels(labels, result))
        specimen = names[file.path]
        rows = list(cell_rows(str(file.path), specimen, result, flags, classes))
    chances = result.probabilities
    none = np.zeros((len(result.regions), 0), np.float32)
    votes = CellVotes.of_cells(none if chances is None else chances, flags.any)
    if masks != "only":
        path = output / "geojson" / file.name.with_name(f"{file.name.name}.geojson")
        _write_geojson(path, labels, result, flags, classes)
        if options.overlays:
            title = f"{file.name.name}: {describe_answer(votes.answer(), classes)}"
            legend = Legend(classes, title)
            maps = None
            if result.activations is not None:
                maps = paste_maps(image.shape, result.boxes, result.activations)
            picture = draw_field(
                image, labels, result.regions, result.predicted, flags.any, legend, maps
            )
            save_png(output / "overlays" / file.name, picture)
    counts = Counter({name: int(getattr(flags, name).sum()) for name in FLAGS})
    if (unlike := result.measure().unlike) is not None:
        counts[UNLIKE] = int(unlike.sum())
    return _DoneField(file, rows, origin, counts, votes)


def _write_geojson(
    path: Path, labels: Labels, result: FieldResult, flags: CellFlags, classes: Sequence[str]
) -> None:
    predicted = result.predicted
    numbers = [None] * len(result.regions) if predicted is None else predicted.tolist()
    kinds = [None if at is None else (classes[at], class_color(at)) for at in numbers]
    measured = list(_measurements(result, flags, classes))
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, feature_collection(labels, result.regions, kinds, measured))


def _measurements(
    result: FieldResult, flags: CellFlags, classes: Sequence[str]
) -> Iterator[dict[str, float]]:
    """The numbers of each cell, by the names that a viewer shows."""
    measures = result.measure()
    columns: dict[str, npt.NDArray[Any] | None] = {
        "Entropy": measures.entropy,
        "Spread": result.spread,
        "Distance to nearest mean": measures.distance,
        "Unlike training": measures.unlike,
        "Sharpness": flags.sharpness,
    }
    columns |= {name.replace("_", " ").capitalize(): getattr(flags, name) for name in FLAGS}
    for at, region in enumerate(result.regions):
        row = {"Area px": float(region.area)}
        if result.probabilities is not None:
            chances = result.probabilities[at].tolist()
            row |= {f"Probability {n}": round(p, 6) for n, p in zip(classes, chances, strict=True)}
        yield row | {n: round(float(v[at]), 6) for n, v in columns.items() if v is not None}


def _add(report: FieldsReport, done: _DoneField) -> None:
    report.done += 1
    report.cells += done.votes.cells
    report.clear += done.votes.clear
    report.flags += done.flags
    report.found += done.labels == FOUND
    if not done.votes.cells:
        report.without_cells.append(str(done.file.path))


def _write_rows(
    tables: _Tables, done: _UnreadField | _DoneField, specimen: str, classes: Sequence[str]
) -> None:
    if isinstance(done, _UnreadField):
        row = {"field": str(done.file.path), "specimen": specimen, "problem": done.problem}
        tables.fields.write(row)
        return
    for row in done.rows:
        tables.cells.write(row)
    answer = answer_row(done.votes.answer(), classes)
    place = {"field": str(done.file.path), "specimen": specimen, "labels": done.labels}
    tables.fields.write(place | answer | done.flags)


def describe_answer(answer: SpecimenAnswer, classes: Sequence[str]) -> str:
    """Say what the cells of a field or a specimen say together.

    Args:
        answer: The answer.
        classes: K class names; empty without a classifier.

    Returns:
        Such as "Golgi by 18 of 20 cells (90 %, 95 % interval 70–97 %), 4 more do not count".
    """
    cells = pluralize(answer.counted, "cell")
    if answer.by_majority is None or answer.interval is None:
        return cells
    low, high = (round(100 * end) for end in answer.interval)
    votes, share = answer.votes[answer.by_majority], answer.share[answer.by_majority]
    rest = answer.cells - answer.counted
    more = f", {rest} more {'does' if rest == 1 else 'do'} not count" if rest else ""
    return (
        f"{classes[answer.by_majority]} by {votes} of {cells}"
        f" ({round(100 * share)} %, 95 % interval {low}–{high} %){more}"
    )
