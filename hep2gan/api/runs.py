"""Runs as Python code sees them: settings, metrics, predictions, a table of many."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from hep2gan.api.frames import import_pandas
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.runs.finished import list_runs, read_finished_run
from hep2gan.runs.folder import RunFolder, flatten

if TYPE_CHECKING:
    import pandas

    from hep2gan.api.predictions import CellPredictions, Images
    from hep2gan.inference.exported import Export
    from hep2gan.inference.predict import TrainedModel

_NAMES = ("study", "name", "seed")
"""Settings that name a run: always columns of a table."""
_PLACES = frozenset({"run_dir", "runs", "stores", "data.store", "data.root"})
"""Settings of places alone: never columns unless they are asked for."""


class Run:
    """A run folder, as `hep2gan-train` writes it, or what `hep2gan-export` made of one.

    Its networks are loaded when they first predict, and stay as long as this object does.

    Args:
        path: The folder, or hf://USER/NAME[@REVISION] for an export at the hub of Hugging Face.
        checkpoint: A checkpoint file; None for what the run's rule chose.
        accelerator: Where its networks run: "gpu", "cpu", or "auto" for the first GPU there is.
        trusted: Packages of your own whose classes its configuration may name.

    Attributes:
        path: The folder, absolute.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
        trusted: Sequence[str] = (),
    ) -> None:
        self._export = _find_export(os.fspath(path))
        where = self._export.folder if self._export else Path(path).expanduser()
        self.path = where.absolute()
        self._folder = RunFolder(self.path)
        self._checkpoint = None if checkpoint is None else os.fspath(checkpoint)
        self._accelerator, self._trusted = accelerator, tuple(trusted)

    def __repr__(self) -> str:
        if self._export and self._export.origin:
            return f"<run {self._export}>"
        return f"<run {os.path.relpath(self.path)}{'' if self.finished else ', not finished'}>"

    @property
    def finished(self) -> bool:
        """Whether it was trained and tested to the end."""
        return bool(self._export.metrics) if self._export else self._folder.done

    @property
    def config(self) -> dict[str, Any]:
        """All settings, nested as in config.yaml; of exported weights those of the networks.

        Raises:
            Hep2ganError: config.yaml is missing or damaged.
        """
        if self._export:
            return self._export.configuration
        self._folder.require_started()
        return self._folder.config()

    @property
    def metrics(self) -> dict[str, float]:
        """Results of the test, such as `test/dice` and `test/accuracy`; fractions and pixels.

        Raises:
            Hep2ganError: The run is not finished, or metrics.json is damaged.
        """
        if self._export:
            return self._export.metrics
        return read_finished_run(self.path).metrics

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes.

        Raises:
            Hep2ganError: store.json is missing or damaged.
        """
        return self._export.classes if self._export else self._folder.store_info().classes

    def open_model(self) -> "TrainedModel":
        """Load the networks, the first time; they stay as long as this object does.

        Returns:
            The networks and how they take images.

        Raises:
            Hep2ganError: The run cannot be loaded.
        """
        return self._model

    @cached_property
    def _model(self) -> "TrainedModel":
        from hep2gan.inference.open import open_model

        return open_model(
            self._export or self._folder,
            checkpoint=self._checkpoint,
            accelerator=self._accelerator,
            trusted=self._trusted,
        )

    def predict(
        self,
        images: "Images",
        *,
        batch_size: int = 64,
        white_level: int | None = None,
        channel: int | str | None = None,
        plane: int | None = None,
        calibrated: bool = True,
        views: bool = False,
    ) -> "CellPredictions":
        """Segment and classify images of single cells, with what `hep2gan-predict` computes.

        Args:
            images: A file, a folder, an array (h, w), or a list of these. Grey levels of an array
                are taken as those of a file of its type: uint8 as they are, uint16 with 65535 as
                white, anything else by `white_level`.
            batch_size: Images that the networks take at once.
            white_level: Grey level that is white, for more than 8 bits; None as in the training.
            channel: Number or name of the channel of files that have several; None as in the
                training.
            plane: Number of the plane of files that have several; None as in the training.
            calibrated: Scale the probabilities by the temperature that the run's test found; the
                most probable class stays. A run that was not tested has none.
            views: Average the eight flips and rotations of each image, and tell by their `spread`
                how far they disagree.

        Returns:
            The predictions in the order of the images, those of a folder by name. Images that
            cannot be read are left out, with a warning, and listed in `problems`.

        Raises:
            Hep2ganError: There is no image, none can be read, or the run cannot be loaded.
        """
        from hep2gan.api.ensembles import predict_images

        return predict_images(
            {str(self.path): self.open_model},
            images,
            batch_size=batch_size,
            reading=(white_level, channel, plane),
            views=views,
            calibrated=calibrated,
        )

    def predict_fields(
        self,
        fields: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] = "predictions",
        *overrides: str,
        verbose: bool = True,
    ) -> Path:
        """Find and classify the cells of whole fields, as `hep2gan-predict` does.

        Args:
            fields: Files and folders of images that show many cells each.
            output: The folder of the results: cells.csv, fields.csv, specimens.csv, label images,
                GeoJSON and overlays.
            *overrides: Further settings as on the command line, `"cells=threshold"`,
                `"specimens=slides.csv"`.
            verbose: Print what the command prints.

        Returns:
            The folder of the results.

        Raises:
            Hep2ganError: Nothing can be predicted; or some fields could not be read, and the others
                are done.
            KeyboardInterrupt: It was interrupted.
        """
        from hep2gan.api.commands import predict_fields

        words = [*self.opening_words, *overrides]
        return predict_fields([self.path], fields, output, words, verbose=verbose)

    @property
    def opening_words(self) -> list[str]:
        """How it is opened, in words of the command line."""
        settings = [f"accelerator={self._accelerator}"]
        settings += [f"checkpoint={self._checkpoint}"] if self._checkpoint else []
        return settings + ([f"trusted=[{','.join(self._trusted)}]"] if self._trusted else [])

    def report(self, output: str | os.PathLike[str] = "report/report.html") -> Path:
        """Write one HTML page about the run, with tables and figures beside it.

        Args:
            output: The page, or a folder that is there for report.html.

        Returns:
            The page.

        Raises:
            Hep2ganError: The run is not finished or damaged.
        """
        from hep2gan.api.commands import report

        return report(self, output)


def load_run(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
    trusted: Sequence[str] = (),
) -> Run:
    """Open a run folder, such as runs/default/proposed/seed0, or an export of one.

    Args:
        path: As in `Run`.
        checkpoint: As in `Run`.
        accelerator: As in `Run`.
        trusted: As in `Run`.

    Returns:
        The run; its networks are loaded when they are needed.

    Raises:
        Hep2ganError: The folder is no run, or an export that is damaged or cannot be downloaded.
    """
    run = Run(path, checkpoint=checkpoint, accelerator=accelerator, trusted=trusted)
    if run._export is None:
        RunFolder(run.path).require_started()
    return run


def _find_export(name: str) -> "Export | None":
    """The export of a name; None for a folder that is none, as those of runs are."""
    from hep2gan.inference.exported import DESCRIPTION, HUB, Export

    if not name.startswith(HUB) and not (Path(name).expanduser() / DESCRIPTION).is_file():
        return None
    from hep2gan.inference.open import find_model

    found = find_model(name if name.startswith(HUB) else str(Path(name).expanduser()))
    return found if isinstance(found, Export) else None


class Runs(Sequence[Run]):
    """Runs found in a folder: a list with a table.

    Args:
        root: The folder that was searched.
        runs: The runs.
    """

    def __init__(self, root: Path, runs: Sequence[Run]) -> None:
        self._root, self._runs = root, list(runs)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> "Runs": ...

    def __getitem__(self, index: int | slice) -> "Run | Runs":
        if isinstance(index, slice):
            return Runs(self._root, self._runs[index])
        return self._runs[index]

    def __repr__(self) -> str:
        done = sum(run.finished for run in self)
        return f"<{pluralize(len(self), 'run')}, {done} finished>"

    def to_frame(self, settings: Sequence[str] | None = None) -> "pandas.DataFrame":
        """Make a data frame with a row for each run, named by its folder.

        Args:
            settings: Dotted keys of the settings to show, such as `trainer.max_epochs`; None for
                those in which the runs differ.

        Returns:
            The columns study, name, seed and `finished`, the settings, then the metrics. Runs that
            are not finished have no metrics. A damaged run has its error in a column `problem`.

        Raises:
            Hep2ganError: pandas is not installed, or no run has a setting of that name.
        """
        read = [_read(run) for run in self]
        keys = _differing(read) if settings is None else _known(settings, read)
        rows = [
            {name: config.get(name) for name in _NAMES}
            | {"finished": run.finished}
            | {key: _cell(config.get(key)) for key in keys}
            | metrics
            | ({"problem": problem} if problem else {})
            for run, (config, metrics, problem) in zip(self, read, strict=True)
        ]
        names = [os.path.relpath(run.path, self._root.absolute()) for run in self]
        pandas = import_pandas()
        return pandas.DataFrame(rows, index=pandas.Index(names, name="run"))


def find_runs(folder: str | os.PathLike[str] = "runs") -> Runs:
    """List the runs in a folder and all below it, also those that are not finished.

    Args:
        folder: The folder, such as that of a study.

    Returns:
        The runs, by path.

    Raises:
        Hep2ganError: There is no such folder.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise Hep2ganError(f"{root} is no folder", "runs lie in one", "check the path")
    done, rest = list_runs(root)
    return Runs(root, [Run(path) for path in sorted(done + rest)])


_Read = tuple[dict[str, Any], dict[str, float], str]


def _read(run: Run) -> _Read:
    """Flat settings and metrics of a run, and what is wrong with it."""
    try:
        config = dict(flatten(run.config))
    except Hep2ganError as error:
        return {}, {}, str(error)
    try:
        return config, run.metrics if run.finished else {}, ""
    except Hep2ganError as error:
        return config, {}, str(error)


def _differing(read: Sequence[_Read]) -> list[str]:
    configs = [config for config, _, _ in read if config]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in keys
        if key not in _NAMES and key not in _PLACES
        if any(config.get(key) != configs[0].get(key) for config in configs)
    ]


def _known(settings: Sequence[str], read: Sequence[_Read]) -> list[str]:
    for key in settings:
        if not any(key in config for config, _, _ in read):
            raise Hep2ganError(
                f"no run has a setting {key!r}",
                "settings are named by dotted keys",
                "see docs/configuration.md, or run.config",
            )
    return [key for key in settings if key not in _NAMES]


def _cell(value: Any) -> Any:
    # Lists do not compare or sort in a data frame.
    return str(value) if isinstance(value, list | Mapping) else value
