"""Inference with ONNX Runtime, without torch, on the folder that hep2gan-export writes."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hep2gan.data.readers.image import ImageReading
from hep2gan.errors import Hep2ganError
from hep2gan.inference.predict import BackendOutput
from hep2gan.io import file_digest, read_json
from hep2gan.runs.folder import CropGeometry

GRAPH, DESCRIPTION, CARD = "model.onnx", "model.json", "MODEL_CARD.md"
FORMAT, VERSION = "hep2gan-onnx", 4
_EXPORT_AGAIN = "write it again with hep2gan-export"
Device = Literal["auto", "cpu", "gpu"]
_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class ExportedModel(NamedTuple):
    """An exported run.

    Attributes:
        graph: The ONNX file.
        classes: K class names, in the order of the probabilities; empty without a classifier.
        size: S, the side in pixels of the images that the graph takes.
        crops: How large the raw cells of the training are; None if it was not recorded.
        reading: White level, channel and plane of their raw images.
        views: Flips and rotations of an image that the graph averages; 1 for none.
    """

    graph: Path
    classes: tuple[str, ...]
    size: int
    crops: CropGeometry | None
    reading: ImageReading
    views: int


def open_export(folder: Path) -> ExportedModel:
    """Read the description of an export, and check its graph's checksum.

    Args:
        folder: The folder that hep2gan-export wrote.

    Returns:
        The graph's file and what predictions need to know of it.

    Raises:
        Hep2ganError: Anything is missing, damaged or of another version.
    """
    file = folder / DESCRIPTION
    try:
        description = read_json(file)
        if (description.get("format"), description.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"it is not version {VERSION} of {FORMAT}")
        classes, size = description["classes"], description["size"]
        if not isinstance(classes, list) or type(size) is not int or size < 1:
            raise ValueError("classes or size are missing")
        views = description["views"]
        if type(views) is not int or views < 1:
            raise ValueError("views is no number from 1")
        if file_digest(folder / GRAPH) != description["sha256"]:
            raise ValueError(f"{GRAPH} is not the graph that it describes")
        crops = CropGeometry.parse(description["crops"])
        white, channel, plane = (description[name] for name in ImageReading._fields)
        if any(type(number) not in (int, type(None)) for number in (white, plane)):
            raise ValueError("white_level or plane is no whole number")
        if type(channel) not in (int, str, type(None)):
            raise ValueError("channel is no name or number")
        reading = ImageReading(white, channel, plane)
        return ExportedModel(folder / GRAPH, tuple(map(str, classes)), size, crops, reading, views)
    except (OSError, ValueError, KeyError) as error:
        raise Hep2ganError(
            f"{file} cannot be used ({error})",
            "an export must be left as it was written",
            _EXPORT_AGAIN,
        ) from error


def onnx_package(name: str) -> ModuleType:
    """Import one of the optional ONNX packages.

    Args:
        name: Name of the module.

    Returns:
        The module.

    Raises:
        Hep2ganError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Hep2ganError(
            f"the package {name} cannot be imported ({error})",
            "ONNX is an optional extra",
            'pip install "hep2gan[onnx]"',
        ) from error


class OnnxBackend:
    """Run an exported graph.

    Args:
        graph: The ONNX file.
        accelerator: "cpu", "gpu", or "auto" for a GPU where ONNX Runtime has one.
        views: Flips and rotations of an image that the graph averages.

    Raises:
        Hep2ganError: onnxruntime is missing, it cannot use a GPU, or the file is no graph.
    """

    def __init__(self, graph: Path, accelerator: Device = "auto", views: int = 1) -> None:
        self._views = views
        runtime = onnx_package("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        # Its threads would spin between operations, on cores that files are read on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(accelerator, runtime.get_available_providers())
        try:
            self._session = runtime.InferenceSession(graph, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no class
            reason = str(error).splitlines()[0]
            raise Hep2ganError(
                f"{graph} is no graph that runs ({reason})", "", _EXPORT_AGAIN
            ) from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify a batch.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).

        Returns:
            The masks and probabilities that the graph has.
        """
        inputs = {"image": image, "levels": levels}
        outputs = self._session.run(None, {name: inputs[name] for name in self._inputs})
        return BackendOutput(**dict(zip(self._outputs, outputs, strict=True)))

    def single_view(self) -> "OnnxBackend | None":
        """Return the graph itself, or None if it averages views, which cannot be left out."""
        return self if self._views == 1 else None


def _providers(accelerator: Device, available: list[str]) -> list[str]:
    if accelerator == "gpu" and _PROVIDERS["gpu"] not in available:
        raise Hep2ganError(
            "ONNX Runtime has no GPU here",
            "that needs the package onnxruntime-gpu and a GPU",
            "set accelerator=cpu",
        )
    names = ("cpu",) if accelerator == "cpu" else ("gpu", "cpu")
    return [_PROVIDERS[name] for name in names if _PROVIDERS[name] in available]
