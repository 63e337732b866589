"""Test parts of one method as one set of predictions."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from hep2gan.errors import Hep2ganError
from hep2gan.runs.predictions import Predictions

_OF_ONE_TRAINING = ("features", "mean_mask", "train_counts")
"""What cannot be joined: each network has features of its own, each training part its own cells."""


def pooled_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Join the folds of a seed, each id once, as the first part has it; one part stays as it is.

    What only makes sense for one training (features, mean mask, counts) is None then. Raises
    Hep2ganError where classes or image sizes differ.
    """
    if len(parts) == 1:
        return parts[0]
    if len({(part.classes, part.image.shape[1:]) for part in parts}) > 1:
        raise Hep2ganError(
            "folds of one method differ in classes or image size", "", "report them apart"
        )
    ids = np.concatenate([part.id for part in parts])
    rows = np.sort(np.unique(ids, return_index=True)[1])
    arrays: dict[str, Any] = {}
    for field in fields(Predictions):
        found = [getattr(part, field.name) for part in parts]
        if field.name == "classes":
            arrays["classes"] = found[0]
        elif field.name in _OF_ONE_TRAINING or any(array is None for array in found):
            arrays[field.name] = None
        else:
            arrays[field.name] = np.concatenate(found)[rows]
    return Predictions(**arrays)
