import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.statistics.classification import majority_votes


def test_by_hand():
    specimen = np.array([9, 4, 9, 9, 4, 6, 6])
    label = np.array([1, 0, 1, 1, 0, 1, 1])
    first = np.array([0.55, 0.6, 0.55, 0.1, 0.7, 0.9, 0.2])
    found = majority_votes(specimen, label, np.stack([first, 1 - first], axis=1))
    assert found.specimen.tolist() == [4, 6, 9]
    assert found.label.tolist() == [0, 1, 1]
    # Means of the first class: 0.65, 0.55 and 0.4; cells for it: 2 of 2, 1 of 2, 2 of 3.
    assert found.by_probability.tolist() == [0, 0, 1]
    assert found.by_majority.tolist() == [0, 0, 0]


def test_a_draw_goes_to_the_more_probable():
    first = np.array([0.9, 0.45])
    for probabilities, winner in ((first, 0), (first - 0.4, 1)):
        pair = np.stack([probabilities, 1 - probabilities], axis=1)
        found = majority_votes(np.array([0, 0]), np.array([1, 1]), pair)
        assert found.by_majority.tolist() == [winner]


def test_refuses():
    even = np.full((2, 2), 0.5)
    with pytest.raises(Hep2ganError, match="unknown"):
        majority_votes(np.array([-1, 0]), np.array([0, 0]), even)
    with pytest.raises(Hep2ganError, match="several classes"):
        majority_votes(np.array([3, 3]), np.array([0, 1]), even)
