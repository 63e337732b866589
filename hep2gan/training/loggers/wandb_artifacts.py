"""The data that a run uses and the weights that it makes, as wandb's artifacts."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

import wandb

from hep2gan.training.loggers.identity import MAX_NAME
from hep2gan.training.loggers.weights import LoggedWeights

log = logging.getLogger(__name__)


def use_data(run: Any, data: Mapping[str, Any]) -> None:
    """Make a run use the artifact of its data: a description with the fingerprint, no cells.

    `use_artifact` refuses a run that is offline; what it calls does not, and the server links both
    when the run is synchronised.

    Args:
        run: The wandb run.
        data: What the provenance has of the data: name, fingerprint, size, cells, classes, target.
    """
    if run.disabled:
        return
    fingerprint = str(data["fingerprint"])
    name = artifact_name("data", str(data.get("name") or "cells"), fingerprint[:12])
    artifact = wandb.Artifact(name, type="dataset", metadata=dict(data))
    artifact.description = "A packed store, known by its fingerprint. No cells are kept here."
    with artifact.new_file("store.json", encoding="utf-8") as file:
        json.dump(dict(data), file, indent=1, sort_keys=True)
    run._log_artifact(artifact, is_user_created=True, use_after_commit=True)


def model_artifact(weights: LoggedWeights) -> Any:
    """Make an artifact of weights: a folder that hep2gan-predict takes.

    Args:
        weights: The weights.

    Returns:
        The artifact, not logged yet; its digest is that of its files.
    """
    made = weights.metadata
    parts = (str(made.get(key)) for key in ("study", "name"))
    name = artifact_name(*parts, f"seed{made.get('seed')}")
    artifact = wandb.Artifact(name, type="model", metadata=dict(made))
    artifact.description = "Download it and run: hep2gan-predict FOLDER IMAGES"
    # Of weights, a home folder needs no copy in wandb's cache.
    artifact.add_dir(str(weights.folder), skip_cache=True)
    return artifact


def artifact_name(*parts: str) -> str:
    """Join words to a name that wandb accepts.

    Args:
        parts: Any texts.

    Returns:
        Letters, digits, dots, dashes and underscores; at most 128.

    >>> artifact_name("default", "proposed,loss.beta=5", "seed0")
    'default-proposed-loss.beta-5-seed0'
    """
    *first, last = (re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts)
    return f"{'-'.join(first)[: MAX_NAME - len(last) - 1]}-{last}"


def link_to_registry(run: Any, artifact: Any, target: str) -> None:
    """Link the chosen weights to a collection of wandb's registry; offline, say what remains.

    Args:
        run: The wandb run.
        artifact: The logged artifact.
        target: REGISTRY/COLLECTION.
    """
    if run.offline:
        log.info(
            "Weights are linked to %s online only: after `wandb sync`, open the artifact %s and"
            " link it there.",
            *(target, artifact.name.partition(":")[0]),
        )
        return
    try:
        run.link_artifact(artifact, target)
    # Whatever the server says: the weights are logged, and the run is finished.
    except Exception as error:
        log.warning("The weights were not linked to %s (%s). They are logged.", target, error)
