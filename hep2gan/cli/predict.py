"""hep2gan-predict: segment and classify the cells of image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError, bullet_list

if TYPE_CHECKING:
    from hep2gan.cli.settings import PredictSettings
    from hep2gan.inference.predict import Predictor


def predict(config: dict[str, Any]) -> None:
    """Predict images and list those that could not be read.

    Args:
        config: The resolved configuration, see `PredictSettings`.

    Raises:
        Hep2ganError: Some images could not be read; the others are done. Or nothing is, as
            `find_images` and `check_output`.
    """
    from hep2gan.cli.settings import PredictSettings
    from hep2gan.data.readers.image import ImageReading
    from hep2gan.inference.predict import check_output, find_images
    from hep2gan.io import progress_bar
    from hep2gan.settings import parse

    settings = parse(PredictSettings, config)
    inputs = settings.inputs
    output = Path(settings.output)
    images, left_out = find_images(inputs if isinstance(inputs, list) else [inputs], output)
    check_output(output, images)
    predictor = _open_predictor(settings)
    with progress_bar("predicting") as bar:
        report = predictor.predict(
            images,
            output,
            batch_size=settings.batch_size,
            reading=ImageReading(settings.white_level, settings.channel, settings.plane),
            overlays=settings.overlays,
            progress=bar,
            masks=settings.masks,
        )
    written = output if settings.masks == "only" else output / "predictions.csv"
    print(f"{report.done} of {len(images)} images done, see {written}")
    if left_out:
        print(f"not predicted: {left_out}")
    if report.problems:
        raise Hep2ganError(
            f"{len(report.problems)} images were left out\n{bullet_list(report.problems)}\n"
        )


def _open_predictor(settings: "PredictSettings") -> "Predictor":
    """The networks of a run, or of an export, which needs no torch."""
    from hep2gan.inference.onnx_backend import DESCRIPTION, OnnxBackend, open_export
    from hep2gan.inference.predict import Predictor

    folder, accelerator = Path(settings.run), settings.accelerator
    # An export writes its description last.
    if (folder / DESCRIPTION).is_file():
        if settings.checkpoint:
            raise Hep2ganError(
                f"{folder} is an export", "it holds one set of weights", "leave out checkpoint"
            )
        export = open_export(folder)
        return Predictor(OnnxBackend(export.graph, accelerator), *export[1:])
    from hep2gan.inference.load import TorchBackend, load_run
    from hep2gan.training.devices import resolve_device

    trained = load_run(folder, settings.checkpoint, settings.trusted)
    backend = TorchBackend(trained.task, trained.config.normalisation, resolve_device(accelerator))
    return Predictor(backend, trained.classes, trained.size, trained.largest_crop, trained.reading)


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run", "inputs*"))


if __name__ == "__main__":
    main()
