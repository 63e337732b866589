"""Motifs and their co-occurrence, by hand."""

import numpy as np
import pytest

from hep2gan.models.baselines.texture import (
    MOTIF_BIN,
    SCANS,
    motif_features,
    motif_labels,
)


def grey(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 9, (height, width)).astype(np.float32)


def test_there_are_six_scans_and_21_pairs():
    assert sorted(SCANS) == [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1),
                             (0, 3, 1, 2), (0, 3, 2, 1)]  # fmt: skip
    assert MOTIF_BIN.max() + 1 == 21
    assert motif_features(grey(30, 30)).shape == (63,)


@pytest.mark.parametrize("scan", SCANS)
def test_a_window_takes_the_scan_along_which_it_rises(scan):
    window = np.empty(4, np.float32)
    window[list(scan)] = (0, 1, 2, 3)
    assert motif_labels(window.reshape(2, 2)).tolist() == [[SCANS.index(scan)]]


def test_of_equals_the_first_scan_is_taken():
    assert motif_labels(np.zeros((2, 2), np.float32)).item() == 0


def test_labels_are_those_of_a_literal_loop():
    image = grey(9, 7)
    labels = motif_labels(image)
    assert labels.shape == (8, 6)
    for y, x in np.ndindex(8, 6):
        window = image[y : y + 2, x : x + 2].ravel()
        lengths = [np.abs(np.diff(window[list(scan)])).sum() for scan in SCANS]
        assert labels[y, x] == np.argmin(lengths)


def test_counts_are_those_of_a_literal_loop():
    image = grey(11, 9)
    labels = motif_labels(image)
    height, width = labels.shape
    for number, distance in enumerate((1, 2, 4)):
        expected = np.zeros(21)
        for down, right in ((0, 1), (-1, 1), (-1, 0), (-1, -1)):
            for y, x in np.ndindex(height, width):
                v, u = y + distance * down, x + distance * right
                if 0 <= v < height and 0 <= u < width:
                    expected[MOTIF_BIN[6 * labels[y, x] + labels[v, u]]] += 1
        ours = motif_features(image)[21 * number : 21 * (number + 1)]
        np.testing.assert_allclose(ours, expected / expected.sum(), atol=1e-7)


def test_the_order_of_a_pair_does_not_count():
    for a, b in np.ndindex(6, 6):
        assert MOTIF_BIN[6 * a + b] == MOTIF_BIN[6 * b + a]
    assert len(set(MOTIF_BIN.tolist())) == 21


def test_small_images_give_zeros():
    for side in (1, 2):
        assert (motif_features(grey(side, side)) == 0).all()
