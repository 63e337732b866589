"""hep2gan-predict: segment and name the cells of image files."""

from typing import TYPE_CHECKING

from hep2gan.command import run

if TYPE_CHECKING:
    from omegaconf import DictConfig


def predict(config: "DictConfig") -> None:
    """Entry point behind Hydra: plain containers from here on."""
    from pathlib import Path

    from hep2gan.command import resolved
    from hep2gan.data.normalise import Normalisation
    from hep2gan.devices import device
    from hep2gan.errors import Hep2ganError, listed
    from hep2gan.prediction import Predictor, find_images
    from hep2gan.progress import progress
    from hep2gan.trained import open_run

    plain = resolved(config)
    inputs = plain["inputs"] if isinstance(plain["inputs"], list) else [plain["inputs"]]
    images = find_images([str(each) for each in inputs])
    trained = open_run(Path(plain["run"]), plain["checkpoint"], plain["trusted"])
    normalisation = Normalisation(**trained.config["normalisation"])
    predictor = Predictor(
        trained.task, trained.classes, trained.size, normalisation, device(plain["accelerator"])
    )
    output = Path(plain["output"])
    with progress("predicting") as bar:
        report = predictor.predict(
            images,
            output,
            batch_size=plain["batch_size"],
            white=plain["white"],
            overlays=plain["overlays"],
            progress=bar,
        )
    print(f"{report.done} of {len(images)} images done, see {output / 'predictions.csv'}")
    if report.problems:
        raise Hep2ganError(
            f"{len(report.problems)} images were left out\n{listed(report.problems)}\n"
        )


def main() -> None:
    """Run the command."""
    run(predict, "predict", ("run", "inputs*"))


if __name__ == "__main__":
    main()
