"""Validation, test and metrics of 1,360 cells, against the networks' forward alone.

Validation is timed as a training has it, the test as `hep2gan-evaluate` has it: with all metrics,
the trivial priors beside them and predictions.npz. The forward alone runs the same networks over
the same batches, which lie in memory ready made.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from experiments.benchmarks.pairs import Ratio, in_pairs
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import COMPACT, SmallRun, small_run
from hep2gan.data.batch import Batch
from hep2gan.data.splits import Split
from hep2gan.io import atomic_write
from hep2gan.reports.build import write_report
from hep2gan.training.evaluation import evaluate_run
from hep2gan.training.setup import build_data
from hep2gan.training.signals import SignalHandler
from hep2gan.training.trainer import build_callbacks, build_trainer

CELLS = 1360
TRAINED = 40
"""Batches of training before each validation, so that masks begin to look like cells."""
SECONDS_FOR_FIGURES = 60.0


def measure() -> list[Row]:
    """The metrics, then what figures and report add. The paper's networks hide both better."""
    return rows_of("compact networks, 64 px", COMPACT, pairs=4)


def rows_of(words: str, overrides: tuple[str, ...], *, pairs: int) -> list[Row]:
    """The rows for some networks."""
    with tempfile.TemporaryDirectory() as folder:
        run = evaluated_run(Path(folder) / "method" / "seed0", overrides)
        batches = batches_of(run)
        times = in_pairs(
            lambda: validated(run) + tested(run),
            lambda: forwarded(run, batches) * 2,
            pairs=pairs,
        )
        what = f"validation, test and metrics of {CELLS:,} cells, {words}"
        beyond = [reported(run) - forwarded(run, batches) for _ in range(2)]
        return [
            Row(what, "the forward alone, twice", "at most", 1.10, Ratio.of(*times)),
            Row(
                f"test, figures and report of {CELLS:,} cells beyond the forward",
                "60 s",
                "at most",
                1.0,
                Ratio.of(beyond, [SECONDS_FOR_FIGURES] * len(beyond)),
            ),
        ]


def evaluated_run(folder: Path, overrides: tuple[str, ...]) -> SmallRun:
    """A run that trains on some batches, and validates and tests on the same 1,360 drawn cells."""
    limits = ("trainer.max_epochs=1", f"trainer.limit_batches={TRAINED}")
    run = small_run(folder, *overrides, f"data.count={CELLS}", *limits)
    rows = np.arange(CELLS)
    split = Split(rows, rows, rows, run.data.split.settings)
    return run._replace(data=build_data(run.config, run.data.store, split))


def batches_of(run: SmallRun) -> list[Batch]:
    """The batches of the test part, as the networks get them."""
    return [run.data.on_after_batch_transfer(raw, 0) for raw in run.data.test_dataloader()]


def forwarded(run: SmallRun, batches: list[Batch]) -> float:
    """Seconds of one forward of all batches."""
    run.task.eval()
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            run.task(batch.image, batch.mask)
    return time.perf_counter() - start


class Validation(Callback):
    """seconds: of the last validation, from its start to its logged metrics."""

    seconds = 0.0

    def on_validation_start(self, *_: Any) -> None:
        """Start the clock."""
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the clock."""
        self.seconds = time.perf_counter() - self._since


def validated(run: SmallRun) -> float:
    """Seconds of the validation of a training, which makes a few steps before it."""
    clock = Validation()
    every = build_callbacks(run.config, run.run, run.data, SignalHandler())
    trainer = build_trainer(run.config["trainer"], [], [*every, clock], validates=True)
    run.task.train()
    trainer.fit(run.task, run.data)
    return clock.seconds


def tested(run: SmallRun) -> float:
    """Seconds of the test with all metrics and predictions.npz."""
    start = time.perf_counter()
    evaluate_run(run.task, run.data, run.run, run.config, figures=False)
    return time.perf_counter() - start


def reported(run: SmallRun) -> float:
    """Seconds of the test, its figures, and all that hep2gan-report writes."""
    start = time.perf_counter()
    evaluate_run(run.task, run.data, run.run, run.config)
    atomic_write(run.run.done_file, "")
    write_report([run.run.path], run.run.path / "report")
    return time.perf_counter() - start
