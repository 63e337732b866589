"""Inference with ONNX Runtime, without torch, on a graph that hep2gan-export wrote."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt

from hep2gan.errors import Hep2ganError
from hep2gan.inference.exported import EXPORT_AGAIN
from hep2gan.inference.predict import BackendOutput

Device = Literal["auto", "cpu", "gpu"]
_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


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
                f"{graph} is no graph that runs ({reason})", "", EXPORT_AGAIN
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
