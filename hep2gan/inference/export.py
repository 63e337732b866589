"""Export a trained run to a folder for others, compared with the run before it is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hep2gan.inference.configuration import parse_shared, shared_configuration
from hep2gan.inference.export_check import (
    CheckCells,
    ExportCheck,
    compare_backends,
    sample_cells,
)
from hep2gan.inference.exported import CARD, DESCRIPTION, WEIGHTS, Format, open_export
from hep2gan.inference.load import LoadedRun, load_export, torch_backend
from hep2gan.inference.model_card import describe_export, render_model_card
from hep2gan.inference.onnx_export import ExportableModel, check_graph, write_graph
from hep2gan.inference.weights import write_weights
from hep2gan.io import (
    atomic_folder,
    atomic_write,
    check_replaceable,
    file_digest,
    file_lock,
)
from hep2gan.training.build import build_task


def export_run(
    trained: LoadedRun,
    folder: Path,
    file_format: Format = "onnx",
    *,
    store: Path | None = None,
    trusted: Sequence[str] = (),
    address: str = "",
) -> ExportCheck:
    """Write the networks, README.md and model.json into `folder`, which is replaced as a whole.

    Args:
        trained: The run to export.
        folder: The output folder; may hold an earlier export of the same format, and nothing else.
        file_format: "onnx" for one graph, "safetensors" for weights that PyTorch loads.
        store: The store whose cells the export is checked with; None takes the training's, or
            synthetic cells if that no longer exists.
        trusted: Packages of the user's own whose classes the run names.
        address: hf://USER/NAME if it is to be pushed there, for the card.

    Returns:
        How the export was compared with the run.

    Raises:
        Hep2ganError: The run cannot be exported, an ONNX package is missing, the export differs
            from the run, or the folder holds something else; nothing is written then.
    """
    model = ExportableModel(trained.task.cpu(), trained.config.normalisation).eval()
    own = {DESCRIPTION, CARD, WEIGHTS[file_format]}
    check_replaceable(folder, own.__contains__, DESCRIPTION, f"an export in {file_format}")
    # A graph is built from nothing.
    configuration = {} if file_format == "onnx" else shared_configuration(trained.config)
    cells = sample_cells(store or trained.store, trained.size, required=store is not None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder), atomic_folder(folder) as staged:
        file = staged / WEIGHTS[file_format]
        if file_format == "onnx":
            write_graph(model, trained.size, file)
        else:
            write_weights(_select_weights(trained, configuration, trusted), file)
        description = describe_export(
            trained, configuration, file_format, model.inputs, model.outputs
        )
        description["sha256"] = file_digest(file)
        _write_description(description, staged)
        if file_format == "onnx":
            check = check_graph(model, file, cells)
        else:
            check = _check_weights(trained, staged, model.outputs, cells, trusted)
        description["check"] = asdict(check)
        atomic_write(staged / CARD, render_model_card(description, address))
        _write_description(description, staged)
    return check


def _write_description(description: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(folder / DESCRIPTION, text + "\n")


def _select_weights(
    trained: LoadedRun, configuration: Mapping[str, Any], trusted: Sequence[str]
) -> dict[str, Tensor]:
    """The weights of what predicts: neither the discriminator's nor those of losses."""
    config = parse_shared(configuration, trusted)
    with torch.device("meta"):
        needed = build_task(config, classes=trained.classes, size=trained.size, load_weights=())
    weights = trained.task.state_dict()
    return {name: weights[name] for name in needed.state_dict()}


def _check_weights(
    trained: LoadedRun,
    folder: Path,
    outputs: Sequence[str],
    cells: CheckCells,
    trusted: Sequence[str],
) -> ExportCheck:
    """Open the export as anybody does, and hold what it computes against the run."""
    export = torch_backend(*load_export(open_export(folder), trusted), "cpu")
    run = torch_backend(trained.task, trained.config, "cpu")
    return compare_backends(export, run, outputs, cells, 0.0, "The export and its run")
