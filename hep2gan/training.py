"""One run from a resolved configuration: split, fit or resume, test, DONE."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from hep2gan.assembly import build_task
from hep2gan.callbacks import EpochCheckpoint, SeedEachEpoch, progress_bars
from hep2gan.checkpoints import epoch_of, newest_readable, read_chosen
from hep2gan.data.augment import Augmentation
from hep2gan.data.leakage import leakage
from hep2gan.data.normalise import Normalisation
from hep2gan.data.split_files import Split
from hep2gan.data.splits import make_split
from hep2gan.data.store import Store
from hep2gan.datamodule import CellDataModule
from hep2gan.errors import Hep2ganError
from hep2gan.evaluation import evaluate_run, figure_files, summary
from hep2gan.gauges import Gauges
from hep2gan.loggers import build_logger, closing, log_results
from hep2gan.metrics_file import MetricsFile
from hep2gan.predictions import Predictions
from hep2gan.provenance import provenance, write_provenance
from hep2gan.quiet import quiet_libraries
from hep2gan.run_folder import RunFolder
from hep2gan.stocking import open_store
from hep2gan.task import SegmentationGuidedClassification
from hep2gan.whole import write_whole

log = logging.getLogger(__name__)
Config = Mapping[str, Any]


def train_run(config: Config, trusted: Sequence[str] = ()) -> dict[str, float]:
    """Train, test and record the run that `config` describes; resume it where it was left.

    A finished run is left alone and its metrics are returned.
    """
    quiet_libraries()
    run = RunFolder(Path(config["run_dir"]))
    _checked(config)
    if run.config_file.exists():
        run.save_config(config)
    if run.done:
        log.info("%s is finished already.%s", run.path, summary(run.metrics()))
        return run.metrics()
    L.seed_everything(config["seed"], verbose=False)
    store = open_store(config["data"], None)
    split = split_of_run(config, store, run)
    run.save_config(config)
    write_whole(run.store_file, json.dumps(describe_store(store), indent=1) + "\n")
    data = build_data(config, store, split)
    newest = newest_readable(run.checkpoints)
    counts = np.bincount(store.label[split.train], minlength=len(store.classes)).tolist()
    task = build_task(
        config,
        classes=store.classes,
        size=store.size,
        train_counts=counts,
        load_weights=newest is None,
        trusted=trusted,
    )
    return _fit_and_test(config, run, task, data, newest)


def _checked(config: Config) -> None:
    if not isinstance(config["seed"], int) or isinstance(config["seed"], bool):
        raise Hep2ganError(f"seed is {config['seed']!r}", "it must be a whole number")
    for key in ("max_epochs", "batch_size", "eval_batch_size", "log_every"):
        value = config["trainer"][key]
        if not isinstance(value, int) or value < 1:
            raise Hep2ganError(f"trainer.{key} is {value!r}", "it must be a positive whole number")
    gan_epochs = config["gan_epochs"]
    if gan_epochs is not None and not 0 < gan_epochs < config["trainer"]["max_epochs"]:
        raise Hep2ganError(
            f"gan_epochs is {gan_epochs}, trainer.max_epochs {config['trainer']['max_epochs']}",
            "both stages need epochs",
            "choose gan_epochs below trainer.max_epochs",
        )


def describe_store(store: Store) -> dict[str, Any]:
    """What a run must remember of its store: classes, size, fingerprint and place."""
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "size": store.size,
        "cells": len(store),
        "classes": list(store.classes),
    }


def split_of_run(config: Config, store: Store, run: RunFolder) -> Split:
    """The split written down with the run, made at its first start; says what it leaks."""
    if (run.path / "split.csv").exists():
        split = Split.load(run.path, store)
    else:
        split = make_split(store, **config["split"])
        run.path.mkdir(parents=True, exist_ok=True)
        split.save(run.path, store)
    log.info(
        "%d cells for training, %d for validation, %d for the test",
        len(split.train),
        len(split.validation),
        len(split.test),
    )
    for sentence in leakage(store, split).sentences():
        log.warning(sentence)
    return split


def build_data(config: Config, store: Store, split: Split) -> CellDataModule:
    """The batches that `config` describes."""
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
    )


def _fit_and_test(
    config: Config,
    run: RunFolder,
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    newest: Path | None,
) -> dict[str, float]:
    origin = provenance(config, data.store, data.split, task.networks)
    write_provenance(run.path / "provenance.json", origin)
    epoch = epoch_of(newest) + 1 if newest else 0
    logger = build_logger(config, run.path, resume_epoch=epoch, provenance=origin)
    with closing(logger):
        _fit(config, run, task, data, logger, newest)
        task.load_state_dict(read_chosen(run.checkpoints)[1]["state_dict"])
        accelerator = config["trainer"]["accelerator"]
        metrics = evaluate_run(task, data, run, config, accelerator=accelerator)
        predictions = Predictions.load(run.predictions_file) if logger else None
        log_results(logger, metrics, figure_files(run.figures), predictions)
    write_whole(run.done_file, "")
    log.info("%s\n\n%s", summary(metrics), run.path)
    return metrics


def monitor_of(config: Config, split: Split) -> str | None:
    """The validation metric that chooses the epoch; None without a validation part (the paper)."""
    if len(split.validation) == 0:
        return None
    return "val/f1" if config["classify"] else "val/dice"


def _fit(
    config: Config,
    run: RunFolder,
    task: SegmentationGuidedClassification,
    data: CellDataModule,
    logger: Any,
    newest: Path | None,
) -> None:
    settings = config["trainer"]
    epoch = epoch_of(newest) + 1 if newest else 0
    if newest:
        log.info("Resuming %s after epoch %d", run.path, epoch)
    _prepare(task, settings)
    loggers = [MetricsFile(run.curves_file, epoch), *([logger] if logger else [])]
    trainer = build_trainer(
        settings,
        loggers,
        [
            EpochCheckpoint(run.checkpoints, monitor_of(config, data.split)),
            SeedEachEpoch(config["seed"]),
            Gauges(),
        ],
        len(data.split.validation) > 0,
    )
    trainer.fit(task, data, ckpt_path=newest, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt


def _prepare(task: SegmentationGuidedClassification, settings: Config) -> None:
    torch.set_float32_matmul_precision("high" if settings["tf32"] else "highest")
    for network in task.networks.values():
        if settings["channels_last"]:
            network.to(memory_format=torch.channels_last)
        if settings["compile"]:
            # In place: compiling the LightningModule would change the names in its checkpoints.
            network.compile()


def build_trainer(
    settings: Config, loggers: list[Any], callbacks: list[Callback], validates: bool
) -> L.Trainer:
    """A Lightning trainer that leaves order, checkpoints and logging intervals to us."""
    bars = progress_bars()
    return L.Trainer(
        accelerator=settings["accelerator"],
        devices=settings["devices"],
        precision=settings["precision"],
        max_epochs=settings["max_epochs"],
        limit_train_batches=settings["limit_batches"],
        limit_val_batches=None if validates else 0,
        check_val_every_n_epoch=settings["validate_every"],
        num_sanity_val_steps=0,
        logger=loggers,
        log_every_n_steps=1,
        callbacks=[*callbacks, *bars],
        enable_progress_bar=bool(bars),
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn" if settings["deterministic"] else False,
    )
