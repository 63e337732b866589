"""How a run does on whole fields with true cells: fields.json in a test's folder in external/."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json, write_json
from hep2gan.runs.folder import RunFolder

FIELDS, FIELDS_TABLE, FIELDS_FIGURE = "fields.json", "fields.csv", "fields"
"""Names of the scores, of the scores by field, and of the figure without its ending."""
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

    def save(self, folder: Path) -> None:
        """Write fields.json.

        Args:
            folder: Folder of the test.
        """
        write_json(folder / FIELDS, asdict(self))


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
