"""A run that is started again with more epochs: is it possible, and what is kept of before.

`trainer.max_epochs` is the one setting of a run that may be raised. The run resumes from its last
checkpoint and ends with the same bits as one that was trained so long at once. That holds as long
as the epochs that are done would have been the same, so a run is refused whose schedule stretches
over all epochs (a second stage that has begun, a margin [start, end]).

What a finished run had found is kept in `earlier/epoch<n>/`, a run folder of its own with the
checkpoint that was tested, so that every command opens it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hep2gan.config import TrainConfig
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import atomic_folder
from hep2gan.losses.classification import margin_at
from hep2gan.models.guidance import TrainingStages
from hep2gan.runs.checkpoints import TrainingPosition, load_best_or_latest
from hep2gan.runs.folder import EARLIER, RunFolder

_RECORDS = (
    *("config.yaml", "store.json", "split.csv", "split.json", "provenance.json", "metrics.csv"),
)
_RESULTS = ("metrics.json", "trust.json", "predictions.npz", "figures", "external", "export")
"""What belongs to the weights of the last test; it leaves the run's folder with them."""


def check_extension(config: TrainConfig, run: RunFolder, checkpoint: Path | None) -> str:
    """Check that a run can be trained for another number of epochs than it was started with.

    Args:
        config: The configuration of this start, which differs in `trainer.max_epochs` alone.
        run: The run's folder.
        checkpoint: The checkpoint to resume from; None if there is none that loads.

    Returns:
        What will happen, for the report of the preflight checks.

    Raises:
        Hep2ganError: The run was trained for longer already, has no checkpoint to go on from, or
            its schedule would have been another.
    """
    before, after = run.max_epochs(), config.trainer.max_epochs
    assert before is not None
    position = TrainingPosition.of(checkpoint)
    started = position.epochs + (position.batches > 0)
    elsewhere = "give the new run its own place with name=… or study=…"
    if run.done and checkpoint is None:
        raise Hep2ganError(
            f"{run.path} is finished with {pluralize(before, 'epoch')}, and holds no checkpoint"
            " epoch*.ckpt to go on from",
            "a run goes on from its last epoch",
            f"restore it, or {elsewhere}",
        )
    if not config.training.two_stage and after < (
        trained := max(started, before if run.done else 0)
    ):
        raise Hep2ganError(
            f"{run.path} is trained for {pluralize(trained, 'epoch')} already,"
            f" trainer.max_epochs is {after}",
            "epochs are not taken back",
            f"set trainer.max_epochs={trained} or more, or {elsewhere}",
        )
    total = before * (2 if config.training.two_stage else 1)
    for key, schedules in _schedules(config, before, after):
        if any(old != new for old, new in list(schedules)[:started]):
            raise Hep2ganError(
                f"{run.path} has trained {started} of {pluralize(total, 'epoch')}, and {key}"
                f" stretches over all of them: with trainer.max_epochs={after} the epochs that are"
                " done would have been others",
                "a longer run must equal one that was trained so long at once",
                f"{elsewhere}; init_from={run.path} lets it begin with these weights",
            )
    return _describe(run, before, after)


def _describe(run: RunFolder, before: int, after: int) -> str:
    kept = f"; the result of {before} is kept in {_place(run, before)}" if run.done else ""
    return f"{pluralize(after, 'epoch')} instead of {before}{kept}"


def _schedules(
    config: TrainConfig, before: int, after: int
) -> Iterator[tuple[str, Iterator[tuple[object, object]]]]:
    """Each setting whose effect in an epoch may depend on their number: its value in each epoch."""
    margin = config.loss.gaussian_mixture.margin
    if config.training.two_stage:
        old, new = TrainingStages(before), TrainingStages(after)
        both = range(2 * before)
        yield (
            "training.two_stage=true",
            ((old.trains_gan(epoch), new.trains_gan(epoch)) for epoch in both),
        )
    # In two stages the margin begins to move after the stage that settles whether they differ.
    elif config.model.classify and config.loss.gaussian_mixture.enabled:
        epochs = range(min(before, after))
        yield (
            f"loss.gaussian_mixture.margin={margin}",
            ((margin_at(margin, e, before), margin_at(margin, e, after)) for e in epochs),
        )


def extend_run(run: RunFolder, max_epochs: int) -> str:
    """Keep the result of a finished run, and let its folder be that of a longer run.

    A process that is killed in between leaves the finished run, or one that resumes with either
    number of epochs: the copy is complete before DONE goes, and config.yaml changes last.

    Args:
        run: The run's folder, which `check_extension` has accepted.
        max_epochs: The new number of epochs.

    Returns:
        What was done.
    """
    before = run.max_epochs()
    assert before is not None
    place, done = _place(run, before), _describe(run, before, max_epochs)
    if run.done:
        _keep_result(run, place)
        run.done_file.unlink()
    if (place / run.done_file.name).exists():
        for name in _RESULTS:
            _remove(run.path / name)
    run.set_max_epochs(max_epochs)
    return done


def _place(run: RunFolder, epochs: int) -> Path:
    return run.path / EARLIER / f"epoch{epochs:04d}"


def _keep_result(run: RunFolder, place: Path) -> None:
    """Copy what a finished run holds, with the checkpoint that was tested."""
    place.parent.mkdir(exist_ok=True)
    tested, _ = load_best_or_latest(run.checkpoints)
    with atomic_folder(place) as staged:
        for name in (*_RECORDS, run.done_file.name):
            if (file := run.path / name).exists():
                shutil.copy2(file, staged)
        for name in _RESULTS:
            if (source := run.path / name).is_dir():
                shutil.copytree(source, staged / name, copy_function=_link_or_copy)
            elif source.exists():
                _link_or_copy(source, staged / name)
        (staged / run.checkpoints.name).mkdir()
        _link_or_copy(tested, staged / run.checkpoints.name / tested.name)


def _link_or_copy(file: str | Path, target: str | Path) -> None:
    """Give a file a second name where that is possible: it is removed or replaced next."""
    try:
        os.link(Path(file).resolve(), target)
    except OSError:
        shutil.copy2(file, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
