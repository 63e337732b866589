"""hep2gan-predict: segment and classify the cells of image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError, bullet_list

if TYPE_CHECKING:
    from hep2gan.inference.predict import Predictor


def predict(config: dict[str, Any]) -> None:
    """Predict the images of a resolved configuration; report those that could not be read."""
    from hep2gan.inference.predict import find_images
    from hep2gan.io import progress_bar

    inputs = config["inputs"] if isinstance(config["inputs"], list) else [config["inputs"]]
    images = find_images([str(each) for each in inputs])
    predictor, output = _open_predictor(config), Path(config["output"])
    with progress_bar("predicting") as bar:
        report = predictor.predict(
            images,
            output,
            batch_size=config["batch_size"],
            white_level=config["white_level"],
            overlays=config["overlays"],
            progress=bar,
        )
    print(f"{report.done} of {len(images)} images done, see {output / 'predictions.csv'}")
    if report.problems:
        raise Hep2ganError(
            f"{len(report.problems)} images were left out\n{bullet_list(report.problems)}\n"
        )


def _open_predictor(config: dict[str, Any]) -> "Predictor":
    """The networks of a run, or of an export, which needs no torch."""
    from hep2gan.inference.onnx_backend import OnnxBackend, is_export, open_export
    from hep2gan.inference.predict import Predictor

    folder, accelerator = Path(config["run"]), config["accelerator"]
    if is_export(folder):
        if config["checkpoint"]:
            raise Hep2ganError(
                f"{folder} is an export", "it holds one set of weights", "leave out checkpoint"
            )
        export = open_export(folder)
        return Predictor(OnnxBackend(export.graph, accelerator), export.classes, export.size)
    from hep2gan.data.transforms.normalisation import Normalisation
    from hep2gan.inference.load import load_run
    from hep2gan.inference.torch_backend import TorchBackend
    from hep2gan.training.devices import resolve_device

    trained = load_run(folder, config["checkpoint"], config["trusted"])
    normalisation = Normalisation(**trained.config["normalisation"])
    backend = TorchBackend(trained.task, normalisation, resolve_device(accelerator))
    return Predictor(backend, trained.classes, trained.size)


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run", "inputs*"))


if __name__ == "__main__":
    main()
