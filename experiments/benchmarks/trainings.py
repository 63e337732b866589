"""Trainings that take turns by blocks of steps, each in a process of its own."""

import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from experiments.benchmarks.compare import SYNTHETIC, compose_config, measure_in_turns
from experiments.benchmarks.plain_loop import PlainLoop
from hep2gan.config import TrainConfig
from hep2gan.data.batch import Batch
from hep2gan.data.prepare import open_store
from hep2gan.data.splits import Split
from hep2gan.io import silence_libraries
from hep2gan.runs.folder import RunFolder
from hep2gan.training.callbacks.cuda_graph import ReplayStep
from hep2gan.training.callbacks.metrics import peak_memory_gib
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.devices import resolve_device
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
    """What a block measured, per step.

    Attributes:
        step: Seconds.
        waiting: Of them, until its batch was there.
        memory: MiB at most since the start.
        kernels: Seconds that the device computed and copied; 0 where no profile was asked for.
        recordings: CUDA graphs of the whole step that were recorded so far.
    """

    step: float
    waiting: float
    memory: float
    kernels: float = 0.0
    recordings: int = 0


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
    with start_trainings(ours, theirs, length=length, blocks=pairs + 1) as started:
        blocks_of_ours, blocks_of_theirs = measure_in_turns(
            *(training.train_block for training in started), pairs=pairs
        )
        return blocks_of_ours, blocks_of_theirs


class Training(NamedTuple):
    """A training in a child process, which waits before each block."""

    process: BaseProcess
    pipe: Connection

    def train_block(self, profiled: bool = False) -> Block:
        """Train a block.

        Args:
            profiled: Record what the device computes; its other times do not count then.

        Returns:
            What was measured.

        Raises:
            RuntimeError: The process has ended, or does not answer.
        """
        try:
            self.pipe.send("profiled" if profiled else "timed")
            if not self.pipe.poll(_TO_ANSWER):
                raise RuntimeError(f"the training has not answered within {_TO_ANSWER:g} s")
            block: Block = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError("the training ended early; its message stands above") from error
        return block


_TO_ANSWER = 180.0
"""Seconds in which a block is trained, the start of its process included."""


@contextmanager
def start_trainings(*sides: Side, length: Length, blocks: int) -> Iterator[list[Training]]:
    """Start trainings in child processes, which wait before each block.

    Args:
        sides: What trains in each.
        length: Steps of a block.
        blocks: At most so many are trained.

    Yields:
        The trainings, in the order of the sides.
    """
    spawned = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        started = []
        for side in sides:
            pipe, theirs = spawned.Pipe()
            process = spawned.Process(target=train, args=(*side, length, blocks, theirs))
            process.start()
            # Closed here, so that the end of the process is seen.
            theirs.close()
            started.append(Training(process, pipe))
            stack.callback(_end, started[-1])
        yield started


def _end(training: Training) -> None:
    with suppress(OSError):
        training.pipe.send(None)
    training.process.join(20)
    training.process.kill()


class StopTraining(Exception):  # noqa: N818
    """Enough blocks."""


class BlockClock(Callback):
    """Times the steps of a training; after each block, sends it and waits to be asked for another.

    The last callback of a trainer; a plain loop calls its methods itself. The host waits for a GPU
    at the borders of a block only.
    """

    def __init__(
        self,
        pipe: Connection,
        length: Length,
        device: torch.device,
        watched: Sequence[Callback] = (),
    ) -> None:
        super().__init__()
        self._pipe, self._length, self._device = pipe, length, device
        self._graphs = [c for c in watched if isinstance(c, ReplayStep)]
        self._steps = 0

    def on_train_batch_start(self, *_: Any) -> None:
        """Note that a step starts, its batch being ready.

        Raises:
            StopTraining: no more blocks are wanted.
        """
        if self._steps == sum(self._length):
            self._pipe.send(self._read())
            self._steps = 0
        if self._steps == 0:
            request = self._pipe.recv()
            if request is None:
                raise StopTraining
            self._profile = _profile(self._device) if request == "profiled" else None
        if self._steps == self._length.settling:
            wait(self._device)
            if self._profile:
                self._profile.start()
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
        kernels = 0.0
        if self._profile:
            self._profile.stop()
            kernels = seconds_of(self._profile, self._device) / self._length.timed
        recordings = sum(c.graph.recordings for c in self._graphs if c.graph is not None)
        return Block(step, waiting, measure_peak_memory(self._device), kernels, recordings)


def _profile(device: torch.device) -> profile:
    on_gpu = device.type == "cuda"
    return profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU])


def seconds_of(recorded: profile, device: torch.device) -> float:
    """Sum up what a device did while it was recorded.

    Args:
        recorded: A profile that has ended.
        device: A GPU; on the CPU operators stand in for kernels, those within others counted twice.

    Returns:
        Seconds of all kernels, copies and fills; those at the same time count each.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    return sum_durations(events, ON_GPU if device.type == "cuda" else {"cpu_op"})


ON_GPU = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
"""Categories of the events that take the device's time, those of replayed graphs included."""


def sum_durations(events: Sequence[Mapping[str, Any]], categories: Collection[str]) -> float:
    """Sum the durations of events of a trace.

    Args:
        events: Of a Chrome trace, in microseconds.
        categories: Those that count; ranges with names of users are another.

    Returns:
        Seconds.
    """
    return float(sum(event["dur"] for event in events if event.get("cat") in categories)) / 1e6


class WatchTraining(Callback):
    """Writes when a training has taken ten steps, and the weights that it begins and ends with.

    Args:
        folder: Gets the files stepped (seconds since 1970), begun.pt and ended.pt.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._steps = Path(folder), 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the first weights."""
        self._save(pl_module, "begun.pt")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Note the time once ten steps are done."""
        self._steps += 1
        if self._steps == 10:
            wait(pl_module.device)
            (self._folder / "stepped").write_text(str(time.time()), encoding="ascii")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the last weights."""
        self._save(pl_module, "ended.pt")

    def _save(self, module: Any, name: str) -> None:
        weights = {name: p.detach().cpu() for name, p in module.named_parameters()}
        torch.save(weights, self._folder / name)


def measure_peak_memory(device: torch.device) -> float:
    """Measure the most memory held so far: by torch on a GPU, else by this process.

    Args:
        device: a GPU or the CPU.

    Returns:
        MiB; 0 where the system does not report it.
    """
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
        device = resolve_device(settings.accelerator)
        callbacks = build_callbacks(run.config, run.folder, run.data, SignalHandler())
        clock = BlockClock(pipe, length, device, callbacks)
        if program == "trainer":
            callbacks.append(clock)
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
