"""Cells of another set in the classes of a run: partners by name, cells that were in training."""

from dataclasses import replace

import numpy as np
import pytest

from hep2gan.data.external import external_set, match_classes
from hep2gan.errors import Hep2ganError
from tests.helpers.made_store import made_store

OURS = ("Homogeneous", "Speckled", "Golgi")


def test_classes_match_by_name_code_and_spelling():
    theirs = ("AC-1", "speckled", "Golgi apparatus", "Rods")
    assert match_classes(OURS, theirs) == {
        "AC-1": "Homogeneous", "speckled": "Speckled", "Golgi apparatus": "Golgi",
    }  # fmt: skip
    assert match_classes(OURS, ("AC-4", "AC-5")) == {"AC-4": "Speckled", "AC-5": "Speckled"}


def test_what_is_given_counts_before_names():
    theirs = ("fine speckled", "coarse speckled", "Homogeneous")
    assert match_classes(OURS, theirs) == {"Homogeneous": "Homogeneous"}
    given = {"fine speckled": "Speckled", "coarse speckled": "Speckled", "Homogeneous": "Golgi"}
    assert match_classes(OURS, theirs, given) == given


def test_the_same_name_counts_before_another_spelling_and_two_spellings_are_no_partner():
    ours = ("AC-4", "AC-5", "Golgi")
    assert match_classes(ours, ("AC-5", "Speckled", "golgi")) == {"AC-5": "AC-5", "golgi": "Golgi"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"no class of the set \(a, b\) is one of the run.*'classes=\{a: Homogeneous\}'"),
        ({"c": "Golgi"}, r"names 'c', which is no class of the set.*it has a, b"),
        ({"a": "golgi"}, r"names 'golgi', which is no class of the run.*Homogeneous, Sp"),
    ],
)
def test_names_that_are_no_classes(given, message):
    with pytest.raises(Hep2ganError, match=message):
        match_classes(OURS, ("a", "b"), given)


def test_labels_become_the_runs_and_classes_without_partner_are_left_out():
    store = made_store([0, 1, 2, 2, 0], classes=("golgi", "Rods", "AC-1"))
    found = external_set(store, OURS)
    assert found.store.classes == OURS
    assert found.store.label.tolist() == [2, -1, 0, 0, 2]
    assert found.rows.tolist() == [0, 2, 3, 4]
    assert found.left_out == {"Rods": 1}
    assert found.absent == ("Speckled",)
    assert found.identical is None
    text = "\n".join(found.lines())
    assert "tested on 4 of 5 cells" in text
    assert "golgi as Golgi, AC-1 as Homogeneous" in text
    assert "left out: 1 cell of Rods, which is no class of the run" in text
    assert "not in this set: Speckled" in text


def test_images_that_were_in_training_are_left_out_whatever_their_mask():
    own = made_store([0, 1, 2, 0], classes=OURS, seed=1)
    store = made_store([0, 1, 2], classes=OURS, seed=2)
    # Cell 1 of the set is cell 3 of the run, outlined anew; cell 2 is one that the run tests on;
    # cell 3 has the pixels of a training cell, stretched from another crop.
    image = np.array(store.image)
    image[0], image[1], image[2] = own.image[2], own.image[3], own.image[0]
    size = np.array(store.crop_size)
    size[2] += 1
    store = replace(store, image=image, crop_size=size)
    found = external_set(store, OURS, training=(own, np.array([0, 1, 2])))
    assert found.identical == (("00001", "00003"),)
    assert found.rows.tolist() == [1, 2]
    assert "1 cell whose image was in training (e.g. 00001 = 00003)" in "\n".join(found.lines())
    assert external_set(store, OURS).rows.tolist() == [0, 1, 2]


def test_a_set_of_which_all_was_in_training_is_refused():
    own = made_store([0, 1, 2], classes=OURS)
    with pytest.raises(Hep2ganError, match="no cell of made is left to test on"):
        external_set(own, OURS, training=(own, np.arange(3)))
