"""The keys of each command beside hep2gan-train; those of a training are in `hep2gan.config`.

Imported when a command runs, not when it prints its help.
"""

import re
from typing import Annotated, Literal

from pydantic import Field

from hep2gan.data.readers.source import Channel
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Component, Name, PositiveInt, Settings, Text, Texts

Accelerator = Literal["auto", "cpu", "gpu"]


class StartOptions(Settings):
    """Options of one start of hep2gan-train that are no part of the run."""

    trusted: Texts = Field(default_factory=list, examples=[["mylab.nets"]])
    """Packages of your own whose classes a configuration may name."""
    doctor: bool = False
    """Check everything that a start needs, and start nothing."""
    fast_dev_run: bool | PositiveInt = False
    """Go the whole way with one batch (or so many) of each part, and keep nothing."""


class PackSettings(Settings):
    """hep2gan-pack."""

    stores: Text = "stores"
    """Folder of packed stores."""
    data: Component
    """Which cells, and how they are packed."""
    workers: Annotated[int, Field(ge=1, examples=[2])] | None = None
    """Processes; null: one per core."""
    trusted: Texts = Field(default_factory=list, examples=[["mylab.data"]])
    """Packages of your own whose classes a configuration may name."""


class RunSettings(Settings):
    """A trained run and its weights."""

    run: Text = Field(examples=["runs/default/proposed/seed0"])
    """Run folder."""
    checkpoint: Text | None = None
    """A checkpoint file; null: what the run's rule chose."""
    trusted: Texts = Field(default_factory=list, examples=[["mylab.nets"]])
    """Packages of your own whose classes the run's configuration may name."""


class EvaluateSettings(RunSettings):
    """hep2gan-evaluate."""

    store: Text | None = None
    """A packed store; null: that of the training."""
    accelerator: Accelerator = "auto"
    """`auto`: the first GPU, or the CPU where there is none."""
    batch_size: PositiveInt = 64
    """Cells at once."""
    figures: bool = True
    """Plot the figures of the run."""
    data: Component | None = None
    """Another labelled set to test on, as for hep2gan-pack; null: the run's own test cells."""
    test_name: Text | None = Field(default=None, alias="as", examples=["lab2"])
    """Name of the test on that set, whose results go to RUN/external/NAME."""
    classes: dict[str, Name] | None = None
    """Classes of that set whose names do not match, with the run's classes that they are."""
    cells: Component | None = None
    """What finds the cells of that set's fields, to be held against the true ones; null: only the
    true cells are tested."""
    stores: Text = "stores"
    """Folder of packed stores."""
    workers: Annotated[int, Field(ge=1, examples=[2])] | None = None
    """Processes that pack that set; null: one per core."""

    def conflict(self) -> Hep2ganError | None:
        """Check that another set and the name of its test are given together, or neither.

        Returns:
            What is wrong, or None.
        """
        if self.data and not self.test_name:
            return Hep2ganError(
                "data is given, as is not", "a test on another set has a name", "add as=NAME"
            )
        of_a_set = {"as": self.test_name, "classes": self.classes, "cells": self.cells}
        if not self.data and (given := [name for name, value in of_a_set.items() if value]):
            kind = "fields" if given == ["cells"] else "manifest"
            return Hep2ganError(
                f"{given[0]} is given, data is not",
                "it is about a test on another labelled set",
                f"add data={kind} data.root=FOLDER, or leave it out",
            )
        if self.test_name and not re.fullmatch(r"[^\W_](?:[\w.+-]*[\w+-])?", self.test_name):
            return Hep2ganError(
                f"as is {self.test_name!r}",
                "it names a folder: letters, digits and _ . + - after a first letter or digit",
                "choose another, e.g. as=lab2",
            )
        return None


class PredictSettings(RunSettings):
    """hep2gan-predict; `run` may be what hep2gan-export wrote."""

    inputs: Texts | Text = Field(examples=["FOLDER"])
    """Image files and folders."""
    output: Text = "predictions"
    """Folder for masks, overlays and tables."""
    accelerator: Accelerator = "auto"
    """`auto`: the first GPU, or the CPU where there is none."""
    batch_size: PositiveInt = 64
    """Images at once."""
    white_level: Annotated[int, Field(ge=1, examples=[4095])] | None = None
    """Grey level that is white in files of more than 8 bits; null: as in the training."""
    channel: Channel = None
    """Number or name of the channel that shows the stain; null: as in the training."""
    plane: Annotated[int, Field(ge=0)] | None = None
    """Number of the plane; null: as in the training."""
    calibrated: bool = True
    """Scale the probabilities by the temperature that the run's test found; the most probable class
    stays."""
    overlays: bool = True
    """Write each image with the outline of its mask."""
    masks: bool | Literal["only"] = True
    """Write the masks; `only`: nothing else, as NAME_Mask.png, which data.masks of hep2gan-pack
    reads, and of a field as NAME_labels.png, which data=fields reads."""
    input: Literal["auto", "crop", "field"] = "auto"
    """What an image shows: one cell, or a field of many; `auto` tells them by their sizes."""
    cells: Component | None = None
    """What finds the cells of a field without a label image."""
    labels: Text | None = Field(default=None, examples=["*_cp_masks"])
    """Names of the label images beside the fields; null: NAME_labels, NAME_mask and the like."""
    specimens: Text | None = Field(default=None, examples=["specimens.csv"])
    """A table headed image,specimen; null: fields NAME_p0, NAME_p1, … are of the specimen NAME."""


class ExportSettings(RunSettings):
    """hep2gan-export."""

    output: Text | None = None
    """Folder of the graph and its model card; null: RUN/export."""
    store: Text | None = None
    """Cells to check the graph with; null: the store of the training."""


class ReportSettings(Settings):
    """hep2gan-report."""

    runs: Texts | Text = Field(examples=["runs/default/proposed/seed0"])
    """Run folders; of another folder, such as a study's, the finished runs in it."""
    output: Text = "report/report.html"
    """The page, or a folder for report.html."""
    files: bool = True
    """Write tables and figures beside the page."""
    tables: Texts = Field(default_factory=list, examples=[["mylab.tables"]])
    """Modules of your own whose tables are added."""
    title: Name | None = None
    """The heading; null: the run, or how many there are."""
    reference: Name | None = None
    """The method that each other is compared with; null: the row below."""
    question: Name | None = None
    """What the runs were to answer, in one sentence."""
