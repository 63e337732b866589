"""Segment and name the cells of image files that nobody has labelled."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hep2gan.data.images import read_image, resize, stretch
from hep2gan.data.normalise import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.outputs import Outputs
from hep2gan.reports.figures.overlay import overlay
from hep2gan.task import SegmentationGuidedClassification
from hep2gan.whole import whole, write_whole

SUFFIXES = frozenset({".png", ".tif", ".tiff"})


@dataclass(frozen=True)
class Found:
    """One image file and the name its results get, relative to the output folder."""

    path: Path
    name: Path


@dataclass
class Report:
    """How many images were done, and what is wrong with the others."""

    done: int = 0
    problems: list[str] = field(default_factory=list)


def find_images(inputs: Sequence[str]) -> list[Found]:
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
    return [Found(path, name) for name, path in seen.items()]


def _of_input(path: Path) -> Iterator[Found]:
    if path.is_file():
        yield Found(path, Path(path.stem))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.stem.endswith("_Mask"):
                yield Found(file, file.relative_to(path).with_suffix(""))
    else:
        raise Hep2ganError(f"{path} does not exist", "", "check the path")


class Predictor:
    """Run a trained task over files, a batch at a time, and write what it says."""

    def __init__(
        self,
        task: SegmentationGuidedClassification,
        classes: Sequence[str],
        size: int,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        if task.guidance.source == "ground_truth":
            raise Hep2ganError(
                "this run was trained with true masks",
                "its classifier needs the true mask, which new images do not have",
                "use a run with guidance.source=generated or none",
            )
        self._task = task.to(device).eval()
        self._classes, self._size, self._device = tuple(classes), size, device
        self._normalisation = normalisation

    def predict(
        self,
        images: Sequence[Found],
        output: Path,
        *,
        batch_size: int,
        white: int | None,
        overlays: bool,
        progress: Callable[[int, int], None],
    ) -> Report:
        """Write masks/, overlays/ and predictions.csv into `output`; skip what cannot be read."""
        report, rows = Report(), list[dict[str, Any]]()
        for start in range(0, len(images), batch_size):
            readable = list(_read(images[start : start + batch_size], white, report))
            if readable:
                outputs = self._run([image for _, image in readable])
                rows += self._written(readable, outputs, output, overlays)
            report.done = len(rows)
            progress(min(start + batch_size, len(images)), len(images))
        output.mkdir(parents=True, exist_ok=True)
        write_whole(output / "predictions.csv", self._csv(rows))
        return report

    @torch.inference_mode()
    def _run(self, images: Sequence[np.ndarray]) -> Outputs:
        stored = [stretch(resize(image, self._size)) for image in images]
        pixels = torch.from_numpy(np.stack([image for image, _ in stored])).to(self._device)
        levels = torch.tensor([tuple(level) for _, level in stored], device=self._device)
        outputs: Outputs = self._task(self._normalisation(pixels, levels))
        return outputs.cpu()

    def _written(
        self, readable: Sequence[tuple[Found, Any]], outputs: Outputs, output: Path, overlays: bool
    ) -> list[dict[str, Any]]:
        rows = []
        for position, (found, image) in enumerate(readable):
            row: dict[str, Any] = {"image": str(found.path)}
            if outputs.probabilities is not None:
                chances = outputs.probabilities[position].tolist()
                row["predicted"] = self._classes[int(np.argmax(chances))]
                row |= {
                    name: f"{chance:.6f}"
                    for name, chance in zip(self._classes, chances, strict=True)
                }
            if outputs.mask is not None:
                mask = _at_size(outputs.mask[position, 0].numpy(), image.shape)
                row["mask_share"] = f"{mask.mean():.6f}"
                _save(output / "masks" / found.name, mask * 255)
                if overlays:
                    _save(output / "overlays" / found.name, overlay(stretch(image)[0], mask))
            rows.append(row)
        return rows

    def _csv(self, rows: Sequence[Mapping[str, Any]]) -> str:
        columns = list(dict.fromkeys(key for row in rows for key in row)) or ["image"]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _read(
    images: Sequence[Found], white: int | None, report: Report
) -> Iterator[tuple[Found, np.ndarray]]:
    for found in images:
        try:
            yield found, read_image(found.path, white)
        except Hep2ganError as error:
            report.problems.append(str(error))


def _at_size(probability: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The (S, S) mask at the image's own size: probabilities resized, then thresholded at 0.5."""
    height, width = shape
    image = Image.fromarray(probability.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return (resized >= 0.5).astype(np.uint8)


def _save(stem: Path, pixels: np.ndarray) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with whole(stem.with_name(stem.name + ".png")) as file:
        Image.fromarray(pixels).save(file, format="PNG")
