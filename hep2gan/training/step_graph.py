"""The whole training step as one CUDA graph: recorded once, then replayed from static buffers.

Networks of this size at the paper's batch of 16 keep the host busy with launching kernels, of which
a step has thousands; a replay launches all of them at once. Nothing here knows the networks: a step
is a function of a batch that updates them and returns scalars.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hep2gan.data.batch import Batch
from hep2gan.errors import Hep2ganError
from hep2gan.training.module import RunStep, Terms
from hep2gan.training.profiler import record

Replay = Callable[[], Tensor]
Result = TypeVar("Result")

WARM_UP = 3
"""Steps before a recording, in which optimizers make their state and libraries their workspaces."""
WARM_UP_OF_DDP = 11
"""The same with DistributedDataParallel, which measures and orders its buckets in ten steps
(https://docs.pytorch.org/docs/stable/notes/cuda.html, "Usage with DistributedDataParallel")."""
REPLAYED = "the networks/replayed as one CUDA graph"


class Recorder(Protocol):
    """What records work of a device; tests have one that needs no GPU."""

    def run(self, work: Callable[[], Result]) -> Result:
        """Do the work as usual, where it would be recorded."""

    def find_waits(self, work: Callable[[], Result]) -> tuple[Result, list[str]]:
        """Do the work as usual, and name the places in which it waits for the device."""

    def record(self, work: Callable[[], Tensor]) -> Replay:
        """Record the work without doing it; the replay does it, and returns its result."""


class CudaRecorder:
    """Records on a GPU.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = graph_stream(device)

    def run(self, work: Callable[[], Result]) -> Result:
        """Do the work on the stream of the recordings, in order with the current one.

        Args:
            work: Any function.

        Returns:
            Its result.
        """
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def find_waits(self, work: Callable[[], Result]) -> tuple[Result, list[str]]:
        """Do the work, and collect torch's warnings of operations that wait for the device.

        Args:
            work: Any function.

        Returns:
            Its result, and `file:line` of each wait.
        """
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                result = self.run(work)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return result, places_of_waits(caught)

    def record(self, work: Callable[[], Tensor]) -> Replay:
        """Capture the work; its memory belongs to the graph, and its result is overwritten.

        Args:
            work: A function that waits for nothing and reads tensors that stay where they are.

        Returns:
            The replay on the current stream.
        """
        graph = torch.cuda.CUDAGraph()
        # Other threads pin memory for the loader meanwhile, which is no matter of this stream.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


def places_of_waits(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    """Pick torch's warnings of operations that wait for the device.

    Args:
        caught: Warnings in torch's debug mode, of which one says what this mode cannot do.

    Returns:
        `file:line` of each wait, once.
    """
    return sorted(
        {
            f"{warning.filename}:{warning.lineno}"
            for warning in caught
            if "called a synchronizing CUDA operation" in str(warning.message)
        }
    )


_streams: dict[torch.device, torch.cuda.Stream] = {}


def graph_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of this process on which steps are recorded.

    DistributedDataParallel must be made on it too: the nodes that add up gradients belong to the
    stream on which they are made.

    Args:
        device: A GPU.

    Returns:
        The stream, the same at every call.
    """
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _streams[device]


@dataclass
class _Kind:
    """Steps of one kind: those that launch the same work."""

    warmed: int = 0
    batch: Batch | None = None
    names: list[str] = field(default_factory=list)
    replay: Replay | None = None


class StepGraph:
    """A step that is recorded when it is warm, and replayed from then on.

    A recording holds plain numbers, such as learning rates, as they were. Where one of them has
    changed when an epoch begins, all is recorded anew.

    Attributes:
        recordings: How often a step was recorded.

    Args:
        step: Updates networks by a batch; returns scalars by name, always the same names for steps
            of a kind.
        kind: Tells by the number of a batch which steps launch the same work.
        plain_values: All numbers that a recording would hold; asked once an epoch.
        recorder: Of the device.
        warm_up: Steps of a kind before its recording, which are done as usual; 2 or more.
        on_waits: Called with the places in which a step waits for the device, which cannot be
            recorded; all further steps are done as usual.
    """

    def __init__(
        self,
        step: RunStep,
        kind: Callable[[int], Hashable],
        plain_values: Callable[[], Hashable],
        recorder: Recorder,
        *,
        warm_up: int = WARM_UP,
        on_waits: Callable[[list[str]], None],
    ) -> None:
        self._step, self._kind, self._plain_values = step, kind, plain_values
        self._recorder, self._warm_up, self._on_waits = recorder, warm_up, on_waits
        self._kinds: dict[Hashable, _Kind] = {}
        self._values: Hashable = None
        self._epoch_begins, self._records = True, True
        self.recordings = 0

    def begin_epoch(self) -> None:
        """Look before the next step whether a plain number has changed."""
        self._epoch_begins = True

    def forget(self) -> None:
        """Give the memory of all recordings free; further steps begin with their warm-up."""
        self._kinds.clear()

    def __call__(self, batch: Batch, batch_idx: int) -> Terms:
        """Update the networks by a batch: as usual while the step is not warm, else by a replay.

        Args:
            batch: A batch on the device.
            batch_idx: Its number in the epoch.

        Returns:
            The scalars of the step, which later steps do not overwrite.

        Raises:
            Hep2ganError: The step could not be recorded.
        """
        if not self._records:
            return self._step(batch, batch_idx)
        if self._epoch_begins:
            self._forget_changed()
        kind = self._kinds.setdefault((self._kind(batch_idx), _shapes(batch)), _Kind())
        if kind.warmed < self._warm_up:
            return self._warmed(kind, batch, batch_idx)
        with record(REPLAYED):
            if kind.batch is None:
                kind.batch = _copy(batch)
            else:
                _fill(kind.batch, batch)
            if kind.replay is None:
                kind.replay = self._recorded(kind, kind.batch, batch_idx)
            values = kind.replay().clone()
        return dict(zip(kind.names, values.unbind(), strict=True))

    def _forget_changed(self) -> None:
        self._epoch_begins, values = False, self._plain_values()
        if values != self._values:
            # Before any is recorded anew, which takes the same memory once more.
            for kind in self._kinds.values():
                kind.replay = None
        self._values = values

    def _warmed(self, kind: _Kind, batch: Batch, batch_idx: int) -> Terms:
        """Do a step as usual; the last before the recording tells whether it waits."""
        kind.warmed += 1
        if kind.warmed < self._warm_up:
            return self._recorder.run(lambda: self._step(batch, batch_idx))
        terms, waits = self._recorder.find_waits(lambda: self._step(batch, batch_idx))
        if waits:
            self._records = False
            self.forget()
            self._on_waits(waits)
        return terms

    def _recorded(self, kind: _Kind, batch: Batch, batch_idx: int) -> Replay:
        def work() -> Tensor:
            terms = self._step(batch, batch_idx)
            kind.names = list(terms)
            return torch.stack([*terms.values()])

        self.recordings += 1
        try:
            return self._recorder.record(work)
        except RuntimeError as error:
            # What a capture that broke off leaves behind is not fit to go on with.
            raise Hep2ganError(
                f"the training step could not be recorded as a CUDA graph ({error})",
                "all that a recorded step does must be work of the GPU alone",
                "set trainer.cuda_graph=false; the same command resumes from the last checkpoint",
            ) from error


def _shapes(batch: Batch) -> Hashable:
    return tuple(None if part is None else part.shape for part in batch)


def _copy(batch: Batch) -> Batch:
    mask = None if batch.mask is None else batch.mask.clone()
    return Batch(batch.image.clone(), mask, batch.label.clone(), batch.rows.clone())


def _fill(buffers: Batch, batch: Batch) -> None:
    for buffer, part in zip(buffers, batch, strict=True):
        if buffer is not None and part is not None:
            buffer.copy_(part, non_blocking=True)


def plain_values(module: nn.Module, optimizers: Iterable[Optimizer]) -> Hashable:
    """Collect all plain numbers that a step of these networks can depend on.

    Of every part of the module, its attributes that are numbers, truth values or texts: the margin
    of a loss, a dropout's probability, whether a network is in training mode. Of the optimizers,
    learning rates and the like.

    Args:
        module: The module that is trained. Of its own attributes those with a leading underscore,
            which Lightning writes to at every hook, do not count.
        optimizers: Its optimizers.

    Returns:
        The values, to be compared.
    """
    parts = [
        (prefix, name, value)
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, bool | int | float | str) and (prefix or not name.startswith("_"))
    ]
    groups = [
        (name, repr(value))
        for optimizer in optimizers
        for group in optimizer.param_groups
        for name, value in group.items()
        if name != "params"
    ]
    return tuple(parts), tuple(groups)


def can_be_recorded(optimizer: Optimizer) -> bool:
    """Tell whether the updates of an optimizer can be part of a CUDA graph.

    Args:
        optimizer: Any optimizer.

    Returns:
        Whether its state is all on the device: SGD has no count of its steps, others of torch keep
        it there with `capturable`.
    """
    return isinstance(optimizer, torch.optim.SGD) or all(
        cast(bool, group.get("capturable", False)) for group in optimizer.param_groups
    )
