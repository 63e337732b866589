"""Reading the folder of a finished run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hep2gan.errors import Hep2ganError
from hep2gan.io import read_json, read_safe_yaml
from hep2gan.runs.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """What a finished run left in runs/<study>/<method>/seed<k>/, without its predictions."""

    path: Path
    study: str
    method: str
    seed: str
    config: dict[str, Any]
    """The whole configuration, as nested plain containers."""
    config_text: str
    """config.yaml as written."""
    metrics: dict[str, float]
    """Flat keys such as `test/dice`; fractions, distances in raw pixels."""
    split: dict[str, Any]
    """split.json; may hold `counts` (part → class → cells) and `leakage` (sentences)."""

    @property
    def name(self) -> str:
        """Study, method and seed, as in the path."""
        return f"{self.study}/{self.method}/seed{self.seed}"

    @property
    def is_synthetic(self) -> bool:
        """Whether the cells are synthetic, not photographed."""
        data = self.config.get("data")
        source = data.get("source", data.get("name")) if isinstance(data, dict) else data
        return source == "phantom"

    @property
    def split_settings(self) -> dict[str, Any]:
        """The configuration's `split`: kind, folds, fold, group_duplicates, …"""
        settings = self.config.get("split")
        return settings if isinstance(settings, dict) else {}

    @property
    def fold(self) -> int | None:
        """Which of its folds the run tests on, None where there is one test part."""
        settings = self.split_settings
        return int(settings.get("fold") or 0) if settings.get("folds") else None

    @property
    def epochs(self) -> int | None:
        """How many epochs it was trained for, where its configuration says so."""
        trainer = self.config.get("trainer")
        found = trainer.get("max_epochs") if isinstance(trainer, dict) else None
        return found if isinstance(found, int) else None

    @property
    def curves(self) -> Path | None:
        """metrics.csv, where the method was trained by epochs."""
        path = self.path / "metrics.csv"
        return path if path.is_file() else None

    def predictions(self) -> Predictions:
        """Load predictions.npz. Raises Hep2ganError naming the run when it cannot be read."""
        try:
            return Predictions.load(self.path / "predictions.npz")
        except Hep2ganError as error:
            raise _unreadable(self.path, error.fact) from error


def read_finished_run(path: Path) -> FinishedRun:
    """Read config.yaml, metrics.json and split.json of a finished run.

    Study, method and seed come from the config, else from the path. Raises Hep2ganError naming
    the run and the command that mends it when it is no run, unfinished or damaged.
    """
    path = path.resolve()
    if not (path / "config.yaml").is_file():
        raise Hep2ganError(
            f"{path} is no run folder",
            "a run folder holds config.yaml",
            "give a folder that hep2gan-train wrote, e.g. runs/default/proposed/seed0",
        )
    if not (path / "DONE").is_file():
        raise Hep2ganError(
            f"run {path} is not finished",
            "a finished run holds DONE",
            "start the same hep2gan-train again, which goes on from the last epoch, or run "
            f"hep2gan-evaluate {path}",
        )
    text = _config_text(path)
    config = _config(path, text)
    method = config.get("method", config.get("name"))
    named = method.get("name") if isinstance(method, dict) else method
    return FinishedRun(
        path=path,
        study=str(config.get("study") or path.parent.parent.name),
        method=str(named or path.parent.name),
        seed=str(config.get("seed", path.name.removeprefix("seed"))),
        config=config,
        config_text=text,
        metrics=_metrics(path),
        split=_split(path),
    )


def _config_text(path: Path) -> str:
    try:
        return read_safe_yaml(path / "config.yaml")
    except ValueError as error:
        raise _unreadable(path, str(error), "train") from error


def _config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise _unreadable(path, f"config.yaml is damaged ({reason})", "train") from error
    if not isinstance(config, dict):
        raise _unreadable(path, "config.yaml holds no configuration", "train")
    return {str(key): value for key, value in config.items()}


def _object(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON file that holds one object."""
    try:
        return read_json(path / name)
    except ValueError as error:
        raise _unreadable(path, str(error)) from error


def _split(path: Path) -> dict[str, Any]:
    """split.json, whose counts and sentences a page prints."""
    found = _object(path, "split.json")
    counts, told = found.get("counts", {}), found.get("leakage", [])
    counted = isinstance(counts, dict) and all(isinstance(one, dict) for one in counts.values())
    if not counted or any(type(n) is not int for one in counts.values() for n in one.values()):
        raise _unreadable(path, "split.json: its counts are no numbers by part and class")
    if not isinstance(told, list) or not all(isinstance(sentence, str) for sentence in told):
        raise _unreadable(path, "split.json: leakage holds no sentences")
    return found


def _metrics(path: Path) -> dict[str, float]:
    found = _object(path, "metrics.json")
    wrong = [n for n, v in found.items() if isinstance(v, bool) or not isinstance(v, int | float)]
    if wrong:
        raise _unreadable(path, f"metrics.json: {wrong[0]} is no number")
    try:
        return {name: float(value) for name, value in found.items()}
    except OverflowError as error:
        raise _unreadable(path, f"metrics.json holds a number out of range ({error})") from error


def _unreadable(path: Path, reason: str, command: str = "evaluate") -> Hep2ganError:
    again = f"hep2gan-evaluate {path}" if command == "evaluate" else "hep2gan-train again"
    return Hep2ganError(f"run {path} cannot be reported: {reason}", "", f"run {again}")
