import numpy as np
import pytest

from hep2gan.data.phantom.scene import blur, expose, sample_defocus


def test_blur_is_85_parts_sharp_and_15_halo():
    point = np.zeros((81, 81), np.float32)
    point[40, 40] = 1
    for defocus in (0.0, 1.5):
        seen = blur(point, sharp=0.9, halo=4.0, defocus=defocus)
        y, x = np.mgrid[-40:41, -40:41]
        expected = sum(
            share
            * np.exp(-(y**2 + x**2) / (2 * (sigma**2 + defocus**2)))
            / (2 * np.pi * (sigma**2 + defocus**2))
            for share, sigma in ((0.85, 0.9), (0.15, 4.0))
        )
        assert seen.sum() == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(seen, expected, atol=0.02 * expected.max())


def test_blur_leaves_even_light_alone():
    np.testing.assert_allclose(
        blur(np.full((30, 20), 7, np.float32), sharp=1, halo=5, defocus=0), 7, rtol=1e-5
    )


@pytest.mark.parametrize("gain", [38.0, 58.0])
def test_noise_is_poisson_plus_read_noise_plus_rounding(gain):
    picture = expose(np.full((400, 400), 60, np.float32), gain, np.random.default_rng(0))
    assert picture.dtype == np.uint8
    assert picture.mean() == pytest.approx(60, abs=0.02)
    assert picture.var() == pytest.approx(60 / gain + 0.15**2 + 1 / 12, rel=0.03)


def test_read_noise_is_there_without_light():
    picture = expose(np.full((300, 300), 100.42, np.float32), 1e7, np.random.default_rng(0))
    # 100.42 + N(0, .15) is rounded up with the probability of exceeding 100.5.
    assert np.mean(picture == 101) == pytest.approx(0.297, abs=0.01)


def test_pixels_are_clipped_at_254():
    picture = expose(np.full((9, 9), 400, np.float32), 47, np.random.default_rng(0))
    assert (picture == 254).all()


def test_a_tenth_is_slightly_and_three_percent_badly_out_of_focus():
    rng = np.random.default_rng(0)
    drawn = np.array([sample_defocus(rng) for _ in range(20000)])
    assert np.mean(drawn > 2) == pytest.approx(0.03, abs=0.005)
    assert np.mean((drawn >= 1) & (drawn <= 2)) == pytest.approx(0.10, abs=0.01)
    assert np.mean(drawn == 0) == pytest.approx(0.87, abs=0.01)
    assert drawn.max() <= 3.5
