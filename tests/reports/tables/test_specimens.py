import dataclasses

import numpy as np

from hep2gan.reports.tables.classes import specimens_table
from tests.helpers.made_up_results import cells, read_csv, result, study_of

# Two specimens of class 0 and one of class 1, by class 0's probability.
SPECIMEN = np.array([4, 4, 4, 2, 2, 7, 7, 7])
LABEL = np.array([0, 0, 0, 0, 0, 1, 1, 1])
FIRST = np.array([0.9, 0.45, 0.4, 0.8, 0.7, 0.4, 0.3, 0.95])


def voting():
    odds = np.stack([FIRST, 1 - FIRST], axis=1).astype(np.float32)
    return dataclasses.replace(
        cells(range(8), [1] * 8),
        specimen=SPECIMEN,
        label=LABEL,
        probabilities=odds,
        predicted=odds.argmax(axis=1),
    )


def lines_of(*found):
    return read_csv(specimens_table(study_of(found)).to_csv())


def counts(lines):
    numbers = ("specimen", "cells", "right")
    names = ("class", "voted_by_probability", "voted_by_majority")
    return [
        (*(int(line[name]) for name in numbers), *(line[name] for name in names)) for line in lines
    ]


HOM, SPE = "Homogeneous", "Speckled"
ROWS = [(2, 2, 2, HOM, HOM, HOM), (4, 3, 1, HOM, HOM, SPE), (7, 3, 2, SPE, HOM, SPE)]


def test_mean_probability_and_majority_may_differ():
    # 4: 1.75 to 1.25 but one cell of three; 7: 1.65 to 1.35 but one cell of three.
    assert counts(lines_of(result("a", voting()))) == ROWS


def test_folds_are_one_test_set_and_seeds_stand_apart():
    whole = voting()
    found = [
        result("a,split.fold=0", whole.rows(np.arange(0, 8, 2)), folds=2, fold=0),
        result("a,split.fold=1", whole.rows(np.arange(1, 8, 2)), folds=2, fold=1),
        result("a", whole.rows(np.arange(5)), seed="1"),
        result("b", cells(range(4), [1] * 4, classify=False)),
    ]
    lines = lines_of(*found)
    assert counts(lines) == [*ROWS, *ROWS[:2]]
    assert [line["seed"] for line in lines] == ["0"] * 3 + ["1"] * 2


def test_unknown_specimens_are_left_out_and_a_number_of_two_classes_has_two_rows():
    one = voting()
    one = dataclasses.replace(one, specimen=np.array([4, 4, 4, -1, -1, 4, 4, -1]))
    assert counts(lines_of(result("a", one))) == [ROWS[1], (4, 2, 2, SPE, SPE, SPE)]
    assert specimens_table(study_of([result("a", cells([0], [1], known=False))])) is None


def test_lines_read_back():
    lines = lines_of(result("a", voting()), result("a", voting(), seed="1"))
    assert len(lines) == 6
    assert lines[4] == {
        "study": "s",
        "method": "a",
        "synthetic": "false",
        "seed": "1",
        "specimen": "4",
        "class": HOM,
        "cells": "3",
        "right": "1",
        "accuracy": str(1 / 3),
        "voted_by_probability": HOM,
        "right_by_probability": "true",
        "voted_by_majority": SPE,
        "right_by_majority": "false",
        "run_paths": "runs/s/a/seed1",
    }
