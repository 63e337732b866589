"""Tests of a finished run on other labelled sets, in the folder external/ of the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json, write_json
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions

FACTS = "external.json"


@dataclass(frozen=True, kw_only=True)
class ExternalTest:
    """What external.json holds of one test.

    Attributes:
        store: Folder of the packed set.
        data: Name of the set in its configuration.
        fingerprint: Fingerprint of the packed set.
        synthetic: Whether its cells are synthetic.
        checkpoint: Name of the checkpoint file; None for a forest.
        cells: Cells of the set.
        tested: Cells that the metrics are of.
        classes: For each class of the set that has a partner, the class of the run.
        left_out: Cells of each class of the set without a partner.
        absent: Classes of the run without a tested cell.
        identical: (id, id of a training cell) of cells left out since their image was in training;
            None if the training cells could not be read.
        rule: How predictions are scored, in words.
    """

    store: str
    data: str
    fingerprint: str
    synthetic: bool
    checkpoint: str | None
    cells: int
    tested: int
    classes: dict[str, str]
    left_out: dict[str, int]
    absent: list[str]
    identical: list[tuple[str, str]] | None
    rule: str

    def save(self, folder: Path) -> None:
        """Write external.json.

        Args:
            folder: Folder of the test.
        """
        write_json(folder / FACTS, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "ExternalTest":
        """Read external.json.

        Args:
            folder: Folder of the test.

        Raises:
            Hep2ganError: If it is missing or damaged.
        """
        try:
            found: Mapping[str, Any] = read_json(folder / FACTS)
            return TypeAdapter(cls).validate_python(found)
        except (ValueError, ValidationError) as error:
            raise Hep2ganError(
                f"{folder / FACTS} cannot be read ({' '.join(str(error).split())[:200]})",
                "",
                f"run hep2gan-evaluate with as={folder.name} again, or delete {folder}",
            ) from error


def external_tests(run: Path) -> dict[str, ExternalTest]:
    """Read what a run was tested on besides its own test cells.

    Args:
        run: The run's folder.

    Returns:
        The tests by name, in order; empty without any.

    Raises:
        Hep2ganError: If a file is damaged.
    """
    folder = RunFolder(run).external
    # Names that begin with a dot are of a test that was interrupted.
    names = sorted(path.parent.name for path in folder.glob(f"[!.]*/{FACTS}"))
    return {name: ExternalTest.load(folder / name) for name in names}


def external_predictions(run: Path, name: str) -> Predictions:
    """Load the predictions of a test.

    Args:
        run: The run's folder.
        name: Name of the test.

    Raises:
        Hep2ganError: If the file is missing, damaged or inconsistent.
    """
    return Predictions.load(RunFolder(RunFolder(run).external / name).predictions_file)
