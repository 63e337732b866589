import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from hep2gan.reports.figures.specimens import plot_specimens
from hep2gan.statistics.classification import SpecimenResult, specimen_results


@pytest.fixture
def few(predictions):
    """Specimen 7: 3 of 4 right; 8: 1 of 3, voted 1; 9: of class 1, all right; the rest unknown."""
    label = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1] + [1] * 53)
    guess = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1] + [0] * 53)
    specimen = np.array([7, 7, 7, 7, 8, 8, 8, 9, 9] + [-1] * 53)
    probability = np.full((62, 6), 0.02, np.float32)
    probability[np.arange(62), guess] = 0.9
    return dataclasses.replace(
        predictions, label=label, specimen=specimen, probabilities=probability
    )


def results(one):
    return specimen_results(one.specimen, one.label, one.probabilities)


def test_rows_by_hand(few):
    rows = results(few)
    assert [row.accuracy for row in rows] == [0.75, 1 / 3, 1.0]
    assert rows == [
        SpecimenResult(7, 0, 4, 3, 0, 0),
        SpecimenResult(8, 0, 3, 1, 1, 1),
        SpecimenResult(9, 1, 2, 2, 1, 1),
    ]


def test_an_even_vote_goes_to_the_surer_class(few):
    label, specimen = np.zeros(62, np.int64), np.full(62, -1)
    specimen[:2] = 1
    probability = few.probabilities.copy()
    probability[:2] = 0
    probability[0, [2, 4]] = 0.6, 0.4
    probability[1, [4, 0]] = 0.9, 0.1
    even = dataclasses.replace(few, label=label, specimen=specimen, probabilities=probability)
    assert results(even)[0].by_majority == 4
    specimen[2] = 1
    probability[[0, 2]] = 0
    probability[[0, 2], 2], probability[[0, 2], 4] = 0.55, 0.45
    assert results(even)[0].by_majority == 2  # two votes to one, though 4 is the surer


def test_dots_rise_within_their_class(few):
    figure = plot_specimens(few)
    ax = figure.axes[0]
    dots = {one.get_label(): np.asarray(one.get_offsets()) for one in ax.collections[1::3]}
    np.testing.assert_allclose(dots["Hom"], [[0, 100 / 3], [1, 75]])
    np.testing.assert_allclose(dots["Spe"], [[3, 100]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["8", "7", "9"]
    areas = ax.collections[1].get_sizes()
    assert areas[1] > areas[0]


def test_bars_mark_the_class_and_rings_wrong_votes(few):
    ax = plot_specimens(few).axes[0]
    bars = [one.get_paths()[0].vertices[:, 1] for one in ax.collections[0::3]]
    np.testing.assert_allclose(bars, [[400 / 7, 400 / 7], [100, 100]])
    rings = [np.asarray(one.get_offsets()) for one in ax.collections[2::3]]
    np.testing.assert_allclose(rings[0], [[0, 100 / 3]])
    assert len(rings[1]) == 0


def test_the_key_names_classes_votes_and_sizes(few):
    texts = [text.get_text() for text in plot_specimens(few).legends[0].get_texts()]
    assert texts == ["Hom", "Spe", "wrong vote", "2 cells", "4 cells"]


def test_many_specimens_keep_to_the_page(predictions):
    figure = plot_specimens(dataclasses.replace(predictions, specimen=np.arange(62)))
    assert figure.get_figwidth() == pytest.approx(7.16)
    assert not figure.axes[0].get_xticklabels()
    thirty = plot_specimens(dataclasses.replace(predictions, specimen=np.arange(62) // 2))
    thirty.draw_without_rendering()
    boxes = [t.get_window_extent() for t in thirty.axes[0].get_xticklabels()]
    assert len(boxes) == 31
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_unknown_specimens_and_no_classifier_give_nothing(predictions):
    assert results(predictions) == []
    assert plot_specimens(predictions) is None
    unread = dataclasses.replace(predictions, probabilities=None)
    assert plot_specimens(unread) is None


def test_the_key_of_long_names_stays_in_the_figure(predictions):
    ends = ("256_large", "256_medium", "256_small", "360", "512", "520")
    figure = plot_specimens(
        dataclasses.replace(
            predictions,
            classes=tuple(f"plate_{end}" for end in ends),
            specimen=np.arange(62),
        )
    )
    figure.draw_without_rendering()
    key = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= key.x0 < key.x1 <= figure.bbox.x1
