"""The networks of a run as one ONNX graph."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.export_check import CheckCells, ExportCheck, compare_backends
from hep2gan.inference.onnx_backend import OnnxBackend, onnx_package
from hep2gan.inference.predict import BackendOutput
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.torch_versions import batch_dimension, infers_onnx_shapes, onnx_options

TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and PyTorch that a mask or a probability may have, and a
distance above 1 relative to itself."""
_MAX_BYTES = 2**31 - 2**24
"""Bytes of weights that an ONNX file holds, a little below protobuf's 2 GiB."""


class ExportableModel(nn.Module):
    """A task from stored pixels to masks, probabilities and distances, test-time views included.

    Args:
        task: The networks of a trained run.
        normalisation: The normalisation that they were trained with.

    Raises:
        Hep2ganError: The run needs true masks.
    """

    def __init__(
        self, task: SegmentationGuidedClassification, normalisation: Normalisation
    ) -> None:
        super().__init__()
        task.guidance.require_no_truth()
        # A method, since a module as an attribute would bring D and the losses with it.
        self.generator, self.classifier = task.generator, task.classifier
        self.mixture = task.mixture
        self._evaluate = task.forward
        self.normalisation = normalisation

    @property
    def inputs(self) -> tuple[str, ...]:
        """Grey levels are an input only where the normalisation needs them."""
        return ("image", "levels") if self.normalisation.kind == "none" else ("image",)

    @property
    def outputs(self) -> tuple[str, ...]:
        """mask, probabilities and distances, as far as the method has them."""
        parts = {
            "mask": self.generator,
            "probabilities": self.classifier,
            "distances": self.mixture,
        }
        return tuple(name for name, network in parts.items() if network is not None)

    def forward(self, image: Tensor, levels: Tensor | None = None) -> tuple[Tensor, ...]:
        """Segment and classify a batch.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2); only for normalisation `none`.

        Returns:
            Mask (B, S, S), probabilities (B, K) and squared distances to the mixture's means (B,
            K), as far as the method has them.
        """
        if levels is None:
            levels = torch.zeros(image.shape[0], 2, device=image.device)
        output = self._evaluate(self.normalisation(image, levels))
        mask = None if output.mask is None else output.mask[:, 0]
        features, mixture = output.features, self.mixture
        distances = None if mixture is None or features is None else mixture.distances(features)
        return tuple(p for p in (mask, output.probabilities, distances) if p is not None)


def write_graph(graph: ExportableModel, size: int, file: Path) -> None:
    """Trace the networks and write them as an ONNX graph for any batch size.

    Args:
        graph: The networks.
        size: Side of the images in pixels.
        file: The file to write.

    Raises:
        Hep2ganError: An ONNX package is missing, or ONNX cannot hold these networks.
    """
    _require_exportable_size(graph)
    for name in ("onnx", "onnxscript", "onnxruntime"):
        onnx_package(name)
    image = torch.zeros(2, size, size, dtype=torch.uint8)
    # Two images that differ, so that nothing of the example is a constant.
    image[0, : size // 2], image[1, :, : size // 3] = 200, 90
    example = (image, torch.tensor([[5.0, 200.0], [9.0, 90.0]]))[: len(graph.inputs)]
    try:
        with _silence_exporter(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                dynamic_shapes=({0: batch_dimension()},) * len(example),
                input_names=graph.inputs,
                output_names=graph.outputs,
                external_data=False,
                verbose=False,
                **onnx_options(),
            )
            assert program is not None
            program.save(file, external_data=False)
    except Exception as error:  # torch's exporter raises errors of any class
        # Its own message lists the exporter's steps; the cause says what failed.
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise Hep2ganError(
            f"these networks cannot be written as an ONNX graph ({reason})",
            "every operation needs a form in ONNX",
            "choose networks that torch.onnx.export can write, a newer torch, which can write more,"
            " or format=safetensors",
        ) from error


def check_graph(graph: ExportableModel, file: Path, cells: CheckCells) -> ExportCheck:
    """Check the file by ONNX's rules, and compare ONNX Runtime with PyTorch on `cells`.

    Args:
        graph: The networks in PyTorch.
        file: The same as an ONNX graph.
        cells: The cells to compare on.

    Returns:
        The largest differences, and what they were measured on.

    Raises:
        Hep2ganError: The graph is invalid, or a mask, probability or distance differs by more than
            `TOLERANCE`.
    """
    onnx = onnx_package("onnx")
    try:
        onnx.checker.check_model(str(file), full_check=infers_onnx_shapes())
    except Exception as error:
        raise Hep2ganError(
            f"the graph breaks ONNX's rules ({str(error).splitlines()[0]})",
            "an invalid graph is not kept",
            "report it with the versions of torch and onnx",
        ) from error
    words = "ONNX Runtime and PyTorch"
    backend, by_torch = OnnxBackend(file, "cpu"), partial(_run_torch, graph)
    return compare_backends(backend, by_torch, graph.outputs, cells, TOLERANCE, words)


def _require_exportable_size(graph: nn.Module) -> None:
    size = sum(p.nbytes for p in (*graph.parameters(), *graph.buffers()))
    if size > _MAX_BYTES:
        raise Hep2ganError(
            f"the networks hold {size / 2**30:.1f} GiB of weights",
            "one ONNX file holds less than 2 GiB",
            "export a run of smaller networks",
        )


def _run_torch(
    graph: ExportableModel, image: npt.NDArray[Any], levels: npt.NDArray[Any]
) -> BackendOutput:
    with torch.inference_mode():
        outputs = graph(torch.from_numpy(image), torch.from_numpy(levels))
    arrays = (output.numpy() for output in outputs)
    return BackendOutput(**dict(zip(graph.outputs, arrays, strict=True)))


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Silence torch.onnx's progress, and its warnings of what the check finds anyway."""
    ignored, disabled_before = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(ignored), redirect_stderr(ignored):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled_before)
