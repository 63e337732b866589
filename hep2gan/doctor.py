"""Everything that can be known before a training starts, looked at in one go."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hep2gan.assembly import build_task
from hep2gan.averaging import check_decay
from hep2gan.checklist import Checklist, Finding, Note
from hep2gan.checkpoints import newest_readable
from hep2gan.data.batches import EpochBatches
from hep2gan.data.split_files import Split
from hep2gan.data.splits import make_split
from hep2gan.data.store import Store
from hep2gan.devices import require_devices
from hep2gan.disk_space import checkpoint_bytes, existing, prediction_bytes, require_room
from hep2gan.errors import Hep2ganError
from hep2gan.fit_of_data import of_batches, of_split, of_store
from hep2gan.guidance import Stages
from hep2gan.loggers import require_logger
from hep2gan.networks.classifier import require_backbone_weights
from hep2gan.networks.generator import require_encoder_weights
from hep2gan.run_folder import RunFolder
from hep2gan.run_lock import owner_of, refused
from hep2gan.stocking import open_store
from hep2gan.task import SegmentationGuidedClassification
from hep2gan.textures.forest import ForestSettings

Config = Mapping[str, Any]

_WEIGHTS: dict[str, tuple[str, Callable[[str, bool, str | None], None]]] = {
    "hep2gan.networks.generator.DeepLabV3PlusGenerator": ("encoder", require_encoder_weights),
    "hep2gan.networks.classifier.TimmClassifier": ("backbone", require_backbone_weights),
    "hep2gan.networks.attention_pooling.AttentionPoolingClassifier": (
        "backbone",
        require_backbone_weights,
    ),
}
"""Networks of ours that take weights: the setting that names the model, and who knows of them."""


class Preparation:
    """A run on its way to its start: looks at it, and keeps what it opened on the way.

    newest: the checkpoint to go on from. starts: a training will follow, so drawn cells are drawn
    and weights loaded; otherwise nothing is drawn or downloaded, and the store is read whole.
    store, split and task are None until they are there, and stay so behind a problem; a forest has
    no task.
    """

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        newest: Path | None,
        trusted: Sequence[str] = (),
        *,
        starts: bool,
    ) -> None:
        self.config, self.run, self.newest, self.trusted = config, run, newest, trusted
        self.starts = starts
        self.checklist = Checklist()
        self.store: Store | None = None
        self.split: Split | None = None
        self.task: SegmentationGuidedClassification | None = None

    def examine(self) -> None:
        """Look at what lies around the run, then open its data and build its networks."""
        take = self.checklist.take
        if not take("settings", self._settings()):
            return
        take("devices", self._devices())
        take("logger", self._logger())
        take("run folder", self._folder())
        take("weights", self._weights())
        self.open()
        take("disk", self._disk())

    def open(self) -> None:
        """Open the store, take or make the split, build the networks."""
        take = self.checklist.take
        take("data", self._data())
        take("split", self._split())
        take("batches", self._batches())
        take("networks", self._networks())

    # ------------------------------------------------------------------ around the run

    def _settings(self) -> Iterator[Finding]:
        settings = self.config["trainer"]
        if not _is_whole(self.config["seed"]):
            yield Hep2ganError(f"seed is {self.config['seed']!r}", "it must be a whole number")
        whole = ("max_epochs", "batch_size", "eval_batch_size", "log_every", "devices", "nodes")
        wrong = [key for key in whole if not (_is_whole(settings[key]) and settings[key] > 0)]
        for key in wrong:
            rule = "it must be a positive whole number"
            yield Hep2ganError(f"trainer.{key} is {settings[key]!r}", rule)
        if not wrong:
            Stages.of(self.config["gan_epochs"], settings["max_epochs"])
        check_decay(self.config["ema"])
        if self.config["forest"]:
            ForestSettings(**self.config["forest"])
        if not wrong:
            yield f"{self.config['name']}, {settings['max_epochs']} epochs, {settings['precision']}"

    def _devices(self) -> Iterator[Finding]:
        if self.config["forest"]:
            return
        settings = self.config["trainer"]
        yield require_devices(settings["accelerator"], settings["devices"])
        world, size = settings["devices"] * settings["nodes"], settings["batch_size"]
        # As many cells as a batch has: whether the devices divide it, whatever the data are.
        EpochBatches(np.arange(size), size, world=world, training=True)

    def _logger(self) -> Iterator[Finding]:
        yield require_logger(self.config["logger"])

    def _folder(self) -> Iterator[Finding]:
        run, place = self.run, existing(self.run.path)
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            yield Hep2ganError(
                f"{place} cannot be written ({error.strerror})",
                "a run keeps everything in its folder",
                "choose another place with runs=FOLDER",
            )
        if not self.starts and (owner := owner_of(run.path)) is not None:
            yield refused(run.path, owner)
        run.check_config(self.config)
        state = "finished" if run.done else f"from {self.newest.name}" if self.newest else "new"
        yield f"{run.path}: {state}"

    def _weights(self) -> Iterator[Finding]:
        names = {"generator": "segment", "classifier": "classify"}
        for name in (n for n, key in names.items() if self.config[key] and self.newest is None):
            settings = self.config[name]
            if settings["_target_"] not in _WEIGHTS:
                continue
            key, require = _WEIGHTS[settings["_target_"]]
            try:
                require(settings[key], settings["pretrained"], settings["weights"])
            except Hep2ganError as error:
                yield error
                continue
            source = "ImageNet" if settings["pretrained"] else "from scratch"
            yield f"{name} {settings[key]}: {settings['weights'] or source}"

    # ------------------------------------------------------------------ data and networks

    def _data(self) -> Iterator[Finding]:
        data = self.config["data"]
        if not self.starts and data["source"] == "phantom" and not Path(data["store"]).exists():
            yield Note(f"{data['store']} does not exist yet: the first start draws its cells")
            return
        self.store = open_store(data, thorough=not self.starts)
        yield from of_store(self.store, self.config)

    def _split(self) -> Iterator[Finding]:
        if self.store is None:
            return
        if (self.run.path / "split.csv").exists():
            self.split = Split.load(self.run.path, self.store)
        else:
            self.split = make_split(self.store, **self.config["split"])
        yield from of_split(self.store, self.split, self.config)

    def _batches(self) -> Iterator[Finding]:
        if self.split is not None and not self.config["forest"]:
            yield from of_batches(self.split, self.config)

    def _networks(self) -> Iterator[Finding]:
        if self.store is None or self.split is None or self.config["forest"]:
            return
        counts = np.bincount(self.store.label[self.split.train], minlength=len(self.store.classes))
        self.task = build_task(
            self.config,
            classes=self.store.classes,
            size=self.store.size,
            train_counts=counts.tolist(),
            # Behind a problem nothing starts: the build shows what else is wrong.
            load_weights=self.newest is None and self.starts and not self.checklist.problems,
            trusted=self.trusted,
        )
        counted = {n: sum(p.numel() for p in m.parameters()) for n, m in self.task.networks.items()}
        yield ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in counted.items())

    def _disk(self) -> Iterator[Finding]:
        if self.task is None or self.store is None or self.split is None:
            return
        features = int(getattr(self.task.classifier, "feature_dim", 0) or 0)
        yield require_room(
            self.run.path,
            checkpoint_bytes(self.task.parts, self.config["optimizer"]),
            chooses=len(self.split.validation) > 0,
            predictions=prediction_bytes(
                len(self.split.test), self.store.size, len(self.store.classes), features
            ),
        )


def examined(config: Config, trusted: Sequence[str] = ()) -> Checklist:
    """Look at everything and start nothing: what `doctor=true` prints."""
    run = RunFolder(Path(config["run_dir"]))
    preparation = Preparation(config, run, newest_readable(run.checkpoints), trusted, starts=False)
    preparation.examine()
    return preparation.checklist


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
