"""Everything that can be known before a training starts, looked at in one go."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from hep2gan.config import cross_field_errors, find_wrong_targets, invalid_settings
from hep2gan.data.leakage import measure_leakage
from hep2gan.data.prepare import open_store
from hep2gan.data.splits import Split, SplitSettings, make_split
from hep2gan.data.store.store import Store
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError, pluralize
from hep2gan.io import atomic_write
from hep2gan.runs.checkpoints import TRAINING_START, TrainingPosition, latest_readable
from hep2gan.runs.folder import RunFolder
from hep2gan.training import distributed
from hep2gan.training.build import build_task
from hep2gan.training.datamodule import CellDataModule
from hep2gan.training.module import SegmentationGuidedClassification
from hep2gan.training.preflight import (
    Finding,
    Note,
    PreflightReport,
    check_batches,
    check_devices,
    check_folder,
    check_logger,
    check_split,
    check_store,
    check_trainer_flags,
    check_weights,
    checkpoint_bytes,
    prediction_bytes,
    require_disk_space,
)

Config = Mapping[str, Any]


class RunSetup:
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
        self.checklist = PreflightReport()
        self._wrong: dict[str, Hep2ganError] = {}
        self._fit = True
        self.store: Store | None = None
        self.split: Split | None = None
        self.task: SegmentationGuidedClassification | None = None

    def examine(self) -> None:
        """Look at what lies around the run, then open its data and build its networks.

        What rests on settings that are wrong is left out; all else is looked at.
        """
        take = self.checklist.take
        take("settings", self._settings())
        if self._sound("trainer", "forest") and not self.config["forest"]:
            take("devices", check_devices(self.config))
            take("switches", check_trainer_flags(self.config))
        if self._sound("logger"):
            take("logger", check_logger(self.config))
        take("run folder", check_folder(self.run, self.config, self.newest, starts=self.starts))
        networks = ("segment", "classify", "generator", "classifier", "pretrained")
        if self.newest is None and self._sound(*networks):
            take("weights", check_weights(self.config))
        self.open()
        take("disk", self._disk())

    def open(self) -> None:
        """Open the store, take or make the split, build the networks."""
        take = self.checklist.take
        take("data", self._data())
        take("split", self._split())
        take("batches", self._batches())
        take("networks", self._networks())

    def _sound(self, *places: str) -> bool:
        """Whether no setting in these groups, or of these keys, was found wrong."""
        return not any(f"{key}.".startswith(f"{place}.") for key in self._wrong for place in places)

    def _settings(self) -> Iterator[Finding]:
        self._wrong = invalid_settings(self.config)
        yield from self._wrong.values()
        unfit = [
            *cross_field_errors(self.config, self._wrong),
            *find_wrong_targets(self.config, self.trusted),
        ]
        yield from unfit
        self._fit = not self._wrong and not unfit
        if self._fit:
            settings = self.config["trainer"]
            epochs = pluralize(settings["max_epochs"], "epoch")
            yield f"{self.config['name']}, {epochs}, {settings['precision']}"

    def _data(self) -> Iterator[Finding]:
        if not self._sound("data", "stores", "classify"):
            return
        data = self.config["data"]
        if not self.starts and data["reader"] == "phantom" and not Path(data["store"]).exists():
            yield Note(f"{data['store']} does not exist yet: the first start draws its cells")
            return
        self.store = open_store(data, check=distributed.rank() == 0, force_check=not self.starts)
        yield from check_store(self.store, self.config)

    def _split(self) -> Iterator[Finding]:
        if self.store is None or not self._sound(
            "split", "seed", "classify", "loss.gaussian_mixture"
        ):
            return
        if (self.run.path / "split.csv").exists():
            self.split = Split.load(self.run.path, self.store)
        else:
            self.split = make_split(self.store, SplitSettings(**self.config["split"]))
        yield from check_split(self.store, self.split, self.config)

    def _batches(self) -> Iterator[Finding]:
        if self._sound("trainer", "forest", "segment") and not self.config["forest"]:
            yield from check_batches(self.split, self.config)

    def _networks(self) -> Iterator[Finding]:
        if not self._fit or self.config["forest"]:
            return
        if self.store is None or self.split is None:
            # Without cells, as many classes as there must be: it shows what else is wrong.
            self._built(("a", "b"), self.config["data"]["size"], [1, 1])
            return
        store, split = self.store, self.split
        counts = np.bincount(store.label[split.train], minlength=len(store.classes))
        self.task = self._built(store.classes, store.size, counts.tolist())
        sizes = {n: sum(p.numel() for p in m.parameters()) for n, m in self.task.networks.items()}
        yield ", ".join(f"{name} {size / 1e6:.1f} M" for name, size in sizes.items())

    def _built(
        self, classes: Sequence[str], size: int, counts: list[int]
    ) -> SegmentationGuidedClassification:
        if self.starts:
            L.seed_everything(self.config["seed"], verbose=False)
        return build_task(
            self.config,
            classes=classes,
            size=size,
            train_counts=counts,
            # Behind a problem nothing starts: the build shows what else is wrong.
            load_weights=self.newest is None and self.starts and not self.checklist.problems,
            trusted=self.trusted,
        )

    def _disk(self) -> Iterator[Finding]:
        if self.task is None or self.store is None or self.split is None:
            return
        features = int(getattr(self.task.classifier, "feature_dim", 0) or 0)
        yield require_disk_space(
            self.run.path,
            checkpoint_bytes(self.task.optimized_modules, self.config["optimizer"]),
            chooses=len(self.split.validation) > 0,
            predictions=prediction_bytes(
                len(self.split.test), self.store.size, len(self.store.classes), features
            ),
        )


def run_preflight(config: Config, trusted: Sequence[str] = ()) -> PreflightReport:
    """Look at everything and start nothing: what `doctor=true` prints."""
    run = RunFolder.from_config(config)
    preparation = RunSetup(config, run, latest_readable(run.checkpoints), trusted, starts=False)
    preparation.examine()
    return preparation.checklist


log = logging.getLogger(__name__)


def open_run_setup(
    config: Config, run: RunFolder, newest: Path | None, trusted: Sequence[str] = ()
) -> RunSetup:
    """Open and build what the run needs; rank 0 looks at everything first and writes it down.

    Raises Hep2ganError that lists all that is wrong.
    """
    preparation = RunSetup(config, run, newest, trusted, starts=True)
    first = distributed.rank() == 0
    preparation.examine() if first else preparation.open()
    preparation.checklist.require(str(run.path))
    store, split = preparation.store, preparation.split
    assert store is not None
    assert split is not None
    if first:
        for _, state, text in preparation.checklist.results:
            if state == "note":
                log.warning("%s.", text[:1].upper() + text[1:])
        run.save_config(config)
        atomic_write(run.store_file, json.dumps(describe_store(store), indent=1) + "\n")
    _keep_split(split, store, run)
    return preparation


def describe_store(store: Store) -> dict[str, Any]:
    """What a run must remember of its store: classes, size, fingerprint and place."""
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "size": store.size,
        "cells": len(store),
        "classes": list(store.classes),
    }


def _keep_split(split: Split, store: Store, run: RunFolder) -> None:
    """Write the split down at a run's first start; say what it leaks."""
    if not (run.path / "split.csv").exists():
        split.save(run.path, store)
    log.info(
        "%d cells for training, %d for validation, %d for the test",
        len(split.train),
        len(split.validation),
        len(split.test),
    )
    for sentence in measure_leakage(store, split).warnings():
        log.warning(sentence)


def build_data(
    config: Config, store: Store, split: Split, start: TrainingPosition = TRAINING_START
) -> CellDataModule:
    """The batches that `config` describes, from `start` on."""
    trainer = config["trainer"]
    return CellDataModule(
        store,
        split,
        batch_size=trainer["batch_size"],
        eval_batch_size=trainer["eval_batch_size"],
        seed=config["seed"],
        normalisation=Normalisation(**config["normalisation"]),
        augmentation=Augmentation(**config["augmentation"]),
        workers=trainer["workers"],
        resident=trainer["resident"],
        start=start,
        limit_batches=trainer["limit_batches"],
        # Runs from before the option have no key for it.
        sampling=config.get("sampling", "all"),
        channels_last=trainer["channels_last"],
    )
