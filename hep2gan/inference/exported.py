"""The folder that hep2gan-export writes, whose description is the same for both formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hep2gan.data.readers.image import ImageReading
from hep2gan.errors import Hep2ganError
from hep2gan.io import file_digest, read_json
from hep2gan.runs.folder import MAX_IMAGE_SIZE, CropGeometry
from hep2gan.runs.trust import Trust

Format = Literal["onnx", "safetensors"]
WEIGHTS: Mapping[Format, str] = {"onnx": "model.onnx", "safetensors": "model.safetensors"}
"""The file of the networks in each format."""
DESCRIPTION, CARD = "model.json", "README.md"
KIND, VERSION = "hep2gan-export", 4
HUB = "hf://"
"""How the name of an export at the hub begins."""
EXPORT_AGAIN = "write it again with hep2gan-export"
_PUSH_AGAIN = "ask its owner to push it again, or name an earlier revision with @REVISION"


@dataclass(frozen=True)
class Export:
    """An exported run.

    Attributes:
        folder: Its folder.
        format: In which its networks are written.
        classes: K class names, in the order of the probabilities; empty without a classifier.
        size: S, the side in pixels of the images that the networks take.
        crops: How large the raw cells of the training are; None if it was not recorded.
        reading: White level, channel and plane of their raw images.
        trust: What the run's test found of how far predictions are to be trusted; None if these
            weights were not tested, or do not classify.
        views: Flips and rotations of an image that the networks average; 1 for none.
        configuration: What the networks are built from, see `hep2gan.inference.configuration`;
            empty for a graph.
        metrics: Results of the test, such as `test/dice`; empty if these weights were not tested.
        origin: hf://USER/NAME@COMMIT where it was downloaded; '' for a folder.
    """

    folder: Path
    format: Format
    classes: tuple[str, ...]
    size: int
    crops: CropGeometry | None
    reading: ImageReading
    trust: Trust | None
    views: int
    configuration: dict[str, Any]
    metrics: dict[str, float]
    origin: str = ""

    @property
    def weights(self) -> Path:
        """The file of the networks."""
        return self.folder / WEIGHTS[self.format]

    @property
    def fix(self) -> str:
        """What helps against damage."""
        return _PUSH_AGAIN if self.origin else EXPORT_AGAIN

    def __str__(self) -> str:
        return self.origin or str(self.folder)


def open_export(folder: Path, origin: str = "") -> Export:
    """Read the description of an export, and check that its weights are those described.

    Args:
        folder: The folder that hep2gan-export wrote.
        origin: hf://USER/NAME@COMMIT where it was downloaded.

    Returns:
        The file of the networks and what predictions need to know of it.

    Raises:
        Hep2ganError: Anything is missing, damaged or of another version.
    """
    export = read_description(folder, origin)
    try:
        whole = file_digest(export.weights) == read_json(folder / DESCRIPTION)["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(folder, origin, error) from error
    if not whole:
        name = export.weights.name
        raise _damaged(folder, origin, f"{name} is not the file that it describes")
    return export


def read_description(folder: Path, origin: str = "") -> Export:
    """Read the description of an export alone, whose weights may not be there yet.

    Args:
        folder: As in `open_export`.
        origin: As in `open_export`.

    Returns:
        What the description says.

    Raises:
        Hep2ganError: It is missing, damaged or of another version.
    """
    try:
        return _parse(read_json(folder / DESCRIPTION), folder, origin)
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(folder, origin, error) from error


def _damaged(folder: Path, origin: str, error: Exception | str) -> Hep2ganError:
    what = f"{DESCRIPTION} lacks {error}" if isinstance(error, KeyError) else error
    return Hep2ganError(
        f"{origin or folder / DESCRIPTION} cannot be used ({what})",
        "an export must be left as it was written",
        _PUSH_AGAIN if origin else EXPORT_AGAIN,
    )


def _parse(found: Mapping[str, Any], folder: Path, origin: str) -> Export:
    if (found.get("format"), found.get("version")) != (KIND, VERSION):
        raise ValueError(f"it is not version {VERSION} of {KIND}")
    formats: dict[object, Format] = {file: name for name, file in WEIGHTS.items()}
    classes, size, weights = found["classes"], found["size"], found["weights"]
    if not isinstance(weights, str) or weights not in formats:
        raise ValueError(f"weights is none of {', '.join(WEIGHTS.values())}")
    names = tuple(map(str, classes)) if isinstance(classes, list) else None
    if names is None or len(set(names)) < len(names):
        raise ValueError("classes must be names, each once")
    if type(size) is not int or not 0 < size <= MAX_IMAGE_SIZE:
        raise ValueError(f"size is {str(size)[:40]}, must be in 1..{MAX_IMAGE_SIZE}")
    if type(views := found["views"]) is not int or views < 1:
        raise ValueError("views is no number from 1")
    configuration, metrics = found["configuration"], found["test_metrics"]
    if not isinstance(configuration, dict) or not isinstance(metrics, dict):
        raise ValueError("configuration or test_metrics is no mapping")
    if any(type(value) not in (int, float) for value in metrics.values()):
        raise ValueError("a result of the test is no number")
    crops = CropGeometry.parse(found["crops"])
    reading = _reading(*(found[name] for name in ImageReading._fields))
    judged = found["trust"]
    return Export(
        folder=folder,
        format=formats[weights],
        classes=names,
        size=size,
        crops=crops,
        reading=reading,
        trust=None if judged is None else Trust.parse(judged).require_classes(names),
        views=views,
        configuration=configuration,
        metrics=metrics,
        origin=origin,
    )


def _reading(white: Any, channel: Any, plane: Any) -> ImageReading:
    if any(type(number) not in (int, type(None)) for number in (white, plane)):
        raise ValueError("white_level or plane is no whole number")
    if type(channel) not in (int, str, type(None)):
        raise ValueError("channel is no name or number")
    return ImageReading(white, channel, plane)
