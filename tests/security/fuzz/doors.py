"""The doors by name, and how many inputs each is tried with."""

from importlib import import_module
from typing import NamedTuple

from tests.security.fuzz.judge import Door


class Count(NamedTuple):
    """Inputs in `make test` and in `make test-all`, and the module that makes them."""

    few: int
    many: int
    module: str


COUNTS = {
    "table": Count(150, 1100, "tables"),
    "manifest": Count(150, 1200, "tables"),
    "icpr2016": Count(100, 900, "tables"),
    "labels": Count(100, 700, "tables"),
    "png": Count(200, 2000, "images"),
    "png_sealed": Count(100, 700, "images"),
    "tiff": Count(200, 2000, "images"),
    "jpeg_bmp": Count(100, 700, "images"),
    "stack": Count(100, 700, "images"),
    "mask": Count(100, 700, "images"),
    "label_image": Count(100, 700, "images"),
    "fields": Count(100, 700, "tables"),
    "store": Count(60, 900, "store"),
    "split": Count(100, 900, "split"),
    "checkpoint": Count(100, 900, "checkpoint"),
    "checkpoint_repacked": Count(100, 900, "checkpoint"),
    "predictions": Count(100, 900, "predictions"),
    "predictions_repacked": Count(100, 900, "predictions"),
    "run": Count(60, 700, "runs"),
    "curves": Count(60, 500, "runs"),
    "trained": Count(6, 60, "trained"),
    "export": Count(60, 700, "exported"),
    "export_networks": Count(6, 60, "exported"),
    "overrides": Count(6, 80, "overrides"),
}


def door_named(name: str) -> Door:
    """The door of that name; its module is imported for its campaign alone."""
    module = import_module(f"tests.security.fuzz.{COUNTS[name].module}")
    return next(door for door in module.DOORS if door.name == name)
