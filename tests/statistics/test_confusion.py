import numpy as np
import pytest
from sklearn import metrics

from hep2gan.statistics.classification import (
    MACRO_SCORES,
    cell_confusions,
    macro_scores,
    sum_by_group,
)


@pytest.mark.parametrize("absent", [(), (2,)])
def test_against_scikit_learn(absent):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 200)
    label = np.where(np.isin(label, absent), 0, label)
    predicted = np.where(rng.random(200) < 0.7, label, rng.integers(0, 4, 200))
    found = dict(
        zip(
            MACRO_SCORES,
            macro_scores(cell_confusions(label, predicted, 5).sum(axis=0)),
            strict=True,
        )
    )
    macro = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, predicted))
    assert found["precision"] == pytest.approx(metrics.precision_score(label, predicted, **macro))
    assert found["recall"] == pytest.approx(metrics.recall_score(label, predicted, **macro))
    assert found["f1"] == pytest.approx(metrics.f1_score(label, predicted, **macro))
    recalls = metrics.recall_score(label, predicted, average=None, labels=np.unique(label))
    assert found["mean_class_accuracy"] == pytest.approx(recalls.mean())


def test_by_hand():
    found = macro_scores(np.array([[[3, 1], [0, 4]], [[0, 0], [0, 0]]]))
    assert found[0] == pytest.approx([7 / 8, 0.9, 0.875, (6 / 7 + 8 / 9) / 2, 0.875])
    assert np.isnan(found[1]).all()


def test_sums_by_unit():
    found = sum_by_group(np.array([7, -1, 7]), np.array([[1, 2], [3, 4], [5, 6]]))
    assert found.tolist() == [[3, 4], [6, 8]]
    cells = cell_confusions(np.array([0, 1]), np.array([1, 1]), 2)
    assert cells.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]]
