"""Segment and name the cells of image files that nobody has labelled."""

import csv
import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from hep2gan.data.readers.image import SUFFIXES, ByteImage, GreyLevels, read_image, resize, stretch
from hep2gan.errors import Hep2ganError
from hep2gan.inference.backend import InferenceBackend
from hep2gan.io import atomic_open, atomic_write
from hep2gan.reports.figures.overlay import overlay


@dataclass(frozen=True)
class InputImage:
    """One image file and the name its results get, relative to the output folder."""

    path: Path
    name: Path


def find_images(inputs: Sequence[str]) -> list[InputImage]:
    """Image files named directly or lying in the folders named; masks (*_Mask) are left out.

    Raises Hep2ganError for inputs that do not exist, for none at all, and for two files whose
    results would get the same name.
    """
    found = [image for text in inputs for image in _of_input(Path(text))]
    if not found:
        raise Hep2ganError(
            f"no images in {', '.join(inputs)}",
            f"images end in {', '.join(sorted(SUFFIXES))}",
            "name image files, or folders that hold some",
        )
    seen: dict[Path, Path] = {}
    for image in found:
        other = seen.setdefault(image.name, image.path)
        if other != image.path:
            raise Hep2ganError(
                f"{other} and {image.path} would both be written as {image.name}",
                "results are named after the files",
                "predict the two folders into two outputs",
            )
    return [InputImage(path, name) for name, path in seen.items()]


def _of_input(path: Path) -> Iterator[InputImage]:
    if path.is_file():
        yield InputImage(path, Path(path.stem))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.stem.endswith("_Mask"):
                yield InputImage(file, file.relative_to(path).with_suffix(""))
    else:
        raise Hep2ganError(f"{path} does not exist", "", "check the path")


T = TypeVar("T")
R = TypeVar("R")


def map_ordered(
    pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Generator[R]:
    """Give `work(item)` of each item in turn, while at most `ahead` later ones are under way.

    Items are drawn as they are needed, so that nothing grows with their number. The first error
    that `work` raises is raised when its turn comes; what was not begun is then left out.
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


_COMPRESSION = 1
"""Of PNG: half the time of the usual 6 for files a tenth larger, and the same pixels."""


class LoadedImage(NamedTuple):
    """An image that could be read.

    shape: its height and width. shown: (h, w) pixels to draw an overlay on, if one is wanted.
    stored: (S, S) pixels for the networks, whose 0 and 255 stand for `levels`.
    """

    found: InputImage
    shape: tuple[int, ...]
    shown: ByteImage | None
    stored: ByteImage
    levels: GreyLevels


class PredictedImage(NamedTuple):
    """A cell and what the networks say of it. mask: (S, S). probabilities: (K,)."""

    cell: LoadedImage
    mask: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32] | None


def load_image(found: InputImage, size: int, white_level: int | None, shown: bool) -> LoadedImage:
    """Read a file for networks of `size` px. Raises Hep2ganError as `read_image` does."""
    image = read_image(found.path, white_level)
    stored, levels = stretch(resize(image, size))
    return LoadedImage(found, image.shape, stretch(image)[0] if shown else None, stored, levels)


def write_result(named: PredictedImage, classes: Sequence[str], output: Path) -> dict[str, Any]:
    """Write masks/ and overlays/ of one cell into `output`; its row of predictions.csv."""
    cell = named.cell
    row: dict[str, Any] = {"image": str(cell.found.path)}
    if named.probabilities is not None:
        chances = named.probabilities.tolist()
        row["predicted"] = classes[int(np.argmax(chances))]
        row |= {name: f"{chance:.6f}" for name, chance in zip(classes, chances, strict=True)}
    if named.mask is not None:
        mask = _at_size(named.mask, cell.shape)
        row["mask_share"] = f"{mask.mean():.6f}"
        _save(output / "masks" / cell.found.name, mask * 255)
        if cell.shown is not None:
            _save(output / "overlays" / cell.found.name, overlay(cell.shown, mask))
    return row


def _at_size(probability: npt.NDArray[np.float32], shape: tuple[int, ...]) -> ByteImage:
    """The (S, S) mask at the image's own size: probabilities resized, then thresholded at 0.5."""
    height, width = shape
    image = Image.fromarray(probability.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return (resized >= 0.5).astype(np.uint8)


def _save(stem: Path, pixels: ByteImage) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with atomic_open(stem.with_name(stem.name + ".png")) as file:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=_COMPRESSION)


THREADS = 4
"""That read and write beside the networks: they wait for the disk, and Pillow lets others run."""


@dataclass
class PredictionReport:
    """How many images were done, and what is wrong with the others."""

    done: int = 0
    problems: list[str] = field(default_factory=list)


class Predictor:
    """Run networks over files, a batch at a time, and write what they say.

    Files of the next batch are read and those of the last are written while the networks run.
    """

    def __init__(self, engine: InferenceBackend, classes: Sequence[str], size: int) -> None:
        self._engine, self._classes, self._size = engine, tuple(classes), size

    def predict(
        self,
        images: Sequence[InputImage],
        output: Path,
        *,
        batch_size: int,
        white_level: int | None,
        overlays: bool,
        progress: Callable[[int, int], None],
    ) -> PredictionReport:
        """Write masks/, overlays/ and predictions.csv into `output`; skip what cannot be read."""
        report, total = PredictionReport(), len(images)
        read = partial(_read, size=self._size, white_level=white_level, shown=overlays)
        write = partial(write_result, classes=self._classes, output=output)
        with (
            ThreadPoolExecutor(THREADS) as pool,
            closing(map_ordered(pool, read, images, ahead=batch_size)) as cells,
            closing(self._named(cells, batch_size, report)) as named,
            closing(map_ordered(pool, write, named, ahead=batch_size)) as written,
        ):
            rows = []
            for row in written:
                rows.append(row)
                report.done = len(rows)
                progress(report.done + len(report.problems), total)
        output.mkdir(parents=True, exist_ok=True)
        atomic_write(output / "predictions.csv", _csv(rows))
        return report

    def _named(
        self, cells: Iterator[LoadedImage | Hep2ganError], batch_size: int, report: PredictionReport
    ) -> Generator[PredictedImage]:
        """Run the networks over each `batch_size` files; those that could not be read are told."""
        while batch := list(islice(cells, batch_size)):
            report.problems += [str(cell) for cell in batch if isinstance(cell, Hep2ganError)]
            if readable := [cell for cell in batch if isinstance(cell, LoadedImage)]:
                image = np.stack([cell.stored for cell in readable])
                levels = np.array([cell.levels for cell in readable], np.float32)
                mask, chances = self._engine(image, levels)
                for place, cell in enumerate(readable):
                    yield PredictedImage(
                        cell,
                        None if mask is None else mask[place],
                        None if chances is None else chances[place],
                    )


def _read(found: InputImage, **given: Any) -> LoadedImage | Hep2ganError:
    try:
        return load_image(found, **given)
    except Hep2ganError as error:
        return error


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["image"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
