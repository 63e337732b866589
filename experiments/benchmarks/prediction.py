"""hep2gan-predict on a folder of drawn cells, against a plain loop over its files.

Both have the compact networks of method=proposed at 64 px with the same weights, ready in memory,
and write the same masks, overlays and predictions.csv. Starting costs do not count.
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from experiments.benchmarks.pairs import Ratio, seconds
from experiments.benchmarks.plain_prediction import predict_file_by_file
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import COMPACT, SmallRun, small_run
from hep2gan.data.phantom.generate import write_phantom
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.inference.backend import InferenceBackend
from hep2gan.inference.export import ExportableModel, write_graph
from hep2gan.inference.onnx_backend import OnnxBackend
from hep2gan.inference.predict import Predictor, find_images
from hep2gan.inference.torch_backend import TorchBackend

CELLS = 400
BATCH = 64
"""That of conf/predict.yaml."""


def measure() -> list[Row]:
    """Images a second, with PyTorch and with ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cells = place / "cells"
        write_phantom(cells, CELLS, seed=0)
        run = small_run(place / "run", *COMPACT, "data.count=300")
        # The plain loop has networks of its own, which stay as they come.
        other = run._replace(task=copy.deepcopy(run.task).eval())
        return [
            _row(words, engine, run, other, cells, place)
            for words, engine in (
                ("ONNX Runtime", onnx_engine(run, place / "model.onnx")),
                ("PyTorch", torch_engine(run)),
            )
        ]


def torch_engine(run: SmallRun) -> TorchBackend:
    """The networks of a run as hep2gan-predict runs them."""
    return TorchBackend(run.task, normalisation(run), torch.device("cpu"))


def onnx_engine(run: SmallRun, file: Path) -> OnnxBackend:
    """The same, exported."""
    write_graph(
        ExportableModel(run.task, normalisation(run)).eval(), run.config["data"]["size"], file
    )
    return OnnxBackend(file, "cpu")


def normalisation(run: SmallRun) -> Normalisation:
    """The run's own."""
    return Normalisation(**run.config["normalisation"])


def ours(
    engine: InferenceBackend, run: SmallRun, cells: Path, output: Path
) -> Callable[[], object]:
    """Predict the folder as the command does."""
    store = run.data.store
    predictor = Predictor(engine, store.classes, store.size)
    return lambda: predictor.predict(
        find_images([str(cells)]),
        output,
        batch_size=BATCH,
        white=None,
        overlays=True,
        progress=lambda done, total: None,
    )


def theirs(run: SmallRun, cells: Path, output: Path) -> Callable[[], object]:
    """Predict the folder by the plain loop."""
    assert run.task.generator is not None
    assert run.task.classifier is not None
    networks, store = (run.task.generator, run.task.classifier), run.data.store
    return lambda: predict_file_by_file(
        *networks,
        store.classes,
        store.size,
        [each.path for each in find_images([str(cells)])],
        output,
    )


def _row(
    words: str, engine: InferenceBackend, run: SmallRun, other: SmallRun, cells: Path, place: Path
) -> Row:
    times = seconds(
        ours(engine, run, cells, place / words),
        theirs(other, cells, place / "plain"),
        pairs=3,
    )
    speeds = Ratio.of(*([CELLS / each for each in side] for side in times))
    what = f"prediction of {CELLS:,} files, {words}, compact networks, 64 px"
    return Row(what, "eager PyTorch, file by file", "at least", 4.0, speeds, "images/s")
