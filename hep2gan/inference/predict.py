"""Segment and classify the cells of image files, a batch at a time."""

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.files import describe_others, split_masks, walk_files
from hep2gan.data.readers.image import (
    SUFFIXES,
    ByteImage,
    GreyImage,
    GreyLevels,
    ImageReading,
    read_array,
    read_image,
    resize,
    stretch,
)
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import atomic_open, atomic_write, csv_text
from hep2gan.reports.figures.overlay import blend_map, overlay
from hep2gan.runs.folder import CropGeometry
from hep2gan.runs.trust import Trust
from hep2gan.statistics.trust_rule import TrustRule

THREADS = 4
"""That read and write beside the networks: they wait for the disk, and Pillow lets others run."""
COMPRESSION = 1
"""Of PNG: half the time of the usual 6 for files a tenth larger, and the same pixels."""
MAX_CROPS = 3
"""Crops of the training that an image may be as long as: more show a field of cells, not one."""
_KEY = re.compile(r"data\.(white_level|channel|plane)\b")
"""Keys that lie in no group here."""
Masks = bool | Literal["only"]
"""Whether masks are written: beside the rest, alone in the layout of a data set, or not."""
_CONSTANT = {f"{0:.6f}": "empty", f"{1:.6f}": "full"}
T = TypeVar("T")
R = TypeVar("R")


class InputImage(NamedTuple):
    """One image file and the name of its results.

    Attributes:
        path: The file.
        name: Path of the results relative to the output folder, without a suffix.
    """

    path: Path
    name: Path


class InputArray(NamedTuple):
    """One image in memory.

    Attributes:
        name: What it is called in results and errors.
        pixels: Unsigned or floating numbers (h, w).
    """

    name: str
    pixels: npt.NDArray[Any]


class FoundImages(NamedTuple):
    """The images among some inputs.

    Attributes:
        images: The images.
        left_out: Number and kinds of the files that were left out, in words; '' for none.
    """

    images: list[InputImage]
    left_out: str


class LoadedImage(NamedTuple):
    """An image that could be read.

    Attributes:
        file: The file or array that it was read from.
        shape: Its height and width in pixels.
        background: Pixels (h, w) to draw an overlay on; None if no overlay is wanted.
        stored: Pixels (S, S) for the networks.
        levels: Grey levels that stored 0 and 255 stand for.
    """

    file: InputImage | InputArray
    shape: tuple[int, ...]
    background: ByteImage | None
    stored: ByteImage
    levels: GreyLevels


class BackendOutput(NamedTuple):
    """Results of the networks that the method has; None for the others.

    Attributes:
        mask: Probability that a pixel belongs to the nucleus, float32 (B, S, S); of one image (S,
            S).
        probabilities: Probabilities of the classes, float32 (B, K), float64 once they are scaled by
            a temperature; of one image (K,).
        distances: Squared Mahalanobis distances of the features to the mixture's class means,
            float32 (B, K); None without a Gaussian-mixture loss.
        spread: How far members or views disagree, in [0, 1], float32 (B,), see
            `hep2gan.inference.ensemble.spread`; None of one network that looks once.
        activation: What speaks for the predicted class and where, in [0, 1], float32 (B, S, S), see
            `hep2gan.inference.explain`; None where nobody asks.
    """

    mask: npt.NDArray[np.float32] | None = None
    probabilities: npt.NDArray[np.floating] | None = None
    distances: npt.NDArray[np.float32] | None = None
    spread: npt.NDArray[np.float32] | None = None
    activation: npt.NDArray[np.float32] | None = None

    def of(self, index: int) -> "BackendOutput":
        """Return the results of one image.

        Args:
            index: Its place in the batch.
        """
        return BackendOutput(*(None if part is None else part[index] for part in self))


@dataclass(frozen=True)
class CellPrediction:
    """What is predicted for one image; None for what the method does not predict.

    Attributes:
        name: The image's path; of an array its place in the list, as "array 0".
        image: Its grey levels at its own size, stretched to 0..255, uint8 (h, w); None if it was
            not kept.
        mask: The nucleus as 1, the background as 0, uint8 (h, w).
        probabilities: Probability of each class, in the order of the classes.
        spread: How far the members of an ensemble, or the views of the image, disagree, in [0, 1];
            None where one network looked once.
        entropy: Their entropy in [0, 1], 0 where one class is certain.
        distance: Distance of the cell's features to the nearest mean of the Gaussian mixture.
        unlike_training: Whether one of the two is beyond the run's limit of cells like the
            training's.
    """

    name: str
    image: ByteImage | None
    mask: ByteImage | None
    probabilities: dict[str, float] | None
    spread: float | None = None
    entropy: float | None = None
    distance: float | None = None
    unlike_training: bool | None = None

    @property
    def label(self) -> str | None:
        """The most probable class."""
        if self.probabilities is None:
            return None
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def mask_fraction(self) -> float | None:
        """Share of the image that the mask covers."""
        return None if self.mask is None else float(self.mask.mean())

    def row(self) -> dict[str, Any]:
        """The row of predictions.csv, with numbers as numbers."""
        row: dict[str, Any] = {"image": self.name}
        if self.probabilities is not None:
            row |= {"predicted": self.label, **self.probabilities}
        if self.spread is not None:
            row["spread"] = self.spread
        for name in ("entropy", "distance", "unlike_training"):
            if (value := getattr(self, name)) is not None:
                row[name] = value
        if self.mask is not None:
            row["mask_fraction"] = self.mask_fraction
        return row


InferenceBackend = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.float32]], BackendOutput]
"""Segments and classifies a batch of stored pixels, with PyTorch or ONNX Runtime.

Its arguments are uint8 (B, S, S) pixels, and float32 (B, 2) grey levels (0..255) that stored 0 and
255 stand for.
"""


@runtime_checkable
class ViewedBackend(Protocol):
    """A backend that may average views of each image."""

    def single_view(self) -> InferenceBackend | None:
        """Return the same networks on the image as it is; None if the views cannot be left out."""


@runtime_checkable
class ExplainingBackend(Protocol):
    """A backend that can tell what speaks for a class."""

    def activation_maps(
        self,
        image: npt.NDArray[np.uint8],
        levels: npt.NDArray[np.float32],
        predicted: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32] | None:
        """Map what speaks for a class of each image.

        Args:
            image: Stored pixels, uint8 (B, S, S).
            levels: Grey levels of stored 0 and 255, float32 (B, 2).
            predicted: (B,) the classes.

        Returns:
            float32 (B, S, S) in [0, 1]; None if there are no such maps.
        """


def explaining(backend: object) -> ExplainingBackend | None:
    """Return a backend that can tell what speaks for a class; None for another.

    Args:
        backend: Any backend.
    """
    return backend if isinstance(backend, ExplainingBackend) else None


class TrainedModel(NamedTuple):
    """Networks that are ready to predict, and what is known of their training.

    Attributes:
        backend: The networks.
        classes: K class names, in the order of the probabilities; empty without a classifier.
        size: S, the side in pixels of the images that the networks take.
        crops: How large the cells of the training were; None if that was not recorded.
        reading: How the images of the training were read.
        trusts: What the test of each member found of how far predictions are to be trusted; None
            without a test of its weights.
        rule: How probabilities are scaled and cells unlike the training are told; as it is, nothing
            is, see `combine_models`.
    """

    backend: InferenceBackend
    classes: tuple[str, ...]
    size: int
    crops: CropGeometry | None
    reading: ImageReading
    trusts: tuple[Trust | None, ...] = (None,)
    rule: TrustRule = TrustRule()


@dataclass
class PredictionReport:
    """How many images are done, and what is wrong with the others.

    Attributes:
        done: Images whose results are written.
        errors: One for each image that could not be read.
        masks: "empty" or "full" if every mask is; else ''.
        classified: Images with class probabilities.
        unlike: Images whose cell is unlike the training; None without limits.
    """

    done: int = 0
    errors: list[Hep2ganError] = field(default_factory=list)
    masks: str = ""
    classified: int = 0
    unlike: int | None = None

    @property
    def problems(self) -> list[str]:
        """The errors in words."""
        return [str(error) for error in self.errors]


class Predictor:
    """Run networks over image files and write what they predict.

    Files of the next batch are read and those of the last are written while the networks run.

    Args:
        backend: The networks.
        classes: K class names, in the order of the probabilities; empty without a classifier.
        size: S, the side in pixels of the images that the networks take.
        crops: How large the raw cells of the training are; None if it is not known.
        reading: How the images of the training were read.
        trust: How probabilities are scaled, and from where on a cell is unlike the training.
    """

    def __init__(
        self,
        backend: InferenceBackend,
        classes: Sequence[str],
        size: int,
        crops: CropGeometry | None = None,
        reading: ImageReading = ImageReading(),  # noqa: B008, it cannot change
        trust: TrustRule = TrustRule(),  # noqa: B008, it cannot change
    ) -> None:
        self._backend, self._classes, self._size = backend, tuple(classes), size
        self._crops, self._reading, self._trust = crops, reading, trust

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self._classes

    def predict(
        self,
        images: Sequence[InputImage],
        output: Path,
        *,
        batch_size: int,
        reading: ImageReading,
        overlays: bool,
        progress: Callable[[int, int], None],
        masks: Masks = True,
    ) -> PredictionReport:
        """Write masks/, overlays/ and predictions.csv; skip images that cannot be read.

        With `masks="only"`, write NAME_Mask.png alone, see `choose_masks`.

        Args:
            images: The files, see `find_images`.
            output: The folder of the results, created if it does not exist.
            batch_size: Images that the networks take at once.
            reading: How to read them; what is None is as in the training.
            overlays: Whether to write each image with the outline of its mask.
            progress: Called with (images done, images in all).
            masks: Whether to write masks, or nothing else.

        Returns:
            What was done, and which images were skipped.

        Raises:
            Hep2ganError: Only masks are wanted, and the networks make none.
        """
        report = PredictionReport()
        load = self._loader(reading, for_overlay=overlays and masks != "only")
        write = partial(
            write_result, classes=self._classes, output=output, masks=masks, trust=self._trust
        )
        with (
            ThreadPoolExecutor(THREADS) as pool,
            closing(map_ordered(pool, load, images, ahead=batch_size)) as loaded,
            closing(self._run(loaded, batch_size, report)) as predicted,
            closing(map_ordered(pool, write, predicted, ahead=batch_size)) as written,
        ):
            rows = []
            for row in written:
                rows.append(row)
                report.done = len(rows)
                progress(report.done + len(report.errors), len(images))
        report.classified = sum("predicted" in row for row in rows)
        flags = [row["unlike_training"] for row in rows if "unlike_training" in row]
        report.unlike = flags.count("true") if flags else None
        fractions = {str(row.get("mask_fraction")) for row in rows}
        report.masks = _CONSTANT.get(fractions.pop(), "") if len(fractions) == 1 else ""
        if masks != "only":
            output.mkdir(parents=True, exist_ok=True)
            atomic_write(output / "predictions.csv", _to_csv(rows))
        return report

    def predict_in_memory(
        self,
        images: Sequence[InputImage | InputArray],
        *,
        batch_size: int,
        reading: ImageReading,
    ) -> tuple[list[CellPrediction], list[Hep2ganError]]:
        """Predict images of files and arrays, and keep the results.

        Args:
            images: The files and arrays.
            batch_size: Images that the networks take at once.
            reading: How to read them; what is None is as in the training.

        Returns:
            The predictions in the order of the images, and an error for each image that could not
            be read.
        """
        report = PredictionReport()
        load = self._loader(reading, for_overlay=True)
        with (
            ThreadPoolExecutor(THREADS) as pool,
            closing(map_ordered(pool, load, images, ahead=batch_size)) as loaded,
            closing(self._run(loaded, batch_size, report)) as predicted,
        ):
            done = [to_prediction(*result, self._classes, self._trust) for result in predicted]
        return done, report.errors

    def _loader(
        self, reading: ImageReading, *, for_overlay: bool
    ) -> Callable[[InputImage | InputArray], LoadedImage | Hep2ganError]:
        return partial(
            _load_or_explain,
            size=self._size,
            reading=reading.or_else(self._reading),
            for_overlay=for_overlay,
            crops=self._crops,
        )

    def _run(
        self,
        loaded: Iterator[LoadedImage | Hep2ganError],
        batch_size: int,
        report: PredictionReport,
    ) -> Generator[tuple[LoadedImage, BackendOutput]]:
        """Run the networks over each `batch_size` files; report those that could not be read."""
        while batch := list(islice(loaded, batch_size)):
            report.errors += [image for image in batch if isinstance(image, Hep2ganError)]
            if images := [image for image in batch if isinstance(image, LoadedImage)]:
                pixels = np.stack([image.stored for image in images])
                levels = np.array([image.levels for image in images], np.float32)
                output = self._backend(pixels, levels)
                output = output._replace(probabilities=self._trust.scale(output.probabilities))
                for index, image in enumerate(images):
                    yield image, output.of(index)


def find_images(inputs: Sequence[str], output: Path) -> FoundImages:
    """List image files named directly or in the folders named.

    Masks, hidden files and what lies in `output` are left out; a file that is the only input is
    taken whatever it is called.

    Args:
        inputs: Paths of files and folders; folders are searched with all their subfolders.
        output: The folder of the results.

    Returns:
        Each file once, with the name of its results.

    Raises:
        Hep2ganError: An input does not exist or lies in `output`, there are no images, or two files
            would have results of the same name.
    """
    paths = [path for path in map(Path, inputs) if not _is_output(path, output, inputs)]
    named = [path for path in paths if path.is_file()]
    images, masks = split_masks(named) if len(inputs) > 1 else (named, {})
    found = [InputImage(path, Path(path.name)) for path in images]
    others: list[Path] = []
    for root in (path for path in paths if path.is_dir()):
        for files in walk_files(root, output):
            found += [InputImage(path, path.relative_to(root)) for path in files.images]
            masks, others = masks | files.masks, others + files.others
    counted = pluralize(len(masks), "mask") if masks else ""
    left_out = ", ".join(filter(None, (counted, describe_others(others))))
    if not found:
        raise Hep2ganError(
            f"no images in {', '.join(inputs)}" + (f", but {left_out}" if left_out else ""),
            f"images end in {', '.join(sorted(SUFFIXES))}",
            "save them as PNG" if others else "name an image, or a folder that holds some",
        )
    return FoundImages(_name_results(found), left_out)


def check_output(output: Path, images: Sequence[InputImage]) -> None:
    """Refuse a folder with results of other images, which would stay beside those of these.

    Args:
        output: The folder of the results.
        images: The files that are to be predicted.

    Raises:
        Hep2ganError: predictions.csv or fields.csv in it lists an image that is none of these.
    """
    known = {image.path.resolve() for image in images}
    for table, column in ((output / "predictions.csv", "image"), (output / "fields.csv", "field")):
        if not table.is_file():
            continue
        text = table.read_text(encoding="utf-8", errors="replace")
        listed = [row.get(column) or "" for row in csv.DictReader(text.splitlines())]
        others = [name for name in listed if Path(name).resolve() not in known]
        if not others:
            continue
        raise Hep2ganError(
            f"{table} lists {pluralize(len(others), 'other image')}, e.g. {others[0]}",
            "the results of one call lie in a folder of their own",
            f"set output={output}_2 or another folder, or remove {output}",
        )


_TABLES = ("predictions.csv", "cells.csv", "fields.csv", "specimens.csv")
_FILES = {
    "masks": (".png", ".tif"),
    "labels": (".png", ".tif"),
    "overlays": (".png",),
    "geojson": (".geojson",),
}
"""Endings of what is written for each image, by folder."""


def remove_earlier_results(output: Path, images: Sequence[InputImage]) -> None:
    """Remove what an earlier call wrote for these images: another run may write less of them.

    Args:
        output: The folder of the results; one without their tables is left alone.
        images: The files that are to be predicted, all that the tables list: see `check_output`.
    """
    tables = [output / name for name in _TABLES if (output / name).is_file()]
    for folder, endings in _FILES.items() if tables else ():
        for image in images:
            stem = output / folder / image.name
            for ending in endings:
                stem.with_name(f"{stem.name}{ending}").unlink(missing_ok=True)
    for table in tables:
        table.unlink()


def _is_output(path: Path, output: Path, inputs: Sequence[str]) -> bool:
    """Whether an input is the output of before, as a shell's * gives it; refuse what lies in it."""
    if not path.is_file() and not path.is_dir():
        raise Hep2ganError(f"{path} does not exist", "", "check the path")
    real = path.resolve()
    if real == output.resolve() and len(inputs) > 1:
        return True
    if real.is_relative_to(output.resolve()):
        raise Hep2ganError(
            f"{path} lies in output={output}",
            "what lies there is results, and no input",
            f"set output={output / 'predictions'}, or another folder",
        )
    return False


def _name_results(images: Sequence[InputImage]) -> list[InputImage]:
    """Name results after their files without suffix, or with it where names differ in it alone."""
    images = sorted(dict.fromkeys(images))
    counts = Counter(image.name.with_suffix("") for image in images)
    by_name: dict[Path, Path] = {}
    for path, name in images:
        short = name.with_suffix("")
        result = short if counts[short] == 1 else name
        if (other := by_name.setdefault(result, path)) != path:
            raise Hep2ganError(
                f"{other} and {path} would both be written as {result}",
                "results are named after the files",
                "predict them by two commands, each with an output of its own",
            )
    return [InputImage(path, name) for name, path in by_name.items()]


def _load_or_explain(file: InputImage | InputArray, **options: Any) -> LoadedImage | Hep2ganError:
    try:
        return load_image(file, **options)
    except Hep2ganError as error:
        return with_own_keys(error)


def with_own_keys(error: Hep2ganError) -> Hep2ganError:
    """Name the keys of hep2gan-predict in an error of reading an image.

    Args:
        error: The error, which names those of the group `data`.

    Returns:
        The same in the words of this command.
    """
    return Hep2ganError(*(_KEY.sub(r"\1", part) for part in (error.fact, error.rule, error.fix)))


def load_image(
    file: InputImage | InputArray,
    size: int,
    reading: ImageReading,
    for_overlay: bool,
    crops: CropGeometry | None = None,
) -> LoadedImage:
    """Read an image for the networks.

    Args:
        file: The image file, or an array.
        size: S, the side in pixels of the images that the networks take.
        reading: White level, channel and plane.
        for_overlay: Whether the pixels are kept at their own size too.
        crops: How large the raw cells of the training are; None if it is not known.

    Returns:
        The image.

    Raises:
        Hep2ganError: The image cannot be read, see `read_image` and `read_array`, or it is many
            times as large as the largest crop of the training, so that it is a field of cells.
    """
    if isinstance(file, InputArray):
        name, image = file.name, read_array(file.name, file.pixels, reading.white_level)
    else:
        name, image = str(file.path), read_image(file.path, *reading)
    if crops and max(image.shape) > MAX_CROPS * crops.largest:
        raise Hep2ganError(
            f"{name} has {image.shape[1]} × {image.shape[0]} pixels",
            f"one file is one cell, and those of the training are at most {crops.largest} px long",
            "set input=field if it shows many cells, input=crop if it shows one",
        )
    stored, levels = stretch(resize(image, size))
    return LoadedImage(
        file, image.shape, stretch(image)[0] if for_overlay else None, stored, levels
    )


def to_prediction(
    image: LoadedImage,
    predicted: BackendOutput,
    classes: Sequence[str],
    trust: TrustRule = TrustRule(),  # noqa: B008, it cannot change
) -> CellPrediction:
    """Bring what the networks return to the size and the names of the image.

    Args:
        image: The image.
        predicted: What the networks return for it, with scaled probabilities.
        classes: K class names, in the order of the probabilities.
        trust: From where on a cell is unlike the training.

    Returns:
        The prediction.
    """
    mask, file, probabilities = None, image.file, None
    if predicted.mask is not None:
        mask = threshold_at_size(predicted.mask, image.shape)
    if predicted.probabilities is not None:
        probabilities = dict(zip(classes, predicted.probabilities.tolist(), strict=True))
    name = file.name if isinstance(file, InputArray) else str(file.path)
    spread = None if predicted.spread is None else float(predicted.spread)
    entropy, distance, _, unlike = trust.measure(
        *(
            None if part is None else part[None]
            for part in (predicted.probabilities, predicted.distances)
        )
    )
    return CellPrediction(
        name,
        image.background,
        mask,
        probabilities,
        spread,
        None if entropy is None else float(entropy[0]),
        None if distance is None else float(distance[0]),
        None if unlike is None else bool(unlike[0]),
    )


def write_result(
    result: tuple[LoadedImage, BackendOutput],
    classes: Sequence[str],
    output: Path,
    masks: Masks = True,
    trust: TrustRule = TrustRule(),  # noqa: B008, it cannot change
) -> dict[str, Any]:
    """Write the mask and the overlay of one image.

    Args:
        result: The image and what the networks predict for it.
        classes: K class names, in the order of the probabilities.
        output: Folder of masks/ and overlays/, or of the masks alone.
        masks: As in `Predictor.predict`.
        trust: As in `to_prediction`.

    Returns:
        The image's row of predictions.csv.

    Raises:
        Hep2ganError: Only masks are wanted, and there is none.
    """
    image, predicted = result
    require_masks(masks, predicted)
    cell, name = to_prediction(image, predicted, classes, trust), Path(image.file.name)
    if cell.mask is not None and masks:
        stem = Path("masks") / name if masks is True else name.with_name(f"{name.name}_Mask")
        save_png(output / stem, cell.mask * 255)
    if (picture := _draw_overlay(cell, predicted.activation)) is not None:
        save_png(output / "overlays" / name, picture)
    row = cell.row()
    return {key: _to_text(value) for key, value in row.items()}


def _to_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6f}" if isinstance(value, float) else value


def _draw_overlay(
    cell: CellPrediction, activation: npt.NDArray[np.float32] | None
) -> ByteImage | None:
    """The image with its map and the outline of its mask; None without either."""
    picture = cell.image
    if picture is None or (cell.mask is None and activation is None):
        return None
    if activation is not None:
        picture = blend_map(picture, bring_to_size(activation, picture.shape))
    return picture if cell.mask is None else overlay(picture, cell.mask)


def require_masks(masks: Masks, predicted: BackendOutput) -> None:
    """Check that there are masks where nothing else is wanted.

    Args:
        masks: As in `Predictor.predict`.
        predicted: What the networks predict.

    Raises:
        Hep2ganError: Only masks are wanted, and there is none.
    """
    if masks == "only" and predicted.mask is None:
        raise Hep2ganError(
            "this method makes no masks, and masks is 'only'",
            "masks come from a run that was trained to segment",
            "name such a run (method=proposed or segmentation), or leave masks=only out",
        )


def threshold_at_size(probability: npt.NDArray[np.float32], shape: tuple[int, ...]) -> ByteImage:
    """Make a mask of the image's own size: probabilities are resized, then thresholded at 0.5.

    Args:
        probability: float32 (S, S) probability that a pixel belongs to the nucleus.
        shape: Height and width of the image in pixels.

    Returns:
        uint8 (h, w) of {0, 1}.
    """
    return (bring_to_size(probability, shape) >= 0.5).astype(np.uint8)


def bring_to_size(values: npt.NDArray[np.float32], shape: tuple[int, ...]) -> GreyImage:
    """Resize what the networks say of an image to its own size, bilinearly.

    Args:
        values: float32 (S, S).
        shape: Height and width of the image in pixels.

    Returns:
        float32 (h, w).
    """
    height, width = shape
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def save_png(stem: Path, pixels: ByteImage) -> None:
    """Write a PNG, completely or not at all.

    Args:
        stem: Its path without suffix; the folder is made.
        pixels: uint8 (h, w) or (h, w, 3).
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(stem.with_name(stem.name + ".png")) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=COMPRESSION)


def _to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["image"]
    return csv_text(columns, rows)


def map_ordered(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R]:
    """Yield `work(item)` of each item in turn, while later items are in progress.

    Items are taken when they are needed, so that memory does not grow with their number. The first
    error that `work` raises is raised when its turn comes; items not yet started are then
    cancelled.

    Args:
        pool: Runs the work.
        work: The function to call on each item.
        items: Its arguments.
        ahead: How many later items are in progress at most.

    Yields:
        The results, in the order of `items`.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
