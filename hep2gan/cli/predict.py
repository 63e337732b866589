"""hep2gan-predict: segment and name the cells of image files."""

from typing import TYPE_CHECKING

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError, bullet_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from omegaconf import DictConfig

    from hep2gan.inference.backend import InferenceBackend


def predict(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.cli.app import resolve_config
    from hep2gan.inference.predict import Predictor, find_images
    from hep2gan.io import progress_bar

    plain = resolve_config(config)
    inputs = plain["inputs"] if isinstance(plain["inputs"], list) else [plain["inputs"]]
    images = find_images([str(each) for each in inputs])
    predictor = Predictor(*_opened(plain))
    output = Path(plain["output"])
    with progress_bar("predicting") as bar:
        report = predictor.predict(
            images,
            output,
            batch_size=plain["batch_size"],
            white_level=plain["white_level"],
            overlays=plain["overlays"],
            progress=bar,
        )
    print(f"{report.done} of {len(images)} images done, see {output / 'predictions.csv'}")
    if report.problems:
        raise Hep2ganError(
            f"{len(report.problems)} images were left out\n{bullet_list(report.problems)}\n"
        )


def _opened(plain: "Mapping[str, Any]") -> "tuple[InferenceBackend, Sequence[str], int]":
    """The networks of a run or of an export, their classes, and the size of their images."""
    from pathlib import Path

    from hep2gan.inference.onnx_backend import OnnxBackend, is_export, open_export

    folder, accelerator = Path(plain["run"]), plain["accelerator"]
    if is_export(folder):
        if plain["checkpoint"]:
            raise Hep2ganError(
                f"{folder} is an export", "it holds one set of weights", "leave out checkpoint"
            )
        export = open_export(folder)
        return OnnxBackend(export.graph, accelerator), export.classes, export.size
    # Here, so that an export needs no torch.
    from hep2gan.data.transforms.normalisation import Normalisation
    from hep2gan.inference.load import load_run
    from hep2gan.inference.torch_backend import TorchBackend
    from hep2gan.training.devices import resolve_device

    trained = load_run(folder, plain["checkpoint"], plain["trusted"])
    normalisation = Normalisation(**trained.config["normalisation"])
    engine = TorchBackend(trained.task, normalisation, resolve_device(accelerator))
    return engine, trained.classes, trained.size


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run", "inputs*"))


if __name__ == "__main__":
    main()
