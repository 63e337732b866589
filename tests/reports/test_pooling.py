import dataclasses

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.results import pool
from hep2gan.runs.predictions import Predictions


def rows(predictions, chosen):
    """Predictions of some of the cells."""
    arrays = {
        field.name: getattr(predictions, field.name)[chosen]
        for field in dataclasses.fields(Predictions)
        if field.name not in ("classes", "mean_mask", "train_counts")
        and getattr(predictions, field.name) is not None
    }
    return dataclasses.replace(predictions, **arrays)


def test_folds_become_one_test_set_and_each_cell_is_there_once(predictions):
    first, second = rows(predictions, slice(0, 40)), rows(predictions, slice(30, 62))
    second = dataclasses.replace(second, mask=255 - second.mask)
    found = pool([first, second])
    found.check()
    assert found.id.tolist() == predictions.id.tolist()
    np.testing.assert_array_equal(found.mask[:40], predictions.mask[:40])
    np.testing.assert_array_equal(found.mask[40:], 255 - predictions.mask[40:])
    np.testing.assert_array_equal(found.probabilities, predictions.probabilities)


def test_what_belongs_to_one_training_is_not_joined(predictions):
    found = pool([rows(predictions, slice(0, 40)), rows(predictions, slice(40, 62))])
    assert found.features is found.mean_mask is found.train_counts is None
    assert pool([predictions]) is predictions


def test_what_one_fold_lacks_none_has(predictions):
    bare = dataclasses.replace(rows(predictions, slice(40, 62)), mask=None)
    assert pool([rows(predictions, slice(0, 40)), bare]).mask is None


def test_other_classes_or_sizes_are_refused(predictions):
    other = dataclasses.replace(predictions, classes=tuple("abcdef"))
    with pytest.raises(Hep2ganError, match="classes or image size"):
        pool([predictions, other])
    smaller = dataclasses.replace(predictions, image=predictions.image[:, :32, :32])
    with pytest.raises(Hep2ganError, match="classes or image size"):
        pool([predictions, smaller])
