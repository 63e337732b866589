"""How a run does on whole fields with true cells: fields.json in a test's folder in external/."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import read_json, write_json
from hep2gan.runs.folder import RunFolder

FIELDS, FIELDS_TABLE, FIELDS_FIGURE = "fields.json", "fields.csv", "fields"
"""Names of the scores, of the scores by field, and of the figure without its ending."""
_NAMED = 3
"""Fields that are named when they are left out."""
Ends = tuple[float, float]
"""Both ends of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """True cells that were found, at one IoU.

    Attributes:
        iou: Smallest IoU of a true cell and the one found for it.
        matched: True cells that were found (TP).
        extra: Found cells that are no true one (FP).
        missed: True cells that were not found (FN).
        average_precision: TP / (TP + FP + FN) over all fields.
        interval: Its interval over specimens, or over fields where they are unknown; None if one
            cannot be determined.
        f1: 2 TP / (2 TP + FP + FN) over all fields.
    """

    iou: float
    matched: int
    extra: int
    missed: int
    average_precision: float
    interval: Ends | None
    f1: float


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Classes of the cells that were found, beside those of the same cells cut out by their truth.

    Attributes:
        cells: True cells, found or not.
        matched: True cells that were found.
        right: Those of them whose class is right, cut out as they were found.
        right_on_true: Those of them whose class is right, cut out by their true outlines.
        all_right_on_true: True cells, found or not, whose class is right by their true outlines.
        accuracy: `right / matched`.
        accuracy_on_true: `right_on_true / matched`.
        accuracy_of_all: `all_right_on_true / cells`.
        found_and_right: `right / cells`.
        difference: `accuracy - accuracy_on_true`.
        accuracy_interval: Interval of `accuracy`, as that of `Detection`.
        difference_interval: Interval of `difference`, as that of `Detection`.
    """

    cells: int
    matched: int
    right: int
    right_on_true: int
    all_right_on_true: int
    accuracy: float | None
    accuracy_on_true: float | None
    accuracy_of_all: float
    found_and_right: float
    difference: float | None
    accuracy_interval: Ends | None
    difference_interval: Ends | None


@dataclass(frozen=True, kw_only=True)
class ClassOfFields:
    """The true cells of one class.

    Attributes:
        cells: True cells.
        matched: Those that were found.
        right: Those of `matched` whose class is right as found; None without a classifier.
        right_on_true: Those of `matched` whose class is right by their true outlines; likewise.
    """

    cells: int
    matched: int
    right: int | None
    right_on_true: int | None


@dataclass(frozen=True, kw_only=True)
class SpecimenAnswers:
    """What all found cells of one specimen say together.

    Attributes:
        specimen: Its name.
        label: Its class.
        cells: Cells found in its fields, also those that match no true one.
        by_majority: Class of most cells; None if none was found.
        by_probability: Class of the highest mean probability; likewise.
    """

    specimen: str
    label: str
    cells: int
    by_majority: str | None
    by_probability: str | None


@dataclass(frozen=True, kw_only=True)
class Specimens:
    """Answers for specimens.

    Attributes:
        answers: Those whose cells are of one class.
        right_by_majority: Share whose majority vote is right.
        right_by_probability: Share whose mean probability is right.
        majority_interval: Wilson interval of `right_by_majority` over specimens.
        probability_interval: Wilson interval of `right_by_probability` over specimens.
        of_several_classes: Specimens with cells of several classes, which are left out.
    """

    answers: tuple[SpecimenAnswers, ...]
    right_by_majority: float
    right_by_probability: float
    majority_interval: Ends
    probability_interval: Ends
    of_several_classes: int


@dataclass(frozen=True, kw_only=True)
class CellsLeftOut:
    """True cells that are not scored.

    Attributes:
        cells: Their number.
        found: How many were found at IoU 0.5.
    """

    cells: int
    found: int


@dataclass(frozen=True, kw_only=True)
class FieldScores:
    """Scores over all fields of a test.

    Attributes:
        fields: Number of fields.
        detection: At each IoU, the lowest first.
        outline_dice: Mean Dice of the outlines of found cells and their true ones; None if none
            matches.
        mask_dice: Mean Dice of the masks that the generator makes of found cells and the true
            ones; None without a generator, or if none matches.
        classification: Of their classes; None without a classifier.
        classes: The true cells by class of the run.
        specimens: Answers for specimens; None without a classifier, or where none is known.
        left_out: True cells that are not scored, by reason.
    """

    fields: int
    detection: tuple[Detection, ...]
    outline_dice: float | None
    mask_dice: float | None
    classification: Classification | None
    classes: dict[str, ClassOfFields]
    specimens: Specimens | None
    left_out: dict[str, CellsLeftOut]


@dataclass(frozen=True, kw_only=True)
class FieldsTest:
    """What fields.json holds.

    Attributes:
        finder: Class that found the cells.
        diameter: Usual diameter of a nucleus in px that it was told; None if not known.
        margin: Pixels around a found cell in its crop.
        true_margin: Pixels around a true cell in its crop.
        left_out: Fields that are not scored, with the reason.
        scores: The scores.
        rule: What counts, in words.
    """

    finder: str
    diameter: float | None
    margin: int
    true_margin: int
    left_out: dict[str, str]
    scores: FieldScores
    rule: str

    def lines(self) -> list[str]:
        """Say in words what was found, and how its classes compare with those of true crops.

        Returns:
            One line or more.
        """
        scores = self.scores
        size = "" if self.diameter is None else f" for nuclei of {self.diameter:.0f} px"
        lines = [f"{pluralize(scores.fields, 'field')}, cells found by {self.finder}{size}"]
        for name, reason in list(self.left_out.items())[:_NAMED]:
            lines.append(f"left out: field {name}, {reason}")
        if (more := len(self.left_out) - _NAMED) > 0:
            lines.append(f"left out: {pluralize(more, 'other field')}, see {FIELDS}")
        for one in scores.detection:
            ends = f" (95 % interval {_ends(one.interval)})" if one.interval else ""
            lines.append(
                f"at IoU {one.iou}: average precision {one.average_precision:.3f}{ends}, "
                f"F1 {one.f1:.3f}; {one.matched:,} of {one.matched + one.missed:,} cells found, "
                f"{one.extra:,} found that are none"
            )
        dice = [("outline", scores.outline_dice), ("generated mask", scores.mask_dice)]
        known = [f"{name} {value:.3f}" for name, value in dice if value is not None]
        if known:
            lines.append(f"Dice of found cells: {', '.join(known)}")
        lines += _class_lines(scores.classification)
        if (specimens := scores.specimens) is not None:
            count = len(specimens.answers)
            majority, probability = (
                sum(getattr(one, rule) == one.label for one in specimens.answers)
                for rule in ("by_majority", "by_probability")
            )
            lines.append(
                f"{pluralize(count, 'specimen')}: {majority} right by the vote of their cells "
                f"(95 % interval {_ends(specimens.majority_interval)}), {probability} by the mean "
                f"probability ({_ends(specimens.probability_interval)})"
            )
        lines += [
            f"not scored: {pluralize(one.cells, 'cell')} {reason}, {one.found} of them found"
            for reason, one in scores.left_out.items()
        ]
        return lines

    def save(self, folder: Path) -> None:
        """Write fields.json.

        Args:
            folder: Folder of the test.
        """
        write_json(folder / FIELDS, asdict(self))


def _class_lines(found: Classification | None) -> list[str]:
    if found is None or found.accuracy is None:
        return []
    assert found.accuracy_on_true is not None
    assert found.difference is not None
    ends = found.difference_interval
    interval = f" (95 % interval {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f})" if ends else ""
    return [
        f"accuracy of found cells {found.accuracy:.3f}, of the same cells cut out by their true "
        f"outlines {found.accuracy_on_true:.3f}: {100 * found.difference:+.1f} points{interval}",
        f"accuracy of all true cells {found.accuracy_of_all:.3f}; "
        f"found and right: {found.found_and_right:.3f} of them",
    ]


def _ends(interval: Ends) -> str:
    return "–".join(f"{end:.3f}" for end in interval)


def fields_test(run: Path, name: str) -> FieldsTest | None:
    """Read how a run did on the fields of a set.

    Args:
        run: The run's folder.
        name: Name of the test.

    Returns:
        The test; None if it was of single cells alone.

    Raises:
        Hep2ganError: If the file is damaged.
    """
    path = RunFolder(run).external / name / FIELDS
    if not path.exists():
        return None
    try:
        return TypeAdapter(FieldsTest).validate_python(read_json(path))
    except (ValueError, ValidationError) as error:
        raise Hep2ganError(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]})",
            "",
            f"run hep2gan-evaluate with as={name} and cells=... again, or delete {path.parent}",
        ) from error
