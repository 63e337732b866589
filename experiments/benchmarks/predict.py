"""Prediction against a plain loop over files, and evaluation against the networks' forward pass.

Networks of both sides have the same weights and are in memory: the cost of starting does not count.
"""

import copy
import csv
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from experiments.benchmarks.compare import COMPACT, CPU, Ratio, Row, compare, rate, seconds
from experiments.benchmarks.trainings import Run, prepare_run
from hep2gan.data.batch import Batch
from hep2gan.data.phantom.generate import write_phantom
from hep2gan.data.readers.image import ImageReading
from hep2gan.data.splits import Split
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.onnx_backend import OnnxBackend
from hep2gan.inference.onnx_export import ExportableModel, write_graph
from hep2gan.inference.predict import InferenceBackend, Predictor, find_images
from hep2gan.io import atomic_write
from hep2gan.reports.build import write_report
from hep2gan.reports.figures.overlay import overlay
from hep2gan.training.evaluation import evaluate_run
from hep2gan.training.setup import build_data
from hep2gan.training.signals import SignalHandler
from hep2gan.training.trainer import build_callbacks, build_trainer

BATCH = 64
"""That of conf/predict.yaml."""
SECONDS_FOR_FIGURES = 60.0


def compare_prediction(quick: bool = False) -> list[Row]:
    """Compare hep2gan-predict, with ONNX Runtime and with PyTorch, to eager PyTorch file by file.

    Args:
        quick: one pair of few files.

    Returns:
        The rows of the table.
    """
    files, pairs = (10, 1) if quick else (400, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = folder / "cells"
        write_phantom(cells, files, seed=0)
        run = prepare_run(folder / "run", (*CPU, *COMPACT, "data.count=300"))
        networks = copy.deepcopy(run.task).eval().networks
        theirs = partial(
            predict_file_by_file, networks["generator"], networks["classifier"],
            run.data.store.classes, run.data.store.size, cells, folder / "plain",
        )  # fmt: skip
        normalisation = run.config.normalisation
        write_graph(
            ExportableModel(run.task, normalisation).eval(), run.data.store.size, folder / "m.onnx"
        )
        engines: dict[str, InferenceBackend] = {
            "ONNX Runtime": OnnxBackend(folder / "m.onnx", "cpu"),
            "PyTorch": TorchBackend(run.task, normalisation, torch.device("cpu")),
        }
        rows = []
        for words, engine in engines.items():
            ours = partial(predict_folder, engine, run, cells, folder / words)
            ratio = compare(rate(ours, files), rate(theirs, files), pairs=pairs)
            what = f"prediction of {files:,} files, {words}, compact networks, 64 px"
            rows.append(Row(what, "eager PyTorch, file by file", ratio, "images/s", at_least=4.0))
    return rows


def predict_folder(engine: InferenceBackend, run: Run, cells: Path, output: Path) -> None:
    """Predict a folder of images as hep2gan-predict does.

    Args:
        engine: runs the networks.
        run: names classes and size.
        cells: the folder.
        output: where masks, overlays and predictions.csv go.
    """
    images = find_images([str(cells)], output).images
    Predictor(engine, run.data.store.classes, run.data.store.size).predict(
        images, output, batch_size=BATCH, reading=ImageReading(), overlays=True,
        progress=lambda *_: None,
    )  # fmt: skip


def predict_file_by_file(
    generator: nn.Module,
    classifier: nn.Module,
    classes: Sequence[str],
    size: int,
    cells: Path,
    output: Path,
) -> None:
    """Predict a folder as a plain script does: one image at a time, nothing set in Pillow or torch.

    Computes and writes what hep2gan-predict does for 8-bit grey images, normalisation min_max.

    Args:
        generator: gives mask logits.
        classifier: gives logits and features.
        classes: their names.
        size: side of the networks' images in pixels.
        cells: the folder.
        output: where masks, overlays and predictions.csv go.
    """
    for name in ("masks", "overlays"):
        (output / name).mkdir(parents=True, exist_ok=True)
    with (output / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["image", "predicted", *classes, "mask_fraction"])
        for path in (image.path for image in find_images([str(cells)], output).images):
            grey = Image.open(path).convert("F")
            small = _stretch(np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR)))
            with torch.inference_mode():
                pixels = torch.from_numpy(small).float()
                low, high = pixels.min(), pixels.max()
                image = ((pixels - low) / (high - low))[None, None]
                mask = generator(image).sigmoid()
                logits, _ = classifier(image, mask)
                probabilities = logits.softmax(dim=1)[0].tolist()
            soft = Image.fromarray(mask[0, 0].numpy()).resize(grey.size, Image.Resampling.BILINEAR)
            hard = (np.asarray(soft) >= 0.5).astype(np.uint8)
            Image.fromarray(hard * 255).save(output / "masks" / f"{path.stem}.png")
            contours = overlay(_stretch(np.asarray(grey)), hard)
            Image.fromarray(contours).save(output / "overlays" / f"{path.stem}.png")
            written = [f"{value:.6f}" for value in (*probabilities, hard.mean())]
            rows.writerow([str(path), classes[int(np.argmax(probabilities))], *written])


def _stretch(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = float(grey.min()), float(grey.max())
    return np.rint((grey.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)


def compare_evaluation(quick: bool = False) -> list[Row]:
    """Compare validation, test and metrics to the forward pass alone; time figures and report.

    The test is that of hep2gan-evaluate, with predictions.npz. The forward pass has the same
    networks and batches, which are in memory.

    Args:
        quick: few cells, one pair.

    Returns:
        The rows of the table.
    """
    cells, trained, pairs, reports = (300, 1, 1, 1) if quick else (1360, 40, 4, 2)
    with tempfile.TemporaryDirectory() as folder:
        limits = ("trainer.max_epochs=1", f"trainer.limit_train_batches={trained}")
        overrides = (*CPU, *COMPACT, f"data.count={cells}", *limits)
        run = prepare_run(Path(folder) / "method" / "seed0", overrides)
        every = np.arange(cells)
        split = Split(every, every, every, run.data.split.settings)
        run = run._replace(data=build_data(run.config, run.data.store, split))
        callbacks = build_callbacks(run.config, run.folder, run.data, SignalHandler())
        trainer = build_trainer(run.config.trainer, [], callbacks, validates=True)
        # Some steps, so that masks begin to look like cells.
        trainer.fit(run.task, run.data)
        batches = [run.data.on_after_batch_transfer(b, 0) for b in run.data.test_dataloader()]
        forward = seconds(partial(run_forward, run, batches))

        def validate_and_test() -> None:
            trainer.validate(run.task, run.data, verbose=False)
            evaluate_run(run.task, run.data, run.folder, run.config, figures=False)

        ratio = compare(seconds(validate_and_test), lambda: 2 * forward(), pairs=pairs)
        beyond = [seconds(partial(evaluate_and_report, run))() - forward() for _ in range(reports)]
    return [
        Row(
            f"validation, test and metrics of {cells:,} cells, compact networks, 64 px",
            "the forward alone, twice", ratio, at_most=1.1,
        ),
        Row(
            f"test, figures and report of {cells:,} cells beyond the forward", "60 s",
            Ratio.of(beyond, [SECONDS_FOR_FIGURES] * len(beyond)), at_most=1.0,
        ),
    ]  # fmt: skip


def run_forward(run: Run, batches: Sequence[Batch]) -> None:
    """Run the networks over all batches.

    Args:
        run: has the networks.
        batches: as the networks get them.
    """
    run.task.eval()
    with torch.inference_mode():
        for batch in batches:
            run.task(batch.image, batch.mask)


def evaluate_and_report(run: Run) -> None:
    """Test with figures, then write all that hep2gan-report writes.

    Args:
        run: is tested.
    """
    evaluate_run(run.task, run.data, run.folder, run.config)
    atomic_write(run.folder.done_file, "")
    write_report([run.folder.path], run.folder.path / "report")
