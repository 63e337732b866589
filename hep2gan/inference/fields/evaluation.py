"""Find the cells of labelled fields, predict them, and hold both against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hep2gan.data.external import ExternalSet
from hep2gan.data.fields.finder import CellFinder
from hep2gan.data.fields.labels import read_labels
from hep2gan.data.fields.regions import Labels
from hep2gan.data.readers.fields import FieldsSource, LabelledField
from hep2gan.data.readers.image import GreyImage, ImageReading, read_image
from hep2gan.data.readers.source import DataSource
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.inference.fields.cells import find_cells
from hep2gan.inference.fields.flags import flag_cells
from hep2gan.inference.fields.overlay import stretch_contrast
from hep2gan.inference.fields.predictor import FieldPredictor
from hep2gan.io import Progress, atomic_open, atomic_write, csv_text
from hep2gan.metrics.fields import (
    MATCHED,
    STRICT,
    ScoredField,
    TrueCell,
    field_row,
    mask_dice,
    score_fields,
    worst_and_best,
)
from hep2gan.metrics.instances import average_precision, match_instances
from hep2gan.runs.fields import FIELDS_FIGURE, FIELDS_TABLE, FieldsTest
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.specimens import CellVotes

OTHER_CLASS = "of a class that the run lacks"
NOT_PACKED = "damaged or implausible, and not packed"
LEFT_OUT_WORDS = {
    "no class": "without a class in the set",
    "border": "at the border of their field",
    "speck": "far smaller than the others",
}
"""Why a true cell is not scored, by what the reader calls it."""
_RULE = (
    "A field is scored unless a cell of it was in training. A true cell is scored if it is one of "
    "the tested cells of external.json; every other one is left out, and so is a found cell that "
    "matches one of these, or has more than half of its pixels on them. Classes are compared for "
    "pairs of IoU 0.5 or more. The answer for a specimen is of all cells that are found in its "
    "fields and have no flag, or of all of them where each has one."
)


@dataclass(frozen=True, kw_only=True)
class FieldMethod:
    """How the cells of a field are found and predicted.

    Attributes:
        finder: Finds them.
        name: Name of what finds them.
        predictor: Cuts them out and predicts them.
        nucleus: Usual diameter of a nucleus of the training in px; None if not known.
        diameter: The same for `finder`; None also where sizes vary widely.
        margin: Pixels that `predictor` leaves around a cell.
        reading: How the fields are read.
        invert_masks: Whether cells are the background of binary masks.
    """

    finder: CellFinder
    name: str
    predictor: FieldPredictor
    nucleus: float | None
    diameter: float | None
    margin: int
    reading: ImageReading
    invert_masks: bool = False

    def find(self, image: GreyImage, field: LabelledField) -> Labels:
        """Find the cells of a field.

        Args:
            image: float32 (h, w) grey levels on the 0 to 255 scale.
            field: The field.

        Returns:
            int32 (h, w) label image.
        """
        return find_cells(self.finder, image, self.diameter, field.row.image)


class TestedCells:
    """The cells of a set as the test on their true crops has them.

    Args:
        cells: What the test chose.
        predictions: Its predictions.
    """

    __test__ = False  # pytest would collect it as a test class

    def __init__(self, cells: ExternalSet, predictions: Predictions) -> None:
        classified = predictions.probabilities is not None
        predicted = predictions.predicted.tolist() if classified else [None] * len(predictions.id)
        rows = zip(predictions.id.tolist(), predictions.label.tolist(), predicted, strict=True)
        self._tested = {cell: TrueCell(label, guess) for cell, label, guess in rows}
        self._trained = {cell for cell, _ in cells.identical or ()}
        without_partner = cells.store.label < 0
        self._other_class = set(cells.store.id[without_partner].tolist())

    def count_trained(self, field: LabelledField) -> int:
        """Count the cells of a field whose images were in training.

        Args:
            field: The field.
        """
        return sum(field.cell_id(cell) in self._trained for cell in field.cells)

    def choose(self, field: LabelledField) -> tuple[dict[int, TrueCell], dict[int, str]]:
        """Tell the cells of a field that are scored from those that are not.

        Args:
            field: The field.

        Returns:
            The cells that are scored by their number, and why the others are not.
        """
        scored, left_out = {}, {}
        for cell in field.cells:
            name, number = field.cell_id(cell), cell.region.label
            if name in self._tested:
                scored[number] = self._tested[name]
            elif cell.left_out:
                left_out[number] = LEFT_OUT_WORDS[cell.left_out]
            else:
                left_out[number] = OTHER_CLASS if name in self._other_class else NOT_PACKED
        return scored, left_out


@dataclass(frozen=True, kw_only=True)
class FieldsEvaluation:
    """What was found in all fields of a set.

    Attributes:
        test: The scores.
        fields: The fields that are scored.
        shown: The worst field and the best, as files.
        method: What found the cells.
    """

    test: FieldsTest
    fields: tuple[ScoredField, ...]
    shown: tuple[LabelledField, ...]
    method: FieldMethod

    def write(self, folder: Path, *, figures: bool = True) -> None:
        """Write fields.json, fields.csv and the figure.

        Args:
            folder: Folder of the test.
            figures: Whether the worst and the best field are plotted.
        """
        self.test.save(folder)
        rows = [field_row(field) for field in self.fields]
        columns = dict.fromkeys(name for row in rows for name in row)
        atomic_write(folder / FIELDS_TABLE, csv_text(list(columns), rows))
        if not figures:
            return
        # Here, so that other commands start without the libraries that plot.
        from hep2gan.reports.figures.catalogue import render_figure
        from hep2gan.reports.figures.fields import FieldExample, plot_fields

        scored = {field.name: field for field in self.fields}
        examples = []
        kinds = ("Worst field", "Best field") if len(self.shown) > 1 else ("Field",)
        for kind, shown in zip(kinds, self.shown, strict=True):
            image, truth = _read(shown, self.method)
            own = scored[shown.row.id]
            value = average_precision(own.matches)
            words = f"{kind}, {shown.row.id}: average precision {value:.3f} at IoU {MATCHED}"
            examples.append(
                FieldExample(
                    words,
                    stretch_contrast(image),
                    truth,
                    self.method.find(image, shown),
                    set(own.left_out),
                )
            )
        figure = plot_fields(examples)
        (folder / "figures").mkdir(exist_ok=True)
        for form in ("png", "pdf"):
            with atomic_open(folder / "figures" / f"{FIELDS_FIGURE}.{form}") as file:
                file.write(render_figure(figure, form))


def require_fields(source: DataSource) -> FieldsSource:
    """Check that a set is of whole fields with label images.

    Args:
        source: Settings of the set.

    Returns:
        The same settings.

    Raises:
        Hep2ganError: It is of images of single cells, or `data.root` is not set.
    """
    if not isinstance(source, FieldsSource):
        raise Hep2ganError(
            f"data.name={source.name} is a set of single cells",
            "cells= finds the cells of whole fields that have label images",
            "leave cells out, or name fields: data=fields data.root=FOLDER",
        )
    _ = source.folder  # Packed cells alone are not enough: the fields themselves are read.
    return source


def evaluate_fields(
    fields: Sequence[LabelledField],
    tested: TestedCells,
    method: FieldMethod,
    classes: Sequence[str],
    true_margin: int,
    progress: Progress,
) -> FieldsEvaluation:
    """Find and predict the cells of all fields of a set, one field after another.

    Args:
        fields: The fields.
        tested: Its cells.
        method: What finds and predicts.
        classes: K class names of the run.
        true_margin: Pixels around a true cell in its crop.
        progress: Called with the fields that are done and their number.

    Returns:
        The scores.

    Raises:
        Hep2ganError: No field is left to score.
    """
    scored: list[ScoredField] = []
    left_out: dict[str, str] = {}
    for number, field in enumerate(fields, 1):
        found = _score(field, tested, method)
        if isinstance(found, str):
            left_out[field.row.id] = found
        else:
            scored.append(found)
        progress(number, len(fields))
    if not scored:
        name, reason = next(iter(left_out.items()))
        raise Hep2ganError(
            f"no field of {pluralize(len(fields), 'field')} can be scored ({name}: {reason})",
            "fields with truth are scored if none of their cells was in training",
            "test on other fields",
        )
    by_name = {field.row.id: field for field in fields}
    chosen = dict.fromkeys(worst_and_best(scored))
    return FieldsEvaluation(
        test=FieldsTest(
            finder=method.name,
            diameter=method.diameter,
            margin=method.margin,
            true_margin=true_margin,
            left_out=left_out,
            scores=score_fields(scored, classes),
            rule=_RULE,
        ),
        fields=tuple(scored),
        shown=tuple(by_name[scored[place].name] for place in chosen),
        method=method,
    )


def _score(field: LabelledField, tested: TestedCells, method: FieldMethod) -> ScoredField | str:
    """Score one field, or say why it is left out."""
    if trained := tested.count_trained(field):
        return f"{trained} of its {pluralize(len(field.cells), 'cell')} were in training"
    cells, left_out = tested.choose(field)
    if left_out and not cells:
        return "none of its cells is tested"
    try:
        image, truth = _read(field, method)
    except Hep2ganError as error:
        return error.fact
    found = method.find(image, field)
    result = method.predictor.predict_field(image, found)
    matches = match_instances(truth, found, MATCHED, left_out.keys())
    place = {region.label: number for number, region in enumerate(result.regions)}
    predicted, votes = {}, None
    if result.probabilities is not None:
        guesses = result.probabilities.argmax(axis=1) if place else []
        predicted = {label: int(guesses[number]) for label, number in place.items()}
        flags = flag_cells(image, found, result.regions, method.nucleus)
        votes = CellVotes.of_cells(result.probabilities, flags.any)
    masks = {}
    if result.masks is not None:
        for pair in matches.pairs:
            one = place[pair.found]
            masks[pair.truth] = mask_dice(truth, pair.truth, result.boxes[one], result.masks[one])
    return ScoredField(
        name=field.row.id,
        specimen=field.row.specimen,
        cells=cells,
        left_out=left_out,
        matches=matches,
        strict=match_instances(truth, found, STRICT, left_out.keys()),
        predicted=predicted,
        votes=votes,
        mask_dice=masks,
    )


def _read(field: LabelledField, method: FieldMethod) -> tuple[GreyImage, Labels]:
    image = read_image(field.row.image, *method.reading)
    return image, read_labels(field.labels, (image.shape[0], image.shape[1]), method.invert_masks)
