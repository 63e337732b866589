"""The training step of method=proposed under hep2gan-train, against plain PyTorch loops.

Time: ours and theirs in turns within one process and one long epoch, so that starting costs do not
count. Peak memory: of processes that do nothing else. Waiting: as the run's own metrics.csv has it.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from experiments.benchmarks.pairs import Ratio
from experiments.benchmarks.plain_loop import PlainLoop, UsualExample
from experiments.benchmarks.rows import Row
from experiments.benchmarks.small_run import COMPACT, FULL_SIZE, SmallRun, small_run
from experiments.benchmarks.turns import Turns
from hep2gan.data.batch import Batch
from hep2gan.training.loggers.csv import logged_before
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.setup import build_data

SIZES = {"compact": COMPACT, "full": FULL_SIZE}
SWITCHES = ("trainer.channels_last=true",)
FEW_CELLS = "data.count=300"


def measure() -> list[Row]:
    """Time, memory and waiting, for compact networks and for the paper's."""
    return [
        *_rows("compact networks, 64 px", "compact", block=5, pairs=30),
        *_rows("the paper's networks, 128 px", "full", block=2, pairs=6),
    ]


def _rows(words: str, size: str, *, block: int, pairs: int) -> Iterator[Row]:
    from experiments.benchmarks.step_memory import peak_memory

    # As it comes, and with what a plain loop would have to switch on for itself.
    for switches in ((), SWITCHES):
        plain, usual = step_times((*SIZES[size], *switches), block=block, pairs=pairs)
        what = ", ".join(["training step", words, *switches])
        yield Row(what, "a plain loop", "at most", 1.02, plain)
        yield Row(what, "G anew for each update", "at most", 0.80, usual)
    memory = peak_memory(size, steps=3, pairs=2)
    yield Row(f"peak memory, {words}", "a plain loop", "at most", 1.05, memory, "MiB")
    # An epoch of the real set has 764 steps; of few, its start would be the larger part.
    steps, epochs = (100, 3) if size == "compact" else (12, 1)
    waiting = time_waiting(SIZES[size], steps=steps, epochs=epochs)
    yield Row(f"waiting for data, {words}", "the whole step", "at most", 0.01, waiting)


def step_times(overrides: tuple[str, ...], *, block: int, pairs: int) -> tuple[Ratio, Ratio]:
    """Seconds of a step of ours over those of the plain loop, and over those of the usual example.

    All read the same cells through the same loader and augmentation, each for itself. A block is so
    many steps; the first of each does not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        batches = (pairs + 1) * block + 1
        run = small_run(Path(folder), *overrides, *_ONE_EPOCH, batches=batches)
        loops = [plain_loop(kind, copy.deepcopy(run.task)) for kind in (PlainLoop, UsualExample)]
        turns = Turns([looped(loop, run, block) for loop in loops], block)
        assert run.task.generator is not None
        # G runs once a step: from one forward to the next is a whole step, loader and callbacks
        # included.
        run.task.generator.register_forward_pre_hook(lambda *_: turns.step())
        run.train()
    ours, *theirs = ([seconds / block for seconds in times[1:]] for times in turns.times)
    plain, usual = (Ratio.of(ours, one) for one in theirs)
    return plain, usual


_ONE_EPOCH = (FEW_CELLS, "trainer.max_epochs=1")


def plain_loop(kind: type[PlainLoop], task: SegmentationGuidedClassification) -> PlainLoop:
    """The loop with the networks of `task`, and with optimizers as the task would have them."""
    assert task.generator is not None
    assert task.discriminator is not None
    assert task.classifier is not None
    assert task.classification_loss is not None
    assert task.classification_loss.gaussian_mixture is not None
    optimizers, _ = task.configure_optimizers()
    means = task.classification_loss.gaussian_mixture.means
    task.train()
    return kind(task.generator, task.discriminator, task.classifier, means, tuple(optimizers))


def looped(loop: PlainLoop, run: SmallRun, block: int) -> Callable[[], None]:
    """A function that makes the next `block` steps of a loop with the batches of a run."""
    following = batches_of(run)

    def steps() -> None:
        for batch in islice(following, block):
            loop.step(batch.image, batch.mask, batch.label)

    return steps


def batches_of(run: SmallRun) -> Iterator[Batch]:
    """The batches of the run's first epoch, as its trainer gets them."""
    data = build_data(run.config, run.data.store, run.data.split)
    for raw in data.train_dataloader():
        yield data.on_after_batch_transfer(raw, 0)


def time_waiting(overrides: tuple[str, ...], *, steps: int, epochs: int) -> Ratio:
    """Seconds from the end of a step to the start of the next over all seconds of a step.

    In between, cells are gathered, moved to the device, normalised and augmented, and Lightning
    turns its loop. An epoch of `steps` steps gives one reading; the first, which warms up, does not
    count where there are more.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = (FEW_CELLS, f"trainer.max_epochs={epochs}")
        run = small_run(Path(folder), *overrides, *given, batches=steps)
        run.train()
        rows = [row for _, row in logged_before(run.run.curves_file, epochs * steps)]
    found = [row for row in rows if "speed/seconds_per_epoch" in row][epochs > 1 :]
    seconds = [row["speed/seconds_per_epoch"] / steps for row in found]
    shares = [row["speed/share_waiting_for_data"] for row in found]
    return Ratio.of([a * b for a, b in zip(shares, seconds, strict=True)], seconds)
