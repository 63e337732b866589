import numpy as np
import pytest
from scipy.spatial.distance import cdist, directed_hausdorff

from hep2gan.errors import Hep2ganError
from hep2gan.metrics import boundary as of_boundary
from hep2gan.metrics.boundary import (
    BoundaryScores,
    boundary_scores,
    mask_outline,
    mean_boundary,
    outline_distances,
)


def square(top: int, left: int, side: int, shape=(40, 40)):
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disc(radius: float, shape=(64, 64), centre=(31.5, 31.5)):
    rows, columns = np.indices(shape)
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def blob(seed: int, shape=(24, 30)):
    """A ragged mask that touches the image's edge now and then."""
    random = np.random.default_rng(seed)
    mask = disc(random.uniform(5, 9), shape, random.uniform(6, 20, size=2))
    return mask ^ (random.random(shape) < 0.02)


def outline_by_hand(mask):
    """Points with a 4-neighbour that is background or outside."""
    inside = {tuple(p) for p in np.argwhere(mask)}
    steps = ((0, 1), (0, -1), (1, 0), (-1, 0))
    return np.array(
        [p for p in sorted(inside) if any((p[0] + i, p[1] + j) not in inside for i, j in steps)]
    )


def brute_force(predicted, truth, spacing, tolerance, percentile):
    a, b = (outline_by_hand(m) * np.asarray(spacing) for m in (predicted, truth))
    distances = cdist(a, b)
    ours, theirs = distances.min(axis=1), distances.min(axis=0)
    precision, recall = np.mean(ours <= tolerance), np.mean(theirs <= tolerance)
    f1 = 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
    return f1, max(np.percentile(ours, percentile), np.percentile(theirs, percentile))


def test_outline_of_a_square_is_its_rim():
    assert mask_outline(square(5, 5, 6)).sum() == 20
    # At the image's edge the rim stays closed.
    assert mask_outline(square(0, 0, 6)).sum() == 20
    assert mask_outline(square(0, 0, 4, shape=(4, 4))).sum() == 12


def test_equal_masks():
    assert boundary_scores(disc(12), disc(12), (64, 64)) == BoundaryScores(1.0, 0.0)


@pytest.mark.parametrize(("shift", "f1"), [(1, 1.0), (2, 1.0), (3, 42 / 76)])
def test_shifted_square(shift, f1):
    # 3 px to the right, of 76 rim pixels are more than 2 px off: the leading edge (20), and of the
    # trailing edge, inside the truth, all but the 3 pixels at either end (14).
    found = boundary_scores(square(5, 5 + shift, 20), square(5, 5, 20), (40, 40))
    assert found == pytest.approx((f1, shift))


def test_concentric_discs():
    found = boundary_scores(disc(20), disc(15), (64, 64))
    assert found.f1 == 0.0
    assert found.hd95 == pytest.approx(5, abs=0.5)
    assert boundary_scores(disc(16), disc(15), (64, 64)).f1 == 1.0


def test_is_symmetric():
    one, other = disc(14, centre=(30, 33)), square(18, 20, 25, shape=(64, 64))
    assert boundary_scores(one, other, (50, 70)) == pytest.approx(
        boundary_scores(other, one, (50, 70))
    )


def test_distances_are_in_raw_pixels():
    # 40 x 40 pixels of a crop 20 high and 80 wide: a row is 0.5 raw pixels, a column 2.
    truth = square(10, 10, 12)
    right = boundary_scores(square(10, 13, 12), truth, (20, 80))
    down = boundary_scores(square(13, 10, 12), truth, (20, 80))
    assert down.hd95 == 1.5
    assert down.f1 == 1.0
    assert 4 < right.hd95 <= 6
    assert right.f1 < 1.0


def test_tolerance_is_inclusive():
    truth, predicted = square(5, 5, 20), square(5, 8, 20)
    assert boundary_scores(predicted, truth, (40, 40), tolerance=3.0).f1 == 1.0
    assert boundary_scores(predicted, truth, (40, 40), tolerance=2.999).f1 < 1.0


def test_empty_masks():
    empty, full = np.zeros((8, 8), dtype=bool), np.ones((8, 8), dtype=bool)
    assert boundary_scores(empty, empty, (30, 40)) == BoundaryScores(1.0, 0.0)
    assert boundary_scores(empty, full, (30, 40)) == BoundaryScores(0.0, 50.0)
    assert boundary_scores(full, empty, (30, 40)) == BoundaryScores(0.0, 50.0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("percentile", [95, 100])
def test_against_brute_force(seed, percentile):
    predicted, truth = blob(seed), blob(seed + 100)
    spacing = (51 / 24, 47 / 30)
    found = boundary_scores(predicted, truth, (51, 47), percentile=percentile)
    assert found == pytest.approx(brute_force(predicted, truth, spacing, 2.0, percentile))


def test_hundredth_percentile_is_the_hausdorff_distance():
    predicted, truth = blob(1), blob(2)
    a, b = outline_by_hand(predicted), outline_by_hand(truth)
    expected = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert boundary_scores(predicted, truth, (24, 30), percentile=100).hd95 == pytest.approx(
        expected
    )


def test_takes_the_larger_directed_distance():
    # A far speck is 1 of 77 outline pixels of the prediction (below 5 %), 10 specks are 12 %.
    truth = square(5, 5, 20)
    one, many = truth.copy(), truth.copy()
    one[36, 36] = True
    many[36, 18:38:2] = True
    assert boundary_scores(one, truth, (40, 40)).hd95 == 0
    assert boundary_scores(many, truth, (40, 40)).hd95 > 10
    assert boundary_scores(truth, many, (40, 40)).hd95 > 10


def test_mean():
    truth = np.stack([square(5, 5, 20)] * 2)
    predicted = np.stack([square(5, 5, 20), square(5, 7, 20)])
    found = mean_boundary(predicted, truth, np.array([[40, 40], [80, 80]]))
    second = boundary_scores(predicted[1], truth[1], (80, 80))
    assert second.hd95 == 4.0
    assert found == pytest.approx(((1 + second.f1) / 2, 2.0))
    with pytest.raises(Hep2ganError, match="crop sizes"):
        mean_boundary(predicted, truth, np.array([[40, 40]]))


@pytest.mark.parametrize("percentile", [0, 33.3, 50, 95, 99.9, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 20, 21, 57, 300])
def test_percentiles_have_the_bits_of_numpy(count, percentile):
    for values in np.random.default_rng(count).gamma(1.0, 3.0, (60, count)):
        found = of_boundary._percentile(values, percentile)
        assert found == float(np.percentile(values, percentile))


@pytest.mark.parametrize("seed", range(20))
def test_pairs_and_distance_transforms_give_the_same_bits(seed, monkeypatch):
    one, other, spacing = blob(seed), blob(seed + 100), (1.03, 0.77)
    by_pairs = outline_distances(one, other, spacing)
    monkeypatch.setattr(of_boundary, "_FEW_PAIRS", 0)
    by_transforms = outline_distances(one, other, spacing)
    for mine, due in zip(by_pairs, by_transforms, strict=True):
        assert np.array_equal(mine, due)
