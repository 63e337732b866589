"""What a training has logged so far, from its folder: for loggers that begin late or anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hep2gan.io import atomic_open, read_json, write_json
from hep2gan.runs.metrics_csv import logged_before

ALARMS_FILE = "alarms.json"
PICTURES = "pictures"
_CAPTION = "Description"


class Picture(NamedTuple):
    """A picture of a few cells after an epoch.

    Attributes:
        epoch: The epoch, from 0.
        path: The PNG file.
        caption: What it shows.
    """

    epoch: int
    path: Path
    caption: str


class Follower(Protocol):
    """What takes the course of a training."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log one row."""

    def log_alarm(self, kind: str, text: str) -> None:
        """Log an alarm."""

    def log_picture(self, picture: Picture) -> None:
        """Log a picture."""


class Course(NamedTuple):
    """The course of a training up to some batch.

    Attributes:
        rows: Step and values of each logged row.
        pictures: The pictures of the epochs that are complete.
        alarms: The first alarm of each kind.
    """

    rows: list[tuple[int, dict[str, float]]]
    pictures: list[Picture]
    alarms: dict[str, str]

    @classmethod
    def read(cls, folder: Path, batches: int) -> "Course":
        """Read the course from a run's folder.

        Args:
            folder: The run's folder.
            batches: Batches that are done; what was logged of later ones will be logged again.

        Returns:
            The course; empty for a new run.

        Raises:
            Hep2ganError: metrics.csv is damaged.
        """
        rows = list(logged_before(folder / "metrics.csv", batches))
        epochs = {row["epoch"] for _, row in rows if any(n.startswith("train/") for n in row)}
        pictures = [p for p in saved_pictures(folder) if p.epoch in epochs]
        return cls(rows, pictures, saved_alarms(folder) if batches else {})

    def replay(self, logger: Follower) -> None:
        """Log all of it.

        Args:
            logger: A logger that has none of it.
        """
        for step, row in self.rows:
            logger.log_metrics(row, step)
        for picture in self.pictures:
            logger.log_picture(picture)
        for kind, text in self.alarms.items():
            logger.log_alarm(kind, text)


def saved_alarms(folder: Path) -> dict[str, str]:
    """Read the alarms of a run.

    Args:
        folder: The run's folder.

    Returns:
        The first alarm of each kind; none where the file is missing or damaged.
    """
    try:
        found = read_json(folder / ALARMS_FILE)
    except (OSError, ValueError):
        return {}
    return {kind: text for kind, text in found.items() if isinstance(text, str)}


def save_alarm(folder: Path, kind: str, text: str) -> None:
    """Write an alarm into a run's folder, if it is the first of its kind.

    Args:
        folder: The run's folder.
        kind: The kind.
        text: A sentence.
    """
    alarms = saved_alarms(folder)
    if kind not in alarms:
        write_json(folder / ALARMS_FILE, alarms | {kind: text})


def save_picture(folder: Path, epoch: int, image: Image.Image, caption: str) -> Picture:
    """Write the picture of an epoch into a run's folder.

    Args:
        folder: The run's folder.
        epoch: The epoch, from 0.
        image: The picture.
        caption: What it shows; kept within the file.

    Returns:
        The picture as it is read back.
    """
    path = folder / PICTURES / f"epoch{epoch + 1:04d}.png"
    path.parent.mkdir(exist_ok=True)
    notes = PngInfo()
    notes.add_itxt(_CAPTION, caption)
    with atomic_open(path) as file:
        image.save(file, format="PNG", pnginfo=notes)
    return Picture(epoch, path, caption)


def saved_pictures(folder: Path) -> Iterator[Picture]:
    """Yield the pictures of a run in the order of the epochs; damaged files are left out.

    Args:
        folder: The run's folder.

    Yields:
        The pictures.
    """
    for path in sorted((folder / PICTURES).glob("epoch*.png")):
        number = path.stem.removeprefix("epoch")
        try:
            with Image.open(path) as image:
                image.load()
                caption = str(getattr(image, "text", {}).get(_CAPTION, ""))
        except (OSError, ValueError, SyntaxError):
            continue
        if number.isdecimal():
            yield Picture(int(number) - 1, path, caption)
