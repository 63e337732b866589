"""Preflight checks: everything that can be known before a training starts, in one report."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hep2gan.config import NETWORKS, TrainConfig
from hep2gan.data.sampler import EpochBatchSampler
from hep2gan.data.splits import PARTS
from hep2gan.data.store.report import oddity_lines
from hep2gan.errors import Hep2ganError, errors_from, pluralize
from hep2gan.runs.checkpoints import TrainingPosition, latest_readable
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.lock import lock_owner, locked_error
from hep2gan.runs.metrics_csv import require_epochs
from hep2gan.training.build import build_task, optimizer_factory, parameter_counts
from hep2gan.training.datamodule import check_batches_per_rank
from hep2gan.training.disk_space import check_disk_space, existing_parent
from hep2gan.training.extension import check_extension
from hep2gan.training.initial_weights import SourceRun
from hep2gan.training.loggers import require_logger
from hep2gan.training.machine import check_devices, check_machine, check_software
from hep2gan.training.preflight_report import Finding, Note, PreflightReport, Skipped
from hep2gan.training.setup import RunSetup
from hep2gan.training.trainer import build_named_callbacks
from hep2gan.training.trainer_flags import check_trainer_flags

WITHOUT_MASKS = ("resnet50_t", "resnet50", "vgg16", "gao", "robust")
"""Some methods that need no masks, see `ModelSettings.needs_masks`."""
NO_ERRORS: Mapping[str, Hep2ganError] = MappingProxyType({})


def run_preflight(
    config: TrainConfig, run: RunFolder, invalid: Mapping[str, Hep2ganError] = NO_ERRORS
) -> PreflightReport:
    """Check everything and start nothing, for `doctor=true` and for invalid configurations.

    Args:
        config: The configuration of the run, with a valid value in place of each invalid one.
        run: The run's folder.
        invalid: Errors of the configuration as it was given, by dotted key.

    Returns:
        The findings of all checks.
    """
    return preflight(RunSetup(config, run, latest_readable(run.checkpoints), dry_run=True), invalid)


def preflight(setup: RunSetup, invalid: Mapping[str, Hep2ganError] = NO_ERRORS) -> PreflightReport:
    """Check settings and surroundings, then open the data and build the networks of `setup`.

    Checks that depend on invalid settings or on data that cannot be opened are left out, and
    reported as skipped.

    Args:
        setup: The run; its configuration has a valid value in place of each invalid one.
        invalid: Errors of the configuration as it was given, by dotted key.

    Returns:
        The findings of all checks.
    """
    config, report = setup.config, PreflightReport()

    def valid(*groups: str) -> bool:
        return not any(f"{key}.".startswith(f"{group}.") for key in invalid for group in groups)

    def check(name: str, findings: Iterable[Finding], *groups: str) -> None:
        if wrong := [group for group in groups if not valid(group)]:
            findings = [Skipped(f"not checked, since {', '.join(wrong)} is wrong")]
        report.add(name, findings)

    if setup.dry_run:
        check("software", check_software())
    check("settings", check_settings(setup, invalid))
    has_networks = config.model.baseline is None
    trainer = ("trainer", "model.baseline")
    if has_networks:
        check("devices", check_devices(config.trainer), *trainer)
        if setup.dry_run:
            check("machine", check_machine(config.trainer, config.source.size), *trainer, "data")
        check("switches", check_trainer_flags(config.trainer), *trainer)
        check("optimizers", check_optimizers(config), *trainer, "optimizer")
        check("callbacks", check_callbacks(config), *trainer, "callbacks")
    check("logger", _result(require_logger, config.logger), "logger")
    check("run folder", check_folder(setup))
    check("data", check_store(setup), "data", "stores", "model", "target")
    cells = [Skipped("not checked, since the cells cannot be opened")]
    opened = setup.is_open("store")
    split = check_split(setup) if opened else cells
    check("split", split, "split", "seed", "loss.gaussian_mixture")
    if setup.checkpoint is None:
        check("weights", check_weights(setup), "model", "pretrained", "init_from", *NETWORKS)
    if has_networks:
        check("batches", check_batches(setup), *trainer, "model")
        # Behind a problem nothing starts: the build shows what else is wrong.
        setup.load_weights &= not report.problems
        built = ("model", "task", "loss", "optimizer", "training", "evaluation", *NETWORKS)
        check("networks", check_networks(setup), *built, "trainer", "augmentation", "normalisation")
        disk = check_disk_space(setup) if setup.is_open("task") else [Skipped(_UNBUILT)]
        check("disk", disk)
    return report


_UNBUILT = "not checked, since the size of the networks is not known"


# ---------------------------------------------------------------------- settings, surroundings


def check_settings(setup: RunSetup, invalid: Mapping[str, Hep2ganError]) -> Iterator[Finding]:
    """Yield each invalid setting, and settings that do not fit together.

    Args:
        setup: The run.
        invalid: Errors of the configuration as it was given, by dotted key.

    Yields:
        The errors; a sentence on the method where there are none.
    """
    config, trainer = setup.config, setup.config.trainer
    problems = list(invalid.values())
    if config.training.two_stage and not (config.model.segment and config.model.classify):
        problems.append(
            Hep2ganError(
                "training.two_stage=true, and the method has no "
                + ("classifier" if config.model.segment else "generator"),
                "the first stage trains the GAN, the second the classifier",
                "set training.two_stage=false, or choose method=two_stage",
            )
        )
    if config.model.guidance.source == "cross_fitted" and trainer.world_size > 1:
        problems.append(
            Hep2ganError(
                f"model.guidance.source=cross_fitted on {trainer.world_size} devices",
                "in each step one half of the generator rests, which ranks would wait for",
                "set trainer.devices=1 trainer.num_nodes=1, or another model.guidance.source",
            )
        )
    if not any(key.partition(".")[0] in ("normalisation", "augmentation") for key in invalid):
        problems += errors_from(config.augmentation.build().check, config.normalisation.bounded)
    kind, networks = config.normalisation.kind, config.model.baseline is None
    if config.target == "intensity" and networks and config.model.classify and kind != "none":
        yield Note(
            f"normalisation={kind} treats each image by itself and so hides how bright it is, which"
            " intensities are told by: normalisation=none shows it"
        )
    yield from problems
    if not problems:
        stages = " for each of two stages" if config.training.two_stage else ""
        epochs = pluralize(trainer.max_epochs, "epoch") + stages
        yield f"{config.name}, {epochs}, {trainer.precision}"


def check_folder(setup: RunSetup) -> Iterator[Finding]:
    """Check that the run's folder can be written, is not in use and holds this run or none.

    Args:
        setup: The run.

    Yields:
        The errors, and the state of the run.

    Raises:
        Hep2ganError: The folder holds another configuration, or its metrics.csv lacks epochs.
    """
    run, newest = setup.run, setup.checkpoint
    parent = existing_parent(run.path)
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        yield Hep2ganError(
            f"{parent} cannot be written ({error.strerror})",
            "a run keeps everything in its folder",
            "choose another place with runs=FOLDER",
        )
    # At a start the folder is in use by this process.
    if setup.dry_run and (owner := lock_owner(run.path)) is not None:
        yield locked_error(run.path, owner)
    plain = setup.config.to_plain()
    run.check_config(plain)
    done = run.done_with(plain)
    if not done:
        require_epochs(run.curves_file, TrainingPosition.of(newest).epochs)
    if run.changes_length(plain):
        yield check_extension(setup.config, run, newest)
    state = "finished" if done else f"from {newest.name}" if newest else "new"
    yield f"{run.path}: {state}"


def check_weights(setup: RunSetup) -> Iterator[Finding]:
    """Check the weights that a new run's networks begin with; nothing is downloaded.

    Args:
        setup: The run; without an open store it is not known what another run's weights fill.

    Yields:
        The weights of each network, or the error that they are missing.

    Raises:
        Hep2ganError: Nothing can be taken from the run that `init_from` names.
    """
    config, taken = setup.config, frozenset[str]()
    if config.init_from and not config.model.baseline:
        if setup.is_open("store"):
            initial = setup.initial_weights
            assert initial is not None
            taken = initial.networks
            yield from map(Note, initial.notes())
            yield initial.table()
        else:
            yield f"weights from {SourceRun.open(config.init_from).checkpoint}"
    for name in config.trained_networks:
        if name in taken:
            continue
        network = config.network(name)
        require_weights = getattr(network.load(), "require_weights", None)
        if require_weights is None:
            continue
        try:
            model = require_weights(**network.arguments)
        except Hep2ganError as error:
            yield error
        else:
            source = "ImageNet" if network.arguments.get("pretrained", True) else "from scratch"
            yield f"{name} {model}: {network.arguments.get('weights') or source}"


def check_optimizers(config: TrainConfig) -> Iterator[Finding]:
    """Check that torch accepts the settings of the optimizers and has the form asked for.

    Args:
        config: The configuration of the run.

    Yields:
        The errors.
    """
    for name in config.trained_networks:
        yield from errors_from(optimizer_factory, config, name)


def check_callbacks(config: TrainConfig) -> Iterator[Finding]:
    """Check that the callbacks of the configuration can be built.

    Args:
        config: The configuration of the run.

    Yields:
        The class of each callback.

    Raises:
        Hep2ganError: A class cannot be built, or is no Lightning callback.
    """
    yield from (type(callback).__name__ for callback in build_named_callbacks(config))


# ---------------------------------------------------------------------- data


def check_store(setup: RunSetup) -> Iterator[Finding]:
    """Check the classes and the image size of the packed cells.

    Args:
        setup: The run.

    Yields:
        The errors, and what the store holds.

    Raises:
        Hep2ganError: The store cannot be opened.
    """
    source = setup.config.source
    if setup.dry_run and source.is_generated and not Path(source.store).exists():
        yield from _masks_missing(setup, has_masks=source.masks is not False)
        yield Note(f"{source.store} does not exist yet: the first start generates its cells")
        return
    store = setup.store
    yield from _masks_missing(setup, has_masks=store.has_masks)
    if setup.config.model.classify and len(store.classes) < 2:
        yield Hep2ganError(
            f"{store.path} has the class {', '.join(store.classes)} alone",
            "a classifier needs at least 2 classes",
            "set method=segmentation, or pack cells of more classes",
        )
    packed_from = str(store.manifest.get("source", ""))
    if not source.is_generated and source.root and source.folder.name not in packed_from:
        yield Note(
            f"data.root is {source.root}, and {store.path} was packed from {packed_from}: a"
            " training reads the store alone; pack other cells into another data.name"
        )
    if store.size % 16:
        yield Hep2ganError(
            f"{store.path} holds images of {store.size} px",
            "their side must be divisible by 16",
            "pack again with another data.size",
        )
    if store.left_out:
        yield Note(
            f"{pluralize(store.left_out, 'cell')} of {store.path} without an intensity"
            f" {'is' if store.left_out == 1 else 'are'} in no part of the split"
        )
    yield from map(Note, oddity_lines(store.manifest["findings"]["oddities"]))
    yield (
        f"{store.path}: {len(store):,} cells of {store.size} px in {len(store.classes)} classes,"
        f" fingerprint {store.fingerprint[:12]}"
    )


def _masks_missing(setup: RunSetup, *, has_masks: bool) -> Iterator[Finding]:
    """Yield the error of a method that needs masks on a set without any."""
    config = setup.config
    if config.model.needs_masks and not has_masks:
        needs = "is trained to segment" if config.model.segment else "classifies with true masks"
        yield Hep2ganError(
            f"{config.source.store} has no masks, and method {config.name} {needs}",
            "masks are what it learns from",
            f"set method={WITHOUT_MASKS[0]} (or {', '.join(WITHOUT_MASKS[1:])}), or pack the set"
            " with masks: hep2gan-predict RUN FOLDER masks=only writes those of a run that"
            " segments, and hep2gan-pack data.masks=FOLDER reads them",
        )


def check_split(setup: RunSetup) -> Iterator[Finding]:
    """Check for classes that a part of the split does not have.

    Args:
        setup: The run.

    Yields:
        Errors and notes, and the sizes of the parts.

    Raises:
        Hep2ganError: The split cannot be made.
    """
    config, store = setup.config, setup.store
    counts = setup.split.counts(store)
    sizes = {part: sum(counts[part].values()) for part in PARTS}
    empty = [name for name in store.classes if not any(counts[part][name] for part in PARTS)]
    lacking = {
        part: [name for name, count in counts[part].items() if not count and name not in empty]
        for part in PARTS
        if sizes[part]
    }
    unseen = lacking.pop("train", [])
    if (patterns := store.pattern_names(np.arange(len(store)))) is not None:
        for part in filter(sizes.get, PARTS):
            absent = np.setdiff1d(patterns, patterns[getattr(setup.split, part)])
            if len(absent):
                yield Note(f"the {part} part has no cell of the pattern {', '.join(absent)}")
    if unseen and config.model.classify:
        yield Hep2ganError(
            f"the training part has no cell of {', '.join(unseen)}, other parts have",
            "a class that training never saw cannot be named",
            "choose another split, or leave the class out of the store",
        )
    if empty:
        yield Note(f"the store has no cell of {', '.join(empty)}")
    mixture = config.loss.gaussian_mixture
    if config.model.classify and empty and mixture.enabled and mixture.priors == "empirical":
        yield Hep2ganError(
            f"{', '.join(empty)} has no cells",
            "empirical priors need cells of every class",
            "set loss.gaussian_mixture.priors=uniform",
        )
    for part, missing in lacking.items():
        if missing:
            yield Note(f"the {part} part has no cell of {', '.join(missing)}")
    if not sizes["validation"]:
        yield from _unvalidated(config)
    yield ", ".join(f"{sizes[part]:,} {part}" for part in PARTS) + " cells"


def _unvalidated(config: TrainConfig) -> Iterator[Finding]:
    """Yield the error of each callback that waits for metrics of a validation part."""
    for name, component in config.callbacks.items():
        if component is not None and component.target.endswith(".EarlyStopping"):
            yield Hep2ganError(
                f"callbacks.{name} waits for the validation part, and there is none",
                "the epoch to stop at is chosen on cells that are neither trained nor tested on",
                f"set split.validation_fraction=0.1, or callbacks.{name}=null",
            )


def check_batches(setup: RunSetup) -> Iterator[Finding]:
    """Check that the devices divide the batches and that the parts fill them.

    Args:
        setup: The run; without an open split only what needs no cells is checked.

    Yields:
        The errors, and the number of batches.
    """
    settings = setup.config.trainer
    ranks, size = settings.world_size, settings.batch_size
    split = setup.split if setup.is_open("split") else None
    rows = np.arange(size) if split is None else split.train
    yield from errors_from(EpochBatchSampler, rows, size, world_size=ranks, training=True)
    if setup.config.model.segment and size // ranks == 1:
        yield Hep2ganError(
            f"trainer.batch_size is {size} for {ranks} devices",
            "the generator's batch normalisation needs 2 cells on each",
            f"set trainer.batch_size={2 * ranks} or more",
        )
    if split is None:
        return
    for part in ("validation", "test"):
        yield from errors_from(
            check_batches_per_rank,
            part,
            len(getattr(split, part)),
            settings.eval_batch_size,
            ranks,
        )
    yield f"{len(split.train) // size:,} of {size} an epoch"


def _result(check: Callable[..., Finding], *args: Any) -> Iterator[Finding]:
    """Call a check that describes or raises when its result is asked for."""
    yield check(*args)


# ---------------------------------------------------------------------- networks


def check_networks(setup: RunSetup) -> Iterator[Finding]:
    """Check that networks, losses and optimizers can be built.

    Args:
        setup: The run; without an open split they are built for two classes.

    Yields:
        The number of parameters of each network.

    Raises:
        Hep2ganError: They cannot be built.
    """
    if not setup.is_open("split"):
        # Without cells, as many classes as there must be: it shows what else is wrong.
        build_task(
            setup.config,
            classes=("a", "b"),
            size=setup.config.source.size,
            train_counts=[1, 1],
            load_weights=(),
        )
        return
    yield ", ".join(
        f"{name} {count / 1e6:.1f} M"
        for name, count in parameter_counts(setup.task.networks).items()
    )
