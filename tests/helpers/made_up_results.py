"""Results made up cell by cell, for tests of tables."""

import csv
import io
from pathlib import Path

import numpy as np

from hep2gan.reports.results import RunResult, TestCells
from hep2gan.reports.study import Study
from hep2gan.runs.finished import FinishedRun

CLASSES = ("Homogeneous", "Speckled")


def cells(ids, right, *, per_specimen=5, dice=None, classify=True, known=True):
    """Cells of two classes, alternating by specimen; `right` says which are named right."""
    ids, right = np.asarray(ids), np.asarray(right, bool)
    specimen = ids // per_specimen
    label = specimen % 2
    predicted = np.where(right, label, 1 - label)
    odds = np.where(np.eye(2, dtype=bool)[predicted], 0.8, 0.2).astype(np.float32)
    return TestCells(
        classes=CLASSES,
        id=np.array([f"{one:05d}" for one in ids]),
        specimen=specimen if known else np.full(len(ids), -1),
        label=label,
        crop_size=np.stack([60 + ids % 7, 70 + ids % 5], axis=1),
        probabilities=odds if classify else None,
        predicted=predicted if classify else None,
        dice=None if dice is None else np.asarray(dice, float),
        jaccard=None if dice is None else np.asarray(dice) / (2 - np.asarray(dice)),
    )


def result(
    name, tested, *, seed="0", study="s", data="icpr2016", metrics=None, fingerprint="", **split
):
    """A result of a run that has no folder."""
    run = FinishedRun(
        path=Path(f"runs/{study}/{name}/seed{seed}"),
        study=study,
        method=name,
        seed=seed,
        config={
            "data": {"_target_": f"hep2gan.data.{data}.Source"},
            "split": {"kind": "random", "folds": None, **split},
        },
        config_text="",
        metrics=metrics or {},
        split={"settings": {"fingerprint": fingerprint}},
    )
    return RunResult(run, tested)


def study_of(results, reference=""):
    """Results as what tables are made from."""
    return Study(tuple(results), {}, reference)


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def read_markdown(text):
    """Rows of all pipe tables, fields without emphasis."""
    lines = [line for line in text.splitlines() if line.startswith("|") and ":--" not in line]
    return [[field.strip(" `*") for field in line.strip("|").split(" | ")] for line in lines]
