"""Prediction of whole fields: time against the same cells as files, memory against few fields.

The cells of a field are found (`cells=threshold`) or read from a label image beside it; the same
crops as files are those of the label images, cut with the margin of the training.
"""

import copy
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from experiments.benchmarks.compare import COMPACT, CPU, Ratio, Row, compare, seconds
from experiments.benchmarks.predict import BATCH, predict_folder
from experiments.benchmarks.trainings import Run, prepare_run
from hep2gan.config import parse_finder
from hep2gan.data.fields.labels import LabelFinder, read_labels
from hep2gan.data.fields.regions import cut_cell, find_regions
from hep2gan.data.phantom.fields import FieldsPlan, write_phantom_fields
from hep2gan.data.readers.image import ImageReading, read_image
from hep2gan.inference.fields.cells import CellSource
from hep2gan.inference.fields.predict import FieldOptions, predict_fields
from hep2gan.inference.fields.predictor import FieldPredictor
from hep2gan.inference.fields.specimens import name_specimens
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.onnx_backend import OnnxBackend
from hep2gan.inference.onnx_export import ExportableModel, write_graph
from hep2gan.inference.predict import InferenceBackend, find_images
from hep2gan.runs.folder import CropGeometry
from hep2gan.settings import Component

FINDER = "hep2gan.data.fields.threshold.ThresholdFinder"
FEW, MANY = 5, 200
"""Fields whose peak memory is compared."""


class Trained(NamedTuple):
    """What predicting fields needs to know of a run, small enough for another process."""

    classes: tuple[str, ...]
    size: int
    crops: CropGeometry


def compare_fields(quick: bool = False) -> list[Row]:
    """Compare a field of 400 cells to 400 files, and the peak memory of 200 fields to that of 5.

    Args:
        quick: a small field, once, and few of them.

    Returns:
        The rows of the table.
    """
    side, cells, pairs, many = (400, 12, 1, FEW + 1) if quick else (2048, 400, 5, MANY)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = FieldsPlan(fields=1, width=side, height=side, cells_min=cells, cells_max=cells)
        write_phantom_fields(folder / "field", plan, workers=1)
        run = prepare_run(folder / "run", (*CPU, *COMPACT, "data.count=300"))
        crops = run.folder.store_info().crops
        assert crops is not None
        trained = Trained(run.data.store.classes, run.data.store.size, crops)
        count = _cut_crops(folder / "field", folder / "crops", crops.margin)
        rows = _compare_times(folder, run, trained, count, pairs)
        graph = folder / "m.onnx"
        model = ExportableModel(copy.deepcopy(run.task), run.config.normalisation).eval()
        write_graph(model, trained.size, graph)
        peaks = [_peak_memory(folder / "field", n, graph, trained) for n in (many, FEW)]
    ratio = Ratio.of(peaks[:1], peaks[1:])
    what = f"peak memory of {many} fields of {side} × {side} px, ONNX Runtime"
    return [*rows, Row(what, f"{FEW} such fields", ratio, "GiB", at_most=1.05)]


def _compare_times(folder: Path, run: Run, trained: Trained, count: int, pairs: int) -> list[Row]:
    engine = TorchBackend(run.task, run.config.normalisation, torch.device("cpu"))
    theirs = seconds(partial(predict_folder, engine, run, folder / "crops", folder / "single"))
    (folder / "bare").mkdir()
    for file in (folder / "field").glob("*_p0.png"):
        shutil.copy(file, folder / "bare")
    rows = []
    for words, place in (("cells=threshold", "bare"), ("a label image beside it", "field")):
        ours = partial(run_fields, folder / place, engine, trained, folder / f"out_{place}")
        ratio = compare(seconds(ours), theirs, pairs=pairs)
        what = f"prediction of a field of {count} cells, {words}, compact networks, 64 px"
        rows.append(Row(what, "the same crops as files", ratio, at_most=3.0))
    return rows


def run_fields(folder: Path, engine: InferenceBackend, trained: Trained, output: Path) -> None:
    """Predict a folder of fields as hep2gan-predict does.

    Args:
        folder: the fields.
        engine: runs the networks.
        trained: of the run.
        output: where the results go.
    """
    fields = find_images([str(folder)], output).images
    nucleus = trained.crops.nucleus
    finder = parse_finder(Component.model_validate({"_target_": FINDER}))
    predict_fields(
        fields,
        FieldPredictor(engine, trained.classes, trained.size, trained.crops.margin, BATCH),
        CellSource(LabelFinder(), finder, nucleus),
        name_specimens(fields, None),
        FieldOptions(ImageReading(), nucleus, output),
        lambda *_: None,
    )


def _cut_crops(fields: Path, crops: Path, margin: int) -> int:
    """Save each cell of the fields as a file of its own; return their number."""
    crops.mkdir()
    count = 0
    for file in sorted(fields.glob("*_p0.png")):
        image = read_image(file)
        labels = read_labels(file.with_name(f"{file.stem}_labels.png"))
        for region in find_regions(labels):
            crop = cut_cell(image, labels, region, margin)
            Image.fromarray(crop.image.astype(np.uint8)).save(crops / f"{count:05d}.png")
            count += 1
    return count


def _peak_memory(field: Path, count: int, graph: Path, trained: Trained) -> float:
    """Peak memory in GiB of a new process that predicts a field so many times over."""
    with tempfile.TemporaryDirectory() as name:
        many = Path(name) / "many"
        many.mkdir()
        (image,) = field.glob("*_p0.png")
        for number in range(count):
            (many / f"{number}_p0.png").symlink_to(image)
            labels = image.with_name(f"{image.stem}_labels.png")
            (many / f"{number}_p0_labels.png").symlink_to(labels)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            task = pool.submit(_predict_many, many, graph, trained, Path(name) / "out")
            return task.result()


def _predict_many(folder: Path, graph: Path, trained: Trained, output: Path) -> float:
    run_fields(folder, OnnxBackend(graph, "cpu"), trained, output)
    # Not getrusage, whose peak a new process has from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20
