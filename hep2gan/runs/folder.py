"""The folder of one run: its configuration, its results, and whether it is finished."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.io import atomic_write, parse_yaml, read_json, read_safe_yaml, to_yaml, write_json
from hep2gan.runs.provenance import read_provenance

Target = Literal["pattern", "intensity"]
"""What a run learns to tell of a cell: its staining pattern, or its intensity."""

# Keys that may change between two starts of one run: they affect paths and speed only.
RUNTIME_KEYS = frozenset(
    {"data.root", "data.store", "data.on_error", "stores", "runs", "run_dir"}
    | {"trusted", "optimized_metric"}
    | {f"trainer.{key}" for key in ("accelerator", "num_workers", "threads", "cache_on_device")}
    | {"trainer.log_every_n_steps", "trainer.cuda_graph"}
    | {f"trainer.{key}" for key in ("nonfinite", "eval_batch_size", "fused_optimizers", "profile")}
    | {"generator.weights", "classifier.weights"}
)
LENGTH_KEY = "trainer.max_epochs"
"""A run may be started again with more epochs, see `hep2gan.training.extension`."""
EARLIER = "earlier"
"""Folder in a run's folder of the results that it had with fewer epochs."""
# The files that a run writes, apart from checkpoints.
_WRITTEN = (
    *("config.yaml", "store.json", "split.csv", "split.json", "provenance.json", "train.log"),
    *("metrics.csv", "metrics.json", "trust.json", "predictions.npz", "figures", "wandb", "DONE"),
    *("profile.json", "profile.md", "external", "alarms.json", "pictures", "mlflow.db"),
    *("mlflow", "weights.tmp", EARLIER),
)
_NAMED = 5
"""Runs that an error names."""
MAX_IMAGE_SIZE = 4096
"""Largest accepted side of an image in pixels; stores have at most 1024."""


_VARIED = 2.5
"""Longest nucleus in usual diameters, above which a set has no usual size. HEp-2 cells: 1.9."""


class CropGeometry(NamedTuple):
    """How large the raw cells of a training were, in pixels of their images.

    Attributes:
        largest: Longest side of any crop.
        smallest: Shortest side of any crop.
        median: Median side of the crops.
        margin: Median distance between the box around a mask and the crop's edge.
        nucleus: Median diameter of a circle of a mask's area.
    """

    largest: int
    smallest: int
    median: int
    margin: int
    nucleus: float

    @property
    def usual_nucleus(self) -> float | None:
        """Diameter of a nucleus where all are about as large; None where sizes vary widely."""
        vary = self.largest - 2 * self.margin > _VARIED * self.nucleus
        return None if vary else self.nucleus

    @classmethod
    def parse(cls, found: object) -> "CropGeometry | None":
        """Read what a JSON file holds of it.

        Args:
            found: The attributes by name; None if they were not recorded.

        Returns:
            The geometry, if it was recorded.

        Raises:
            ValueError: It is anything else.
        """
        if found is None:
            return None
        if not isinstance(found, dict) or found.keys() != set(cls._fields):
            raise ValueError(f"crops must name {', '.join(cls._fields)}")
        largest, smallest, median, margin, nucleus = (found[name] for name in cls._fields)
        if any(type(side) is not int or side < 0 for side in (largest, smallest, median, margin)):
            raise ValueError(f"{', '.join(cls._fields[:-1])} of crops must be whole pixels")
        if type(nucleus) not in (int, float) or not (math.isfinite(nucleus) and nucleus > 0):
            raise ValueError("nucleus of crops must be a diameter")
        return cls(largest, smallest, median, margin, float(nucleus))


class StoreInfo(NamedTuple):
    """What store.json records of the store that a run was trained on.

    Attributes:
        classes: Class names in the order of the labels.
        size: Side of an image in pixels.
        path: Folder of the store.
        crops: How large its raw cells are; None if it was not recorded.
        target: What the classes are.
    """

    classes: tuple[str, ...]
    size: int
    path: Path
    crops: CropGeometry | None
    target: Target


class RunFolder:
    """Paths of a run folder runs/<study>/<method>/seed<k>/, with readers and writers of its files.

    Every reader raises Hep2ganError, which names the file and the command that restores it.

    Args:
        path: The folder; need not exist.

    Attributes:
        path: The folder.
        config_file: The resolved configuration, config.yaml.
        store_file: The store that the run was trained on, store.json.
        split_file: Settings and counts of the split, split.json.
        provenance_file: Versions of code, packages, data and split, provenance.json.
        metrics_file: Test metrics, metrics.json.
        trust_file: How far its predictions are to be trusted, trust.json.
        curves_file: Values logged during training, metrics.csv.
        predictions_file: Predictions for the test cells, predictions.npz.
        checkpoints: Folder of checkpoints.
        figures: Folder of figures.
        external: Folder of tests on other sets, a folder each.
        done_file: Empty file that marks the run as finished, DONE.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.store_file = path / "store.json"
        self.split_file = path / "split.json"
        self.provenance_file = path / "provenance.json"
        self.metrics_file = path / "metrics.json"
        self.trust_file = path / "trust.json"
        self.curves_file = path / "metrics.csv"
        self.predictions_file = path / "predictions.npz"
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"
        self.external = path / "external"
        self.done_file = path / "DONE"

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> "RunFolder":
        """Return the folder that the key `run_dir` names.

        Args:
            values: The configuration, as plain containers.

        Raises:
            Hep2ganError: If `run_dir` is no path.
        """
        path = values["run_dir"]
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise Hep2ganError(
                f"run_dir is {path!r}", "it must name a folder", "leave it out, or set runs=FOLDER"
            )
        return cls(Path(path))

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open the folder of a run that was started before.

        Args:
            path: The folder.

        Raises:
            Hep2ganError: If no run was started there, or a file in it is a link to outside.
        """
        run = cls(path)
        run.require_started()
        run.refuse_links()
        return run

    def require_started(self) -> None:
        """Check that a run was started in this folder.

        Raises:
            Hep2ganError: If there is no config.yaml; names the runs below the folder.
        """
        if not self.config_file.is_file():
            below = [str(path) for path in _runs_below(self.path)]
            more = f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""
            raise Hep2ganError(
                f"{self.path} is no run folder",
                "a run folder holds config.yaml",
                f"name a run in it: {', '.join(below[:_NAMED])}{more}"
                if below
                else "give a folder that hep2gan-train wrote, e.g. runs/default/proposed/seed0",
            )

    def refuse_links(self) -> None:
        """Check that no file of the run would be written outside of its folder.

        Reading through links is harmless: the content is checked like that of any other file. The
        checkpoints may lie on another disk; their files are replaced, never written into.

        Raises:
            Hep2ganError: If a file that a run writes is a link to outside.
        """
        inside = self.path.resolve()
        for file in (*(self.path / name for name in _WRITTEN), *self.external.glob("*")):
            if file.is_symlink() and not _resolve(file).is_relative_to(inside):
                raise Hep2ganError(
                    f"{file} is a link to {file.readlink()}",
                    "a run writes into its own folder",
                    "remove the link, or copy what it leads to",
                )

    def name_checkpoint(self, path: Path) -> str:
        """Name a checkpoint file so that it is found again where the run is moved to.

        Args:
            path: The file.

        Returns:
            Its path relative to the run's folder; absolute if it lies elsewhere.
        """
        inside, own = path.resolve(), self.path.resolve()
        return str(inside.relative_to(own) if inside.is_relative_to(own) else inside)

    @property
    def done(self) -> bool:
        """True only after the test: nothing else means finished."""
        return self.done_file.is_file()

    def done_with(self, config: Mapping[str, Any]) -> bool:
        """Tell whether the run is finished, with as many epochs as a configuration has.

        Args:
            config: The resolved configuration of a start, as plain containers.

        Returns:
            False also for a finished run that is to be trained longer.
        """
        return self.done and not self.changes_length(config)

    def changes_length(self, config: Mapping[str, Any]) -> bool:
        """Tell whether a configuration has another number of epochs than config.yaml.

        Args:
            config: The resolved configuration of a start, as plain containers.

        Returns:
            False for a folder without a run, and for a forest, which has no epochs.
        """
        return self.config_file.exists() and self.max_epochs() != _max_epochs(config)

    def max_epochs(self) -> int | None:
        """The number of epochs in config.yaml; None for a forest.

        Raises:
            Hep2ganError: If config.yaml is damaged.
        """
        with _explain_damage(self.config_file, "restore it, or run hep2gan-train again"):
            epochs = _max_epochs(self.config())
            if type(epochs) not in (int, type(None)):
                raise ValueError(f"{LENGTH_KEY} is no whole number")
            return cast(int | None, epochs)

    def set_max_epochs(self, epochs: int) -> None:
        """Change the number of epochs in config.yaml.

        Args:
            epochs: The number of epochs that the run is to have.
        """
        values = self.config()
        values["trainer"] |= {"max_epochs": epochs}
        atomic_write(self.config_file, to_yaml(values))

    # ------------------------------------------------------------------ configuration

    def save_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml at the first start of a run; at a later start, compare with it.

        Args:
            config: The resolved configuration, as plain containers.

        Raises:
            Hep2ganError: As `check_config` and `refuse_links`.
        """
        self.refuse_links()
        self.check_config(config)
        if not self.config_file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            atomic_write(self.config_file, to_yaml(config))

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Check that the folder holds no run or one of this configuration.

        `RUNTIME_KEYS` may differ, and so may the number of epochs, which
        `hep2gan.training.extension` checks.

        Args:
            config: The resolved configuration, as plain containers.

        Raises:
            Hep2ganError: If the folder holds a run of another configuration; names the keys that
                differ.
        """
        if not self.config_file.exists():
            return
        differences = [
            sentence
            for key, sentence in config_diff(self.config(), config)
            if key not in RUNTIME_KEYS | {LENGTH_KEY} and not key.startswith("logger.")
        ]
        if differences:
            raise Hep2ganError(
                f"{self.path} holds a run with another configuration\n{bullet_list(differences)}\n",
                "a run folder is one configuration",
                "give the new run its own place with name=… or study=…, or delete the folder",
            )

    def config_text(self) -> str:
        """config.yaml as it was written."""
        with _explain_damage(self.config_file, "restore it, or run hep2gan-train again"):
            return read_safe_yaml(self.config_file)

    def config(self) -> dict[str, Any]:
        """The resolved config as plain containers."""
        with _explain_damage(self.config_file, "restore it, or run hep2gan-train again"):
            return parse_yaml(self.config_text())

    # ------------------------------------------------------------------ results

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write metrics.json.

        Args:
            metrics: Values under flat keys such as `test/dice`; fractions, distances in raw pixels.
        """
        write_json(self.metrics_file, dict(metrics))

    def metrics(self) -> dict[str, float]:
        """Read metrics.json: numbers by name, such as `test/dice`."""
        with _explain_damage(self.metrics_file, f"run hep2gan-evaluate {self.path}"):
            found = read_json(self.metrics_file)
            for name, value in found.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ValueError(f"{name} is no number")
            return {name: float(value) for name, value in found.items()}

    def split_summary(self) -> dict[str, Any]:
        """Read split.json: the settings, and cells by part and class (`counts`)."""
        with _explain_damage(self.split_file, f"run hep2gan-evaluate {self.path}"):
            found = read_json(self.split_file)
            _check_counts(found.get("counts", {}))
            return found

    def store_info(self) -> StoreInfo:
        """Read store.json: the store that the run was trained on."""
        with _explain_damage(self.store_file, "run hep2gan-train again"):
            found = read_json(self.store_file)
            classes, size, path = found["classes"], found["size"], found["path"]
            names = tuple(map(str, classes)) if isinstance(classes, list) else ()
            if not 0 < len(set(names)) == len(names):
                raise ValueError("classes must be names, each once")
            if type(size) is not int or not 0 < size <= MAX_IMAGE_SIZE:
                raise ValueError(f"size is {str(size)[:40]}, must be in 1..{MAX_IMAGE_SIZE}")
            crops = CropGeometry.parse(found.get("crops"))
            if (target := found["target"]) not in get_args(Target):
                raise ValueError(f"target must be one of {', '.join(get_args(Target))}")
            return StoreInfo(names, size, Path(path), crops, target)

    def provenance(self) -> dict[str, Any]:
        """Data, split and versions from provenance.json; empty if it cannot be read."""
        found = read_provenance(self.provenance_file)
        parts = {name: found.get(name) for name in ("data", "split", "versions")}
        return {name: part for name, part in parts.items() if isinstance(part, dict)}


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted key; an empty mapping is a leaf.

    Args:
        config: Nested mappings, or a leaf.
        prefix: Dotted key of `config` itself; empty for a whole configuration.

    Yields:
        Pairs of dotted key and value.

    Examples:
        >>> dict(flatten({"loss": {"beta": 10.0}, "seed": 0}))
        {'loss.beta': 10.0, 'seed': 0}
    """
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config


def config_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each dotted key whose values differ, with a sentence that states both.

    Args:
        old: The configuration of the run folder.
        new: The configuration of this start.

    Yields:
        Pairs of dotted key and sentence, ordered by key.

    Examples:
        >>> list(config_diff({"seed": 0}, {"seed": 1}))
        [('seed', 'seed: 0 there, 1 here')]
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, f"{key}: {before.get(key, 'absent')} there, {after.get(key, 'absent')} here"


def _runs_below(folder: Path) -> list[Path]:
    """The runs nearest below a folder of runs, of a study or of a method."""
    levels = (sorted(folder.glob("*/" * depth + "config.yaml")) for depth in (1, 2, 3))
    return [file.parent for file in next(filter(None, levels), [])]


def _max_epochs(config: Mapping[str, Any]) -> Any:
    """Epochs of a configuration; None for a forest."""
    model, trainer = config.get("model"), config.get("trainer")
    if not isinstance(trainer, Mapping) or (isinstance(model, Mapping) and model.get("baseline")):
        return None
    return trainer.get("max_epochs")


@contextmanager
def _explain_damage(file: Path, fix: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Hep2ganError(f"{file} cannot be read ({error})", "", fix) from error


def _check_counts(counts: Any) -> None:
    sound = isinstance(counts, dict) and all(
        isinstance(part, dict) and all(type(count) is int for count in part.values())
        for part in counts.values()
    )
    if not sound:
        raise ValueError("its counts are no numbers by part and class")


def _resolve(path: Path) -> Path:
    # A circular link does not lead into the folder.
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return Path(path.anchor)
