"""Compose configurations as the commands do."""

from copy import deepcopy
from functools import cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from hep2gan.cli.app import config_folder, resolve_config
from hep2gan.cli.local import run_settings
from hep2gan.config import parse_config


def composed(name="train", *overrides):
    """The resolved configuration of a command, as plain containers."""
    return deepcopy(_compose(name, overrides))


@cache  # Composing takes half a second, and many tests begin alike.
def _compose(name, overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return resolve_config(compose(name, list(overrides)))


def parsed(*overrides, trusted=()):
    """The typed configuration of hep2gan-train."""
    return parse_config(run_settings(composed("train", *overrides)), trusted)
