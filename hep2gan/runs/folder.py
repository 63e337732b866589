"""The folder of one run: its config, what it left behind, and whether it is finished."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hep2gan.errors import Hep2ganError, bullet_list
from hep2gan.io import atomic_write, read_json, read_safe_yaml


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its dotted key; an empty mapping is a leaf.

    >>> dict(flat({"loss": {"beta": 10.0}, "seed": 0}))
    {'loss.beta': 10.0, 'seed': 0}
    """
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config


def config_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each dotted key whose value differs, with a sentence that says how.

    >>> list(differences({"seed": 0}, {"seed": 1}))
    [('seed', 'seed: 0 there, 1 here')]
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, f"{key}: {before.get(key, 'absent')} there, {after.get(key, 'absent')} here"


# What may change between two starts of one run: where things lie and how fast they go.
RUNTIME_KEYS = frozenset(
    {"data.root", "data.store", "data.on_error", "stores", "runs", "run_dir"}
    | {"trusted", "objective"}
    | {f"trainer.{key}" for key in ("accelerator", "workers", "resident", "log_every")}
    | {f"trainer.{key}" for key in ("nonfinite", "eval_batch_size", "fused_optimizers", "profile")}
    | {"generator.weights", "classifier.weights"}
)


_WRITTEN = (
    *("config.yaml", "store.json", "split.csv", "split.json", "provenance.json", "train.log"),
    *("metrics.csv", "metrics.json", "predictions.npz", "figures", "wandb", "DONE"),
    *("profile.json", "profile.md"),
)


class RunFolder:
    """Paths of runs/<study>/<method>/seed<k>/ and the rules they stand for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.store_file = path / "store.json"
        self.metrics_file = path / "metrics.json"
        self.curves_file = path / "metrics.csv"
        self.predictions_file = path / "predictions.npz"
        self.checkpoints = path / "checkpoints"
        self.figures = path / "figures"
        self.done_file = path / "DONE"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RunFolder":
        """The folder that a configuration names; raises Hep2ganError where it names none."""
        place = config["run_dir"]
        if not isinstance(place, str) or not place.strip() or "\0" in place:
            raise Hep2ganError(
                f"run_dir is {place!r}", "it must name a folder", "leave it out, or set runs=FOLDER"
            )
        return cls(Path(place))

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A run that was started before; raises Hep2ganError where there is none."""
        run = cls(path)
        if not run.config_file.is_file():
            raise Hep2ganError(
                f"{path} is no run folder",
                "a run folder holds config.yaml",
                "give a folder that hep2gan-train wrote, e.g. runs/default/proposed/seed0",
            )
        run.refuse_links()
        return run

    def refuse_links(self) -> None:
        """Raise Hep2ganError where what a run writes would land outside of its folder.

        Reading through links is harmless: whatever is there is checked like any other file. The
        checkpoints may lie on another disk; their files are replaced, never written into.
        """
        inside = self.path.resolve()
        for name in _WRITTEN:
            file = self.path / name
            if file.is_symlink() and not _resolved(file).is_relative_to(inside):
                raise Hep2ganError(
                    f"{file} is a link to {file.readlink()}",
                    "a run writes into its own folder",
                    "remove the link, or copy what it leads to",
                )

    @property
    def done(self) -> bool:
        """True only after the test: nothing else means finished."""
        return self.done_file.is_file()

    def save_config(self, config: Mapping[str, Any]) -> None:
        """Keep the resolved config, or hold a second start to the first one's.

        Raises Hep2ganError naming the keys that differ when the folder holds another run.
        """
        from omegaconf import OmegaConf

        self.refuse_links()
        if not self.config_file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            atomic_write(self.config_file, OmegaConf.to_yaml(OmegaConf.create(dict(config))))
            return
        self.check_config(config)

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Raise Hep2ganError, naming the keys that differ, when the folder holds another run."""
        if not self.config_file.exists():
            return
        found = [
            how
            for key, how in config_diff(self.config(), config)
            if key not in RUNTIME_KEYS and not key.startswith("logger.")
        ]
        if found:
            raise Hep2ganError(
                f"{self.path} holds a run with another configuration\n{bullet_list(found)}\n",
                "a run folder is one configuration",
                "give the new run its own place with name=… or study=…, or delete the folder",
            )

    def config(self) -> dict[str, Any]:
        """The resolved config as plain containers."""
        from omegaconf import OmegaConf

        try:
            config = OmegaConf.to_container(OmegaConf.create(read_safe_yaml(self.config_file)))
        except Exception as error:
            raise Hep2ganError(
                f"{self.config_file} cannot be read ({error})", "", "restore it or train again"
            ) from error
        if not isinstance(config, dict):
            raise Hep2ganError(f"{self.config_file} holds no configuration", "", "train again")
        return {str(key): value for key, value in config.items()}

    def save_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write metrics.json: flat keys, fractions."""
        atomic_write(self.metrics_file, json.dumps(dict(metrics), indent=1) + "\n")

    def provenance(self) -> dict[str, Any]:
        """What provenance.json says of code, data and split; nothing where it cannot be read."""
        try:
            found = read_json(self.path / "provenance.json")
        except ValueError:
            return {}
        parts = {name: found.get(name) for name in ("data", "split", "versions")}
        return {name: part for name, part in parts.items() if isinstance(part, dict)}

    def metrics(self) -> dict[str, float]:
        """Read metrics.json."""
        try:
            found = read_json(self.metrics_file)
            return {str(key): float(value) for key, value in found.items()}
        except (ValueError, TypeError, OverflowError) as error:
            raise Hep2ganError(
                f"{self.metrics_file} cannot be read ({error})",
                "",
                f"run hep2gan-evaluate {self.path}",
            ) from error


def _resolved(path: Path) -> Path:
    # A link that leads in a circle leads nowhere, and not into the folder.
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return Path(path.anchor)


MAX_SIZE = 4096


def describe_run(run: RunFolder) -> tuple[tuple[str, ...], int, Path]:
    """Classes, image size and path of the store that a run was trained on."""
    try:
        found = read_json(run.store_file)
        classes, size, path = found["classes"], found["size"], found["path"]
        if (
            not isinstance(classes, list)
            or not classes
            or len(set(map(str, classes))) != len(classes)
        ):
            raise ValueError("classes must be names, each once")
        if type(size) is not int or not 0 < size <= MAX_SIZE:
            raise ValueError(f"size is {str(size)[:40]}, must be in 1..{MAX_SIZE}")
        return tuple(map(str, classes)), size, Path(path)
    except (ValueError, KeyError, TypeError) as error:
        raise Hep2ganError(
            f"{run.store_file} cannot be read ({error})", "", "train the run again"
        ) from error
