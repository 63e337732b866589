"""Export a trained run as one ONNX graph, compared with PyTorch before it is kept."""

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hep2gan.data.phantom.generate import generate_cells
from hep2gan.data.readers.image import resize, stretch
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.load import LoadedRun
from hep2gan.inference.model_card import ExportCheck, describe_export, render_model_card
from hep2gan.inference.onnx_backend import (
    CARD,
    DESCRIPTION,
    GRAPH,
    OnnxBackend,
    onnx_package,
)
from hep2gan.inference.predict import BackendOutput
from hep2gan.io import atomic_write, file_digest
from hep2gan.training.module import SegmentationGuidedClassification

TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and PyTorch that a mask or a probability may have, and a
distance above 1 relative to itself."""
CELLS = 24
BATCHES = (1, 7)
"""Batch sizes that graphs are checked with."""
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


@dataclass(frozen=True)
class CheckCells:
    """Stored cells to check a graph with.

    Attributes:
        image: Stored pixels (N, S, S).
        levels: Grey levels of stored 0 and 255, (N, 2).
        source: Where the cells come from, in words.
    """

    image: npt.NDArray[np.uint8]
    levels: npt.NDArray[np.float32]
    source: str


def export_run(trained: LoadedRun, folder: Path, store: Path | None = None) -> ExportCheck:
    """Write model.onnx, MODEL_CARD.md and, last, model.json into `folder`.

    Args:
        trained: The run to export.
        folder: The output folder, created if it does not exist.
        store: The store whose cells the graph is checked with; None takes the training's, or
            synthetic cells if that no longer exists.

    Returns:
        How the graph was compared with PyTorch.

    Raises:
        Hep2ganError: The run cannot be exported, an ONNX package is missing, or the graph differs
            from PyTorch; nothing is written then.
    """
    graph = ExportableModel(trained.task.cpu(), trained.config.normalisation).eval()
    _require_exportable_size(graph)
    cells = sample_cells(store or trained.store, trained.size, required=store is not None)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / GRAPH
        write_graph(graph, trained.size, file)
        check = check_graph(graph, file, cells)
        description = describe_export(trained, graph.inputs, graph.outputs, check)
        description["sha256"] = file_digest(file)
        folder.mkdir(parents=True, exist_ok=True)
        # A folder without description is no export, so that old and new files never mix.
        (folder / DESCRIPTION).unlink(missing_ok=True)
        atomic_write(folder / GRAPH, file.read_bytes())
    atomic_write(folder / CARD, render_model_card(description))
    atomic_write(
        folder / DESCRIPTION,
        json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    )
    return check


def _require_exportable_size(graph: nn.Module) -> None:
    size = sum(p.nbytes for p in (*graph.parameters(), *graph.buffers()))
    if size > _MAX_BYTES:
        raise Hep2ganError(
            f"the networks hold {size / 2**30:.1f} GiB of weights",
            "one ONNX file holds less than 2 GiB",
            "export a run of smaller networks",
        )


def write_graph(graph: ExportableModel, size: int, file: Path) -> None:
    """Trace the networks and write them as an ONNX graph for any batch size.

    Args:
        graph: The networks.
        size: Side of the images in pixels.
        file: The file to write.

    Raises:
        Hep2ganError: An ONNX package is missing, or torch cannot export these networks.
    """
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
                dynamic_shapes=({0: torch.export.Dim("batch")},) * len(example),
                input_names=graph.inputs,
                output_names=graph.outputs,
                external_data=False,
                verbose=False,
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
            "choose networks that torch.onnx.export can write",
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
        onnx.checker.check_model(str(file), full_check=True)
    except Exception as error:
        raise Hep2ganError(
            f"the graph breaks ONNX's rules ({str(error).splitlines()[0]})",
            "an invalid graph is not kept",
            "report it with the versions of torch and onnx",
        ) from error
    backend = OnnxBackend(file, "cpu")
    differences = dict.fromkeys(graph.outputs, 0.0)
    for size in BATCHES:
        for start in range(0, len(cells.image), size):
            image, levels = cells.image[start : start + size], cells.levels[start : start + size]
            by_onnx, by_torch = backend(image, levels), _run_torch(graph, image, levels)
            for name in differences:
                difference = _max_difference(getattr(by_onnx, name), getattr(by_torch, name))
                differences[name] = max(differences[name], difference)
    if not all(difference <= TOLERANCE for difference in differences.values()):
        text = ", ".join(f"{name} by {value:.2g}" for name, value in differences.items())
        raise Hep2ganError(
            f"ONNX Runtime and PyTorch differ: {text}",
            f"they must agree to {TOLERANCE:g}",
            "try other versions of torch and onnxruntime; nothing was written",
        )
    return ExportCheck(cells.source, len(cells.image), BATCHES, TOLERANCE, differences)


def _max_difference(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Largest difference, above 1 relative; infinite where shapes differ or one is not finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max())


def _run_torch(
    graph: ExportableModel, image: npt.NDArray[Any], levels: npt.NDArray[Any]
) -> BackendOutput:
    with torch.inference_mode():
        outputs = graph(torch.from_numpy(image), torch.from_numpy(levels))
    arrays = (output.numpy() for output in outputs)
    return BackendOutput(**dict(zip(graph.outputs, arrays, strict=True)))


def sample_cells(path: Path, size: int, *, required: bool = False) -> CheckCells:
    """Take some cells of a store, from its first to its last; synthetic ones if there is no store.

    Args:
        path: Folder of the store.
        size: Side of the images that the networks take, in pixels.
        required: Whether a store that cannot be opened is an error.

    Returns:
        At most `CELLS` cells.

    Raises:
        Hep2ganError: The store has another size, or is required and cannot be opened.
    """
    try:
        store = Store.open(path)
    except Hep2ganError:
        if required:
            raise
        return _synthetic_cells(size)
    if store.size != size:
        raise Hep2ganError(
            f"{path} holds images of {store.size} px", f"this run takes {size}", "set store=FOLDER"
        )
    rows = np.unique(np.linspace(0, len(store) - 1, CELLS).astype(np.int64))
    return CheckCells(
        store.image[rows].copy(), store.levels[rows].copy(), f"cells of the store {path.name}"
    )


def _synthetic_cells(size: int) -> CheckCells:
    raw = (cell.image for cell in islice(generate_cells(CELLS, 0), CELLS))
    stored = [stretch(resize(image.astype(np.float32), size)) for image in raw]
    return CheckCells(
        np.stack([image for image, _ in stored]),
        np.array([tuple(level) for _, level in stored], np.float32),
        "synthetic cells, as the training's store does not exist",
    )


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
