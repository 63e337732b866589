"""Open whatever predicts, by its name: a run, an export, or an export at the hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hep2gan.errors import Hep2ganError
from hep2gan.inference.exported import DESCRIPTION, HUB, Export, open_export
from hep2gan.inference.predict import InferenceBackend, TrainedModel
from hep2gan.runs.folder import RunFolder


def find_model(name: str) -> RunFolder | Export:
    """Find what a name means, without loading any network or PyTorch.

    Args:
        name: A run folder, a folder that hep2gan-export wrote, or hf://USER/NAME[@REVISION], which
            is downloaded.

    Returns:
        The run or the export.

    Raises:
        Hep2ganError: There is none, or it is damaged.
    """
    if name.startswith(HUB):
        from hep2gan.inference.hub import fetch_export

        return fetch_export(name)
    # An export writes its description last.
    if (Path(name) / DESCRIPTION).is_file():
        return open_export(Path(name))
    return RunFolder.open(Path(name))


def open_model(
    model: str | RunFolder | Export,
    *,
    checkpoint: str | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    trusted: Sequence[str] = (),
) -> TrainedModel:
    """Load networks to predict images with; a graph is loaded without PyTorch.

    Args:
        model: A name as for `find_model`, or what that has found.
        checkpoint: A checkpoint file of a run; None for what the run's rule chose.
        accelerator: Where the networks run: "gpu", "cpu", or "auto" for a GPU where there is one.
        trusted: Packages whose classes the configuration may name beside the allowed ones.

    Returns:
        The networks, on their device.

    Raises:
        Hep2ganError: As `find_model`; or it cannot be loaded, or there is no such device.
    """
    found = find_model(model) if isinstance(model, str) else model
    if isinstance(found, RunFolder):
        from hep2gan.inference.load import load_run, torch_backend

        run = load_run(found.path, checkpoint, trusted)
        backend = torch_backend(run.task, run.config, accelerator)
        return TrainedModel(backend, run.classes, run.size, run.crops, run.reading, (run.trust(),))
    if checkpoint:
        raise Hep2ganError(
            f"{found} is an export", "it holds one set of weights", "leave out checkpoint"
        )
    return TrainedModel(
        _export_backend(found, accelerator, trusted),
        found.classes,
        found.size,
        found.crops,
        found.reading,
        (found.trust,),
    )


def _export_backend(
    export: Export, accelerator: Literal["auto", "cpu", "gpu"], trusted: Sequence[str]
) -> InferenceBackend:
    if export.format == "onnx":
        from hep2gan.inference.onnx_backend import OnnxBackend

        return OnnxBackend(export.weights, accelerator, export.views)
    from hep2gan.inference.load import load_export, torch_backend

    return torch_backend(*load_export(export, trusted), accelerator)
