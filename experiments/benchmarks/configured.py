"""Configurations and splits that benchmarks train on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir

from hep2gan.cli.app import config_folder, resolve_config
from hep2gan.data.splits import Split


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that `hep2gan-train` has of these overrides."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve_config(compose("train", list(overrides)))


def repeated(split: Split, cells: int) -> Split:
    """The same with so many cells for training, which come again and again, and no validation."""
    nothing = np.empty(0, np.int64)
    return Split(np.resize(split.train, cells), nothing, split.test, split.settings)
