"""hep2gan-predict: segment and classify the cells of image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.app import run
from hep2gan.errors import Hep2ganError, bullet_list, pluralize

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
    from hep2gan.inference.onnx_backend import DESCRIPTION
    from hep2gan.inference.predict import check_output, find_images
    from hep2gan.io import progress_bar
    from hep2gan.runs.folder import RunFolder
    from hep2gan.settings import parse

    settings = parse(PredictSettings, config)
    # Before torch, which takes seconds to import. An export writes its description last.
    is_export = (Path(settings.run) / DESCRIPTION).is_file()
    if not is_export:
        RunFolder.open(Path(settings.run))
    inputs = settings.inputs
    output = Path(settings.output)
    images, left_out = find_images(inputs if isinstance(inputs, list) else [inputs], output)
    check_output(output, images)
    predictor = _open_export(settings) if is_export else _open_run(settings)
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
    print(f"{report.done:,} of {pluralize(len(images), 'image')} done, see {written}")
    if report.masks:
        print(
            f"every mask is {report.masks}: look at the overlays, and at the test of the run"
            " (Dice, test/constant_masks) before using any of them"
        )
    if left_out:
        print(f"not predicted: {left_out}")
    if report.problems:
        left = pluralize(len(report.problems), "image")
        raise Hep2ganError(f"{left} left out\n{bullet_list(report.problems)}\n")


def _open_export(settings: "PredictSettings") -> "Predictor":
    """The networks of an export, without torch."""
    from hep2gan.inference.onnx_backend import OnnxBackend, open_export
    from hep2gan.inference.predict import Predictor

    if settings.checkpoint:
        raise Hep2ganError(
            f"{settings.run} is an export", "it holds one set of weights", "leave out checkpoint"
        )
    export = open_export(Path(settings.run))
    return Predictor(OnnxBackend(export.graph, settings.accelerator), *export[1:])


def _open_run(settings: "PredictSettings") -> "Predictor":
    """The networks of a run."""
    from hep2gan.inference.load import open_predictor

    return open_predictor(
        Path(settings.run),
        checkpoint=settings.checkpoint,
        accelerator=settings.accelerator,
        trusted=settings.trusted,
    )


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run", "inputs*"))


if __name__ == "__main__":
    main()
