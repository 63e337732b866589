"""A finished run as reports see it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """Content of a finished run's folder runs/<study>/<method>/seed<k>/, except its predictions.

    Attributes:
        path: The folder, absolute.
        study: Name of the study.
        method: Name of the method.
        seed: The seed, as text.
        config: The whole configuration, as nested plain containers.
        config_text: config.yaml as written.
        metrics: Values under flat keys such as `test/dice`; fractions, distances in raw pixels.
        split: Content of split.json; may hold `counts` (part → class → cells).
    """

    path: Path
    study: str
    method: str
    seed: str
    config: dict[str, Any]
    config_text: str
    metrics: dict[str, float]
    split: dict[str, Any]

    @property
    def name(self) -> str:
        """Study, method and seed, as in the path."""
        return f"{self.study}/{self.method}/seed{self.seed}"

    @property
    def is_synthetic(self) -> bool:
        """Whether the cells are synthetic, not photographed."""
        return str(self._settings("data").get("_target_")).startswith("hep2gan.data.phantom.")

    @property
    def target(self) -> str:
        """What it learned to tell of a cell, its pattern or its intensity."""
        return str(self.config.get("target", "pattern"))

    @property
    def split_settings(self) -> dict[str, Any]:
        """The configuration's `split`: kind, folds, fold, group_duplicates, …"""
        return self._settings("split")

    @property
    def fold(self) -> int | None:
        """Which of its folds the run tests on, None where each seed has one test part."""
        settings = self.split_settings
        fold = settings.get("fold", 0)
        return int(fold) if settings.get("folds") and fold is not None else None

    @property
    def epochs(self) -> int | None:
        """How many epochs it was trained for, all stages, where its configuration says so."""
        epochs, two = self.stage_epochs, self._settings("training").get("two_stage") is True
        return None if epochs is None else epochs * (2 if two else 1)

    @property
    def stage_epochs(self) -> int | None:
        """How many epochs each network was trained for, where its configuration says so."""
        epochs = self._settings("trainer").get("max_epochs")
        return epochs if isinstance(epochs, int) else None

    @property
    def curves(self) -> Path | None:
        """metrics.csv, where the method was trained by epochs."""
        path = RunFolder(self.path).curves_file
        return path if path.is_file() else None

    def predictions(self) -> Predictions:
        """Load predictions.npz.

        Raises:
            Hep2ganError: If the file is missing, damaged or inconsistent.
        """
        return Predictions.load(RunFolder(self.path).predictions_file)

    def _settings(self, group: str) -> dict[str, Any]:
        # A configuration that somebody has edited may hold anything.
        settings = self.config.get(group)
        return settings if isinstance(settings, dict) else {}


def find_runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Look for runs in a folder that is none itself, such as that of a study.

    Args:
        folder: A folder.

    Returns:
        Folders of finished runs, and of those that are not finished.

    Raises:
        Hep2ganError: Some runs were started there, and none is finished.
    """
    done, rest = list_runs(folder)
    if rest and not done:
        raise Hep2ganError(
            f"no run in {folder} is finished\n{bullet_list(list(map(str, rest)))}\n",
            "a finished run holds DONE",
            "start the same hep2gan-train again, which goes on with them",
        )
    return done, rest


def list_runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the runs in a folder and all below it.

    Args:
        folder: A folder; may be a run itself.

    Returns:
        Folders of finished runs, and of those that are not finished.
    """
    found: tuple[list[Path], list[Path]] = ([], [])
    for place, below, files in os.walk(folder):
        if {"config.yaml", "output.log", "train.log"} & set(files):
            found[not RunFolder(Path(place)).done].append(Path(place))
            below.clear()
    return sorted(found[0]), sorted(found[1])


def read_finished_run(path: Path) -> FinishedRun:
    """Read config.yaml, metrics.json and split.json of a finished run.

    Study, method and seed are taken from the configuration, else from the path.

    Args:
        path: The run's folder.

    Raises:
        Hep2ganError: If the folder is no run, or the run is unfinished or damaged; names the file
            and the command that restores it.
    """
    run = RunFolder(path.resolve())
    run.require_started()
    if not run.done:
        raise Hep2ganError(
            f"run {run.path} is not finished",
            "a finished run holds DONE",
            "start the same hep2gan-train again, which resumes after the last epoch, or run "
            f"hep2gan-evaluate {run.path}",
        )
    config = run.config()
    return FinishedRun(
        path=run.path,
        study=str(config.get("study") or run.path.parent.parent.name),
        method=str(config.get("name") or run.path.parent.name),
        seed=str(config.get("seed", run.path.name.removeprefix("seed"))),
        config=config,
        config_text=run.config_text(),
        metrics=run.metrics(),
        split=run.split_summary(),
    )
