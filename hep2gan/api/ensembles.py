"""Several runs that predict together, and the prediction that they share with a single run."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hep2gan.api.runs import Run
from hep2gan.errors import Hep2ganError, SeveralProblemsError, bullet_list, pluralize

if TYPE_CHECKING:
    from hep2gan.api.predictions import CellPredictions, Images
    from hep2gan.inference.predict import TrainedModel

_ALIKE: dict[float | None, str] = {0.0: "empty", 1.0: "full"}
"""Fractions of a mask that no image should have, all images least of all."""
_Reading = tuple[int | None, int | str | None, int | None]


class Ensemble:
    """Runs that predict together: the mean of what they say, and how far they disagree.

    Their networks are loaded when they first predict, and stay as long as this object does.

    Args:
        members: The runs.

    Attributes:
        members: The runs.
    """

    def __init__(self, members: Sequence[Run]) -> None:
        self.members = list(members)

    def __repr__(self) -> str:
        return f"<ensemble of {pluralize(len(self.members), 'run')}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes.

        Raises:
            Hep2ganError: store.json of the first run is missing or damaged.
        """
        return self.members[0].classes

    def predict(
        self,
        images: "Images",
        *,
        batch_size: int = 64,
        white_level: int | None = None,
        channel: int | str | None = None,
        plane: int | None = None,
        views: bool = False,
        calibrated: bool = True,
    ) -> "CellPredictions":
        """Segment and classify images of single cells, as `Run.predict` does.

        Probabilities are the means of the members'; a mask is where the mean of their masks is 0.5
        or more; `spread` tells how far they disagree.

        Args:
            images: As in `Run.predict`.
            batch_size: Images that the networks take at once.
            white_level: Grey level that is white, for more than 8 bits; None as in the training.
            channel: Number or name of the channel of files that have several.
            plane: Number of the plane of files that have several.
            views: Let each member look at the eight flips and rotations of each image.
            calibrated: Scale the probabilities of each member by its own temperature.

        Returns:
            The predictions, as of `Run.predict`.

        Raises:
            Hep2ganError: As `Run.predict`; or the members differ in their classes or in how they
                take images.
        """
        models = {str(run.path): run.open_model for run in self.members}
        return predict_images(
            models,
            images,
            batch_size=batch_size,
            reading=(white_level, channel, plane),
            views=views,
            calibrated=calibrated,
        )

    def predict_fields(
        self,
        fields: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] = "predictions",
        *overrides: str,
        verbose: bool = True,
    ) -> Path:
        """Find and classify the cells of whole fields, as `Run.predict_fields` does.

        Args:
            fields: Files and folders of images that show many cells each.
            output: The folder of the results.
            *overrides: Further settings as on the command line.
            verbose: Print what the command prints.

        Returns:
            The folder of the results.

        Raises:
            Hep2ganError: As `Run.predict_fields`.
            KeyboardInterrupt: It was interrupted.
        """
        from hep2gan.api.commands import predict_fields

        paths = [run.path for run in self.members]
        words = [*self.members[0].opening_words, *overrides]
        return predict_fields(paths, fields, output, words, verbose=verbose)


def load_ensemble(
    runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    trusted: Sequence[str] = (),
) -> Ensemble:
    """Open several runs that predict together.

    Args:
        runs: Folders of runs and exports, hf://USER/NAME, or the folder of a method or a study,
            whose finished runs are meant.
        accelerator: Where their networks run: "gpu", "cpu", or "auto" for the first GPU there is.
        trusted: Packages of your own whose classes their configurations may name.

    Returns:
        The ensemble; its networks are loaded when they are needed.

    Raises:
        Hep2ganError: A folder is none of these, or none of its runs is finished.

    Examples:
        >>> ensemble = load_ensemble("runs/default/proposed")  # doctest: +SKIP
        >>> ensemble.predict("images").to_frame()  # doctest: +SKIP
    """
    from hep2gan.inference.members import list_members

    named = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    found = list_members([os.fspath(each) for each in named])
    if found.left_out:
        left = bullet_list(found.left_out)
        warnings.warn(f"left out, as they are not finished\n{left}", stacklevel=2)
    return Ensemble([Run(name, accelerator=accelerator, trusted=trusted) for name in found.names])


def predict_images(
    models: "Mapping[str, Callable[[], TrainedModel]]",
    images: "Images",
    *,
    batch_size: int,
    reading: _Reading,
    views: bool,
    calibrated: bool,
) -> "CellPredictions":
    """Segment and classify images by one or more models, as `Run.predict` describes.

    Args:
        models: What loads each model, by its name.
        images: Files, folders and arrays.
        batch_size: Images that the networks take at once.
        reading: White level, channel and plane; None as in the training.
        views: Whether each model looks at the eight views of an image.
        calibrated: Whether the probabilities of each are scaled by its own temperature.

    Returns:
        The predictions.

    Raises:
        Hep2ganError: As `Run.predict` and `Ensemble.predict`.
    """
    with warnings.catch_warnings():
        # tqdm's, in a notebook without widgets; no bar of tqdm is shown here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from hep2gan.api.predictions import CellPredictions, list_inputs
        from hep2gan.data.readers.image import ImageReading
        from hep2gan.inference.ensemble import combine_models
        from hep2gan.inference.predict import Predictor

        loaded = {name: load() for name, load in models.items()}
        model = combine_models(loaded, views=views, calibrated=calibrated)
        predictor = Predictor(*model[:5], model.rule)
    found, left_out = list_inputs(images)
    cells, errors = predictor.predict_in_memory(
        found, batch_size=batch_size, reading=ImageReading(*reading)
    )
    if not cells:
        raise _all(errors)
    problems = [str(error) for error in errors]
    if problems:
        left = pluralize(len(problems), "image")
        warnings.warn(f"{left} left out\n{bullet_list(problems)}", stacklevel=3)
    if alike := _ALIKE.get(_only(cell.mask_fraction for cell in cells)):
        text = f"every mask is {alike}: look at them, and at the test of the run (test/dice)"
        warnings.warn(text, stacklevel=3)
    return CellPredictions(cells, predictor.classes, problems, left_out)


def _only(fractions: Iterable[float | None]) -> float | None:
    """The fraction that all images have; None where they differ."""
    different = set(fractions)
    return different.pop() if len(different) == 1 else None


def _all(errors: Sequence[Hep2ganError]) -> Hep2ganError:
    if len(errors) == 1:
        return errors[0]
    return SeveralProblemsError(errors, "images cannot be read", "", "correct each of them")
