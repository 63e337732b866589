"""What a run keeps to tell how far its prediction for a cell is to be trusted: trust.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json, write_json

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Part = Literal["validation", "test"]


@dataclass(frozen=True, kw_only=True)
class UnlikeLimits:
    """From where on a cell is unlike the training: too far from all means, or too undecided.

    Attributes:
        quantile: Share of the cells that the limits were chosen on which lie within each.
        entropy: Largest entropy of the probabilities at the run's temperature, in [0, 1].
        squared: Largest squared distance of features to the nearest mean; None without a mixture.
        false_alarms: Share of test cells beyond a limit that they did not help to choose; None
            where they could not be halved.
        false_alarms_unseen: The same of test cells whose specimen has no cell in training.
        unseen_cells: Number of those cells.
        unseen_specimens: Number of their specimens.
    """

    quantile: Share
    entropy: Share
    squared: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    false_alarms: Share | None
    false_alarms_unseen: Share | None
    unseen_cells: Count
    unseen_specimens: Count


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What trust.json holds.

    Attributes:
        classes: K class names, in the order of the probabilities.
        checkpoint: The checkpoint file that was tested, as `RunFolder.name_checkpoint` names it;
            None for a forest.
        part: The part that temperature and limits were chosen on. With "test" the errors and false
            alarms below are cross-fitted: each half of the specimens by the other half's choice.
        cells: Number of its cells.
        specimens: Number of its specimens; None where any is unknown.
        temperature: Probabilities p become softmax(log p / temperature); 1 where too few cells
            chose it, or where scaling did not lower the calibration error below.
        calibration_error: Expected calibration error of the test cells as the network leaves them.
        calibration_error_scaled: The same at a temperature that they did not help to fit; None
            where they could not be halved.
        error: Share of test cells that are misclassified, the area of trust by chance.
        aurc: Area under the risk–coverage curve of the test cells, most probable class first.
        aurc_ideal: The area where every error comes last.
        risk: (coverage, risk) at 5 %, 10 %, … 100 % of the test cells.
        unlike: The limits of cells like the training's; None without them.
        no_limits: Why there are none, in words; '' where there are.
    """

    classes: list[str]
    checkpoint: str | None
    part: Part
    cells: Annotated[int, Field(ge=1)]
    specimens: Count | None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    calibration_error: Share
    calibration_error_scaled: Share | None
    error: Share
    aurc: Share
    aurc_ideal: Share
    risk: list[tuple[Share, Share]]
    unlike: UnlikeLimits | None
    no_limits: str

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def chosen_on(self) -> str:
        """Of how many cells of which part temperature and limits are, in words."""
        of = f" of {self.specimens:,} specimens" if self.specimens else ""
        return f"{self.cells:,} {self.part} cells{of}"

    def to_plain(self) -> dict[str, Any]:
        """Return the attributes in plain containers."""
        return asdict(self)

    @classmethod
    def parse(cls, found: object) -> "Trust":
        """Read plain containers.

        Args:
            found: What `to_plain` returned.

        Returns:
            The facts.

        Raises:
            ValueError: It is anything else.
        """
        try:
            return TypeAdapter(cls).validate_python(found)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {first['msg']}") from error

    def require_classes(self, classes: Sequence[str]) -> "Trust":
        """Check that these are the facts of a run with such classes.

        Args:
            classes: K class names of the run.

        Returns:
            The same facts.

        Raises:
            Hep2ganError: They are not.
        """
        if self.classes != list(classes):
            raise Hep2ganError(
                f"trust.json is of the classes {', '.join(self.classes)}",
                f"the run has {', '.join(classes)}",
                "run hep2gan-evaluate on the run again, which writes it anew",
            )
        return self

    def save(self, path: Path) -> None:
        """Write trust.json.

        Args:
            path: The file.
        """
        write_json(path, self.to_plain())

    @classmethod
    def load(cls, path: Path) -> "Trust | None":
        """Read trust.json.

        Args:
            path: The file.

        Returns:
            The facts; None if there is no such file: the run was not tested, or does not classify.

        Raises:
            Hep2ganError: If it is damaged.
        """
        if not path.exists():
            return None
        try:
            return cls.parse(read_json(path))
        except ValueError as error:
            raise Hep2ganError(
                f"{path} cannot be read ({error})",
                "it is left as the test wrote it",
                f"run hep2gan-evaluate {path.parent}, which writes it again",
            ) from error
