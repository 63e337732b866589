import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import pdist

from hep2gan.data.phantom.nucleus import Nucleus, sample_outline
from hep2gan.data.phantom.texture import (
    blobs,
    lognormal,
    nucleoli_holes,
    random_field,
    sample_spaced_points,
)


@pytest.fixture
def nucleus():
    return Nucleus(sample_outline(np.random.default_rng(2)), (45, 45), (91, 91))


@pytest.mark.parametrize("scale", [0.8, 2.0, 3.5, 6.0])
def test_random_field_has_unit_sd_and_its_scale(scale):
    rng = np.random.default_rng(0)
    fields = np.stack([random_field(rng, (90, 80), scale) for _ in range(20)])
    assert fields.shape == (20, 90, 80)
    assert fields.mean() == pytest.approx(0, abs=0.05)
    assert fields.std() == pytest.approx(1, abs=0.1)
    # White noise under a Gaussian of sigma s is correlated by exp(-d²/4s²) at distance d.
    lag = max(1, round(scale))
    for pair in ((fields[:, lag:], fields[:, :-lag]), (fields[:, :, lag:], fields[:, :, :-lag])):
        correlation = np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]
        assert correlation == pytest.approx(np.exp(-(lag**2) / (4 * scale**2)), abs=0.1)


def test_blobs_by_hand():
    centre = np.array([[3.0, 4.0], [6.5, 2.25]])
    sigma, height = np.array([1.0, 2.0]), np.array([5.0, 3.0])
    y, x = np.mgrid[:9, :7]
    expected = 5 * np.exp(-((y - 3) ** 2 + (x - 4) ** 2) / 2)
    expected = expected + 3 * np.exp(-((y - 6.5) ** 2 + (x - 2.25) ** 2) / 8)
    np.testing.assert_allclose(blobs((9, 7), centre, sigma, height), expected, atol=1e-5)


def test_points_keep_apart(nucleus):
    rng = np.random.default_rng(0)
    for count, apart in ((6, 8.0), (55, 1.8), (55, 3.0)):
        points = sample_spaced_points(rng, nucleus, count, rho=0.88, apart=apart)
        assert pdist(points).min() >= apart
        assert 0.8 * count <= len(points) <= count
    assert len(sample_spaced_points(rng, nucleus, 6, rho=0.5, apart=500)) == 1


def test_lognormal_has_its_median_and_spread():
    rng = np.random.default_rng(0)
    sampled = np.array([lognormal(rng, 3.0, 0.8) for _ in range(4000)])
    assert np.median(sampled) == pytest.approx(3.0, rel=0.05)
    assert np.log(sampled).std() == pytest.approx(0.8, rel=0.05)


def test_holes_are_one_to_four_and_as_deep_as_told(nucleus):
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(30):
        factor = nucleoli_holes(rng, nucleus, (0.35, 0.9))
        assert 0.1 - 1e-6 <= factor.min() <= 0.7  # even the shallowest hole is seen
        assert factor.max() == pytest.approx(1, abs=0.01)
        counts.append(ndimage.label((factor < 0.8) & nucleus.mask)[1])
    assert min(counts) >= 1
    assert 2 <= max(counts) <= 4
