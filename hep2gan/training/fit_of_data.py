"""Do the data fit the configuration: classes, parts, batches."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hep2gan.data.sampler import EpochBatches
from hep2gan.data.split_files import PARTS, Split
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.training.checklist import Finding, Note
from hep2gan.training.datamodule import require_shares


def of_store(store: Store, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Classes and image size."""
    if config["classify"] and len(store.classes) < 2:
        yield Hep2ganError(
            f"{store.path} has the class {', '.join(store.classes)} alone",
            "a classifier needs at least 2 classes",
            "set method=segmentation, or pack cells of more classes",
        )
    if store.size % 16:
        yield Hep2ganError(
            f"{store.path} holds images of {store.size} px",
            "their side must be divisible by 16",
            "pack again with another data.size",
        )
    yield (
        f"{store.path}: {len(store):,} cells of {store.size} px in {len(store.classes)} classes,"
        f" fingerprint {store.fingerprint[:12]}"
    )


def of_split(store: Store, split: Split, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Classes that a part does not have."""
    counts = split.counts(store)
    sizes = {part: sum(counts[part].values()) for part in PARTS}
    absent = {
        part: [name for name, count in counts[part].items() if not count]
        for part in PARTS
        if sizes[part]
    }
    unseen = [c for c in absent.get("train", []) if any(counts[part][c] for part in PARTS)]
    if unseen and config["classify"]:
        yield Hep2ganError(
            f"the training part has no cell of {', '.join(unseen)}, other parts have",
            "a class that training never saw cannot be named",
            "choose another split, or leave the class out of the store",
        )
    empty = [c for c in store.classes if not any(counts[part][c] for part in PARTS)]
    if empty:
        yield Note(f"the store has no cell of {', '.join(empty)}")
    priors = config["loss"]["gaussian_mixture"]
    if config["classify"] and empty and priors["enabled"] and priors["priors"] == "empirical":
        yield Hep2ganError(
            f"{', '.join(empty)} has no cells",
            "empirical priors need cells of every class",
            "set loss.gaussian_mixture.priors=uniform",
        )
    for part in ("validation", "test"):
        if lacking := [c for c in absent.get(part, []) if c not in empty]:
            yield Note(f"the {part} part has no cell of {', '.join(lacking)}")
    yield ", ".join(f"{sizes[part]:,} {part}" for part in PARTS) + " cells"


def of_batches(split: Split | None, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Batches that the devices divide and the parts fill; without a split, what needs no cells."""
    settings = config["trainer"]
    world, size = settings["devices"] * settings["nodes"], settings["batch_size"]
    rows = np.arange(size) if split is None else split.train
    try:
        EpochBatches(rows, size, world=world, training=True)
    except Hep2ganError as error:
        yield error
    if config["segment"] and size // world == 1:
        yield Hep2ganError(
            f"trainer.batch_size is {size} for {world} devices",
            "the generator's batch normalisation needs 2 cells on each",
            f"set trainer.batch_size={2 * world} or more",
        )
    if split is None:
        return
    for part, cells in (("validation", split.validation), ("test", split.test)):
        try:
            require_shares(part, len(cells), settings["eval_batch_size"], world)
        except Hep2ganError as error:
            yield error
    yield f"{len(split.train) // size:,} of {size} an epoch"
