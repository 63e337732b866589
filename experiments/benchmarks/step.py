"""The training step of method=proposed: time, memory and waiting for data, against plain loops.

Each side trains in a process of its own, and the two take turns by blocks of steps, so that neither
the start nor the settings of one process count for the other. `python -m
experiments.benchmarks.step gpu` measures each switch for a GPU on the one at hand.
"""

import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional as F

from experiments.benchmarks.compare import (
    COMPACT,
    CPU,
    HEAD,
    PAPER,
    SYNTHETIC,
    Ratio,
    Row,
    compare,
    compose_config,
    describe_machine,
    measure_in_turns,
    run_python,
)
from hep2gan.config import TrainConfig
from hep2gan.data.batch import Batch
from hep2gan.data.prepare import open_store
from hep2gan.data.splits import Split
from hep2gan.io import silence_libraries
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.metrics_csv import read_metrics_csv
from hep2gan.training.callbacks.metrics import peak_memory_gib
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.devices import resolve_device as choose_device
from hep2gan.training.loggers.local import CsvLogger
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.profiler import mark, seconds_between, wait
from hep2gan.training.run import open_run
from hep2gan.training.setup import RunSetup
from hep2gan.training.signals import SignalHandler
from hep2gan.training.strategy import disable_lightning_signal_handlers
from hep2gan.training.trainer import build_callbacks, build_trainer, prepare_networks

Program = Literal["trainer", "plain loop", "G anew"]
Side = tuple[Program, tuple[str, ...]]
"""What trains, and the overrides of its configuration."""


class Length(NamedTuple):
    """Steps of a block that are timed, and steps before them, which settle, that are not."""

    timed: int
    settling: int


class Block(NamedTuple):
    """What a block measured: seconds of a step, seconds of waiting in a step, peak MiB so far."""

    step: float
    waiting: float
    memory: float


# ------------------------------------------------------------------ comparisons


def compare_steps(quick: bool = False) -> list[Row]:
    """Compare the step to a plain loop and to a loop that runs G anew for each update.

    Args:
        quick: one pair of single steps of compact networks.

    Returns:
        The rows of the table: time with and without channels last, peak memory, waiting for data.
    """
    sizes = {
        "compact networks, 64 px": (COMPACT, Length(5, 1), 30),
        "the paper's networks, 128 px": (PAPER, Length(2, 1), 6),
    }
    if quick:
        sizes = {"compact networks, 64 px": (COMPACT, Length(1, 1), 1)}
    rows = []
    for words, (networks, length, pairs) in sizes.items():
        base = (*CPU, *networks, "data.count=300")
        for switch in ((), ("trainer.channels_last=true",)):
            ours: Side = ("trainer", (*base, *switch))
            plain = measure_trainings(ours, ("plain loop", base), length, pairs)
            anew = measure_trainings(ours, ("G anew", base), length, pairs)
            what = ", ".join(["training step", words, *switch])
            rows += [
                Row(what, "a plain loop", ratio_of("step", *plain), at_most=1.02),
                Row(what, "G anew for each update", ratio_of("step", *anew), at_most=0.8),
            ]
            if not switch:
                memory, waits = ratio_of("memory", *plain), ratio_of_waiting(plain[0])
                rows += [
                    Row(f"peak memory, {words}", "a plain loop", memory, "MiB", at_most=1.05),
                    Row(f"waiting for data, {words}", "the whole step", waits, at_most=0.01),
                ]
    return rows


def compare_ranks(quick: bool = False) -> list[Row]:
    """Compare two ranks of one thread to one, and two trainings at once to one alone.

    All are hep2gan-train as users start it. Two trainings that share nothing show what the machine
    allows: where they slow each other down, so do two ranks.

    Args:
        quick: one pair of two short epochs.

    Returns:
        The rows of the table, in cells per second.
    """
    cells, epochs, pairs = (100, 2, 1) if quick else (640, 4, 3)
    base = (
        *SYNTHETIC, *CPU, *COMPACT, f"data.count={cells}", f"trainer.max_epochs={epochs}",
        "trainer.eval_batch_size=4" if quick else "trainer.eval_batch_size=32",
    )  # fmt: skip
    one, half = (*base, "trainer.batch_size=32"), (*base, "trainer.batch_size=16")
    two = (*one, "trainer=ddp")
    # Generated and packed before two trainings want them.
    open_store(compose_config(*base).source)
    ranks = compare(lambda: train_at_once(two), lambda: train_at_once(one), pairs=pairs, warm_up=0)
    apart = compare(
        lambda: train_at_once(half, half), lambda: train_at_once(half), pairs=pairs, warm_up=0
    )
    words = "compact networks, one thread a process"
    return [
        Row(f"two ranks of 16 cells, {words}", "one rank of 32", ranks, "cells/s", at_least=1.85),
        Row(
            f"two separate trainings at once, {words}", "one alone", apart, "cells/s",
            at_least=1.85,
        ),
    ]  # fmt: skip


def train_at_once(*trainings: Sequence[str]) -> float:
    """Run several trainings at the same time, with one thread a process.

    Args:
        trainings: the overrides of each.

    Returns:
        Cells per second of all together; of each, the median of its epochs after the first.
    """

    def train(overrides: Sequence[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            run_python(
                "-m", "hep2gan.cli.train", *overrides, f"run_dir={folder}/run",
                environment={"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            rows = read_metrics_csv(Path(folder) / "run" / "metrics.csv").rows
        name = "speed/cells_per_second"
        return statistics.median([float(row[name]) for row in rows if row[name]][1:])

    with ThreadPoolExecutor(len(trainings)) as pool:
        return sum(pool.map(train, trainings))


SWITCHES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "store on the GPU": (("trainer.cache_on_device=true",), ()),
    "channels last": (("trainer.channels_last=true",), ()),
    "bfloat16": (("trainer.precision=bf16-mixed",), ()),
    "TF32": (("trainer.tf32=true",), ("trainer.tf32=false",)),
    "compiled": (("trainer.compile=true",), ()),
    "compiled, CUDA graphs": (("trainer.compile=reduce-overhead",), ()),
    "fused optimizers": (
        ("trainer.fused_optimizers=true",),
        ("trainer.fused_optimizers=false",),
    ),
    "not deterministic": (("trainer.deterministic=false",), ()),
    "2 loader processes": (("trainer.num_workers=2",), ()),
    "trainer=gpu": (("trainer=gpu",), ()),
    "trainer=gpu, CUDA graphs": (("trainer=gpu", "trainer.compile=reduce-overhead"), ()),
}
"""Overrides with the switch and without it."""


def list_gpu_comparisons(*base: str) -> Iterator[tuple[str, str, Side, Side]]:
    """List what is compared on a GPU.

    Args:
        base: overrides of both sides.

    Yields:
        What, against what, and both sides.
    """
    for name, (on, off) in SWITCHES.items():
        yield name, "without it", ("trainer", (*base, *on)), ("trainer", (*base, *off))
    for name, on in {"as it comes": (), "trainer=gpu": ("trainer=gpu",)}.items():
        same = (*base, *on)
        # With trainer=gpu also in bfloat16, channels last, its store on the GPU.
        yield name, "a plain loop with the same settings", ("trainer", same), ("plain loop", same)


def measure_gpu(
    base: Sequence[str] = (*PAPER, "trainer.accelerator=gpu"),
    length: Length = Length(30, 5),  # noqa: B008
    pairs: int = 7,
) -> int:
    """Print what each switch for a GPU does, row by row as they are measured.

    Args:
        base: overrides of all trainings.
        length: steps of a block.
        pairs: blocks of each side.

    Returns:
        The exit status: 2 without a GPU, 1 where a comparison failed.
    """
    if not torch.cuda.is_available():
        print(
            "torch finds no GPU (torch.cuda.is_available() is False). make bench-gpu is for a"
            " machine with an NVIDIA GPU.",
            file=sys.stderr,
        )
        return 2
    print(f"{describe_machine()}\n\n{HEAD}", flush=True)
    failed = False
    for what, against, ours, theirs in list_gpu_comparisons(*base):
        try:
            blocks = measure_trainings(ours, theirs, length, pairs)
        except RuntimeError as error:
            failed = True
            print(f"| {what} | {against} | **failed**: {error} |" + " |" * 5, flush=True)
            continue
        for row in (
            Row(f"training step, {what}", against, ratio_of("step", *blocks)),
            Row(f"peak memory, {what}", against, ratio_of("memory", *blocks), "MiB"),
            Row(f"waiting for data, {what}", "the whole step", ratio_of_waiting(blocks[0])),
        ):
            print(row.line, flush=True)
    return int(failed)


def ratio_of(value: str, ours: Sequence[Block], theirs: Sequence[Block]) -> Ratio:
    """Compare one value of the blocks of two sides.

    Args:
        value: a field of `Block`.
        ours: blocks of one side, in the order of the pairs.
        theirs: blocks of the other side.

    Returns:
        The ratio of ours to theirs.
    """
    return Ratio.of(*([getattr(block, value) for block in side] for side in (ours, theirs)))


def ratio_of_waiting(blocks: Sequence[Block]) -> Ratio:
    """Compare the waiting within a step to the whole step.

    Args:
        blocks: of one training.

    Returns:
        The ratio of both times.
    """
    return Ratio.of([block.waiting for block in blocks], [block.step for block in blocks])


# ------------------------------------------------------------------ trainings in child processes


def measure_trainings(
    ours: Side, theirs: Side, length: Length, pairs: int
) -> tuple[list[Block], list[Block]]:
    """Train both sides in turns, block by block, on the same synthetic cells.

    Args:
        ours: one side.
        theirs: the other side.
        length: steps of a block.
        pairs: blocks of each side.

    Returns:
        The blocks of ours and those of theirs.

    Raises:
        RuntimeError: a training ended early.
    """
    # Generated and packed before two trainings want them.
    open_store(compose_config(*SYNTHETIC, *ours[1]).source)
    with (
        start_training(ours, length, pairs + 1) as train_ours,
        start_training(theirs, length, pairs + 1) as train_theirs,
    ):
        return measure_in_turns(train_ours, train_theirs, pairs=pairs)


@contextmanager
def start_training(side: Side, length: Length, blocks: int) -> Iterator[Callable[[], Block]]:
    """Start a training in a child process, which waits before each block.

    Args:
        side: what trains.
        length: steps of a block.
        blocks: at most so many are trained.

    Yields:
        A function that trains one block and returns what was measured; it raises RuntimeError
        where the process has ended.
    """
    spawned = multiprocessing.get_context("spawn")
    pipe, theirs = spawned.Pipe()
    process = spawned.Process(target=train, args=(*side, length, blocks, theirs))
    process.start()
    # Closed here, so that the end of the process is seen.
    theirs.close()

    def train_block() -> Block:
        try:
            pipe.send(True)
            block: Block = pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError("the training ended early; its message stands above") from error
        return block

    try:
        yield train_block
    finally:
        with suppress(OSError):
            pipe.send(False)
        process.join(60)
        process.terminate()


class StopTraining(Exception):  # noqa: N818
    """Enough blocks."""


class BlockClock(Callback):
    """Times the steps of a training; after each block, sends it and waits to be asked for another.

    The last callback of a trainer; a plain loop calls its methods itself. The host waits for a GPU
    at the borders of a block only.
    """

    def __init__(self, pipe: Connection, length: Length, device: torch.device) -> None:
        super().__init__()
        self._pipe, self._length, self._device = pipe, length, device
        self._steps = 0

    def on_train_batch_start(self, *_: Any) -> None:
        """Note that a step starts, its batch being ready.

        Raises:
            StopTraining: no more blocks are wanted.
        """
        if self._steps == sum(self._length):
            self._pipe.send(self._read())
            self._steps = 0
        if self._steps == 0 and not self._pipe.recv():
            raise StopTraining
        if self._steps == self._length.settling:
            wait(self._device)
            self._since, self._waits = time.perf_counter(), list[tuple[Any, Any]]()
        elif self._steps > self._length.settling:
            self._waits.append((self._ended, mark(self._device)))

    def on_train_batch_end(self, *_: Any) -> None:
        """Note that a step ended."""
        self._ended = mark(self._device)
        self._steps += 1

    def _read(self) -> Block:
        # From the first timed step to here lie as many whole steps, loading included.
        self._waits.append((self._ended, mark(self._device)))
        wait(self._device)
        step = (time.perf_counter() - self._since) / self._length.timed
        waiting = sum(seconds_between(*pair) for pair in self._waits) / self._length.timed
        return Block(step, waiting, measure_peak_memory(self._device))


def measure_peak_memory(device: torch.device) -> float:
    """Measure the most memory held so far: by torch on a GPU, else by this process.

    Args:
        device: a GPU or the CPU.

    Returns:
        MiB; 0 where the system does not report it.
    """
    # Reserved memory, in which that of CUDA graphs is counted too.
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    return 1024 * (peak_memory_gib(device) or 0.0)


def train(
    program: Program, overrides: Sequence[str], length: Length, blocks: int, pipe: Connection
) -> None:
    """Train in this process until no more blocks are asked for.

    Args:
        program: hep2gan-train's trainer with all its callbacks and metrics.csv, or a plain loop.
        overrides: of the configuration.
        length: steps of a block.
        blocks: at most so many are asked for.
        pipe: receives requests and sends blocks.
    """
    # One block more, so that the end of the epoch is never reached.
    batches = (blocks + 1) * sum(length)
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        suppress(StopTraining),
    ):
        run = prepare_run(Path(folder), (*overrides, "trainer.max_epochs=1"), batches)
        settings = run.config.trainer
        prepare_networks(run.task, settings)
        device = choose_device(settings.accelerator)
        clock = BlockClock(pipe, length, device)
        if program == "trainer":
            callbacks = [*build_callbacks(run.config, run.folder, run.data, SignalHandler()), clock]
            curves = CsvLogger(run.folder.curves_file)
            trainer = build_trainer(settings, [curves], callbacks, validates=False)
            disable_lightning_signal_handlers(trainer)
            trainer.fit(run.task, run.data)
        else:
            loop = PlainLoop(
                run.task.to(device),
                bfloat16=settings.precision == "bf16-mixed",
                anew=program == "G anew",
            )
            for batch in load_batches(run.data, device):
                clock.on_train_batch_start()
                assert batch.mask is not None
                loop.step(batch.image, batch.mask, batch.label)
                clock.on_train_batch_end()


class Run(NamedTuple):
    """A run of hep2gan-train that is ready to train."""

    config: TrainConfig
    folder: RunFolder
    task: SegmentationGuidedClassification
    data: CellDataModule


def prepare_run(path: Path, overrides: Sequence[str], batches: int | None = None) -> Run:
    """Prepare a run on synthetic cells: open the store, split it, build the networks.

    Args:
        path: the run folder.
        overrides: of the configuration.
        batches: batches of an epoch, whose cells are repeated; None for each cell once.

    Returns:
        The run.
    """
    silence_libraries()
    config = compose_config(*SYNTHETIC, f"run_dir={path}", *overrides)
    folder = RunFolder(path)
    torch.manual_seed(0)
    setup = RunSetup(config, folder)
    open_run(setup)
    if batches is not None:
        split = setup.split
        rows = np.resize(split.train, batches * config.trainer.batch_size)
        setup.split = Split(rows, np.empty(0, np.int64), split.test, split.settings)
    return Run(config, folder, setup.task, setup.data)


def load_batches(data: CellDataModule, device: torch.device) -> Iterator[Batch]:
    """Load an epoch of training batches as the trainer gets them.

    Args:
        data: loads, normalises and augments them.
        device: where they go.

    Yields:
        Batches.
    """
    for raw in data.train_dataloader():
        yield data.on_after_batch_transfer(data.transfer_batch_to_device(raw, device, 0), 0)


# ------------------------------------------------------------------ the plain loop


class PlainLoop:
    """The training step of the proposed method in plain PyTorch, without a framework around it.

    What an engineer would write who needs this one method once: the same equations, networks and
    optimizers, nothing logged, nothing checked. bfloat16: of the networks and losses by autocast.
    anew: every update runs G for itself, as in usual examples of GANs; else one forward serves all.
    """

    def __init__(
        self, task: SegmentationGuidedClassification, *, bfloat16: bool = False, anew: bool = False
    ) -> None:
        self.d, self.g, self.c = task.train().networks.values()
        (self.opt_d, self.opt_g, self.opt_c), _ = task.configure_optimizers()
        self.means = task.get_parameter("classification_loss.gaussian_mixture.means")
        self.autocast = torch.autocast(task.device.type, torch.bfloat16, enabled=bfloat16)
        self.anew = anew

    def step(self, image: Tensor, truth: Tensor, label: Tensor) -> None:
        """Update each network once.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            label: (B,) classes.
        """
        fake = self.generate(image)
        self.update_discriminator(image, truth, fake.detach())
        fake = self.generate(image) if self.anew else fake
        self.update_generator(image, truth, fake)
        fake = self.generate(image) if self.anew else fake
        self.update_classifier(image, fake.detach(), label)

    def generate(self, image: Tensor) -> Tensor:
        """Generate masks.

        Args:
            image: (B, 1, H, W) images.

        Returns:
            (B, 1, H, W) masks in [0, 1].
        """
        with self.autocast:
            return torch.sigmoid(self.g(image))

    def update_discriminator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Update D by eq. 1, halved as in pix2pix.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            fake: (B, 1, H, W) generated masks, detached.
        """
        with self.autocast:
            loss = 0.5 * (bce(self.d(image, truth), True) + bce(self.d(image, fake), False))
        update(self.opt_d, loss)

    def update_generator(self, image: Tensor, truth: Tensor, fake: Tensor) -> None:
        """Update G by eq. 3, with α = 0.5 and β = 10.

        Args:
            image: (B, 1, H, W) images.
            truth: (B, 1, H, W) true masks.
            fake: (B, 1, H, W) generated masks.
        """
        self.d.requires_grad_(False)
        with self.autocast:
            loss = 0.5 * bce(self.d(image, fake), True) + 10.0 * F.l1_loss(fake, truth)
        update(self.opt_g, loss)
        self.d.requires_grad_(True)

    def update_classifier(self, image: Tensor, mask: Tensor, label: Tensor) -> None:
        """Update the classifier by eq. 7, with γ = 0.01.

        Args:
            image: (B, 1, H, W) images.
            mask: (B, 1, H, W) generated masks, detached.
            label: (B,) classes.
        """
        with self.autocast:
            logits, features = self.c(image, mask)
            half = 0.5 * (features[:, None] - self.means).square().sum(dim=2)
            loss = F.cross_entropy(logits, label) + F.cross_entropy(-half, label)
            loss = loss + 0.01 * half.gather(1, label[:, None]).mean()
        update(self.opt_c, loss)


def bce(logits: Tensor, real: bool) -> Tensor:
    """Compute the binary cross-entropy of patch logits.

    Args:
        logits: of patches.
        real: the class that all of them should have.

    Returns:
        The mean over all patches.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Update the parameters of an optimizer once.

    Args:
        optimizer: of one network.
        loss: what it minimises.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


if __name__ == "__main__":
    usage = "usage: python -m experiments.benchmarks.step gpu"
    sys.exit(measure_gpu() if sys.argv[1:] == ["gpu"] else usage)
