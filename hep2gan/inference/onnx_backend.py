"""The folder that hep2gan-export writes, and running its graph with ONNX Runtime, without torch."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.inference.backend import BackendOutput
from hep2gan.io import file_digest, read_json

GRAPH, DESCRIPTION, CARD = "model.onnx", "model.json", "MODEL_CARD.md"
FORMAT, VERSION = "hep2gan-onnx", 1
_AGAIN = "write it again with hep2gan-export"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class ExportedModel:
    """An exported run. classes: in the order of the probabilities, empty without a classifier."""

    folder: Path
    classes: tuple[str, ...]
    size: int
    description: dict[str, Any]

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH


def is_export(folder: Path) -> bool:
    """Whether hep2gan-export wrote this folder, and to its end: the description comes last."""
    return (folder / DESCRIPTION).is_file()


def open_export(folder: Path) -> ExportedModel:
    """Read what the folder says of its graph, and hold the graph against its checksum.

    Raises Hep2ganError when anything is missing, damaged or of another version.
    """
    file = folder / DESCRIPTION
    try:
        found = read_json(file)
        if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"it is not version {VERSION} of {FORMAT}")
        classes, size = found["classes"], found["size"]
        if not isinstance(classes, list) or type(size) is not int or size < 1:
            raise ValueError("classes or size are missing")
        if file_digest(folder / GRAPH) != found["sha256"]:
            raise ValueError(f"{GRAPH} is not the graph that it describes")
        return ExportedModel(folder, tuple(map(str, classes)), size, found)
    except (OSError, ValueError, KeyError) as error:
        raise Hep2ganError(
            f"{file} cannot be used ({error})", "an export is left as it was written", _AGAIN
        ) from error


def onnx_package(name: str) -> ModuleType:
    """Import one of the optional ONNX packages; Hep2ganError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Hep2ganError(
            f"the package {name} cannot be imported ({error})",
            "ONNX is an optional extra",
            'pip install "hep2gan[onnx]"',
        ) from error


class OnnxBackend:
    """Runs a graph on batches of stored pixels, as `Predictor` wants it.

    accelerator: cpu, gpu, or auto for a GPU where ONNX Runtime has one. Raises Hep2ganError without
    onnxruntime, for a GPU that it cannot use, and for a file that is no graph of ours.
    """

    def __init__(self, graph: Path, accelerator: str = "auto") -> None:
        runtime = onnx_package("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        # Its threads would turn in circles between operations, on cores that files are read on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(accelerator, runtime.get_available_providers())
        try:
            self._session = runtime.InferenceSession(graph, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no class
            reason = str(error).splitlines()[0]
            raise Hep2ganError(f"{graph} is no graph that runs ({reason})", "", _AGAIN) from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def __call__(
        self, image: npt.NDArray[np.uint8], levels: npt.NDArray[np.float32]
    ) -> BackendOutput:
        """Segment and classify uint8 (B, S, S) pixels with (B, 2) grey levels of 0 and 255."""
        given = {"image": image, "levels": levels}
        found = self._session.run(None, {name: given[name] for name in self._inputs})
        said = dict(zip(self._outputs, found, strict=True))
        return BackendOutput(said.get("mask"), said.get("probabilities"))


def _providers(accelerator: str, available: list[str]) -> list[str]:
    if accelerator not in ("auto", *_PROVIDERS):
        raise Hep2ganError(f"accelerator is {accelerator!r}", "choose from auto, cpu, gpu")
    if accelerator == "gpu" and _PROVIDERS["gpu"] not in available:
        raise Hep2ganError(
            "ONNX Runtime has no GPU here",
            "that needs the package onnxruntime-gpu and a GPU",
            "set accelerator=cpu",
        )
    wanted = ("cpu",) if accelerator == "cpu" else ("gpu", "cpu")
    return [_PROVIDERS[name] for name in wanted if _PROVIDERS[name] in available]
