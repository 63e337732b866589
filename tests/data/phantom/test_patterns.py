"""Each pattern is held to what makes it that pattern, before noise and optics."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hep2gan.data.phantom.nucleus import Nucleus, sample_outline
from hep2gan.data.phantom.patterns import (
    Centromere,
    Golgi,
    Homogeneous,
    NuclearMembrane,
    Nucleolar,
    Speckled,
    haze,
)

STAINS = (Homogeneous, Speckled, Nucleolar, Centromere, NuclearMembrane, Golgi)
RANGES = {
    Homogeneous: {"power": (0.25, 0.55), "mottle": (0.02, 0.10), "scale": (2, 4)},
    Speckled: {"power": (0.25, 0.55), "contrast": (0.08, 0.45), "scale": (0.8, 2.2)},
    Nucleolar: {"power": (0.25, 0.55), "base": (0.1, 0.9)},
    Centromere: {"base": (0.15, 0.7), "apart": (1.8, 3.0), "sigma": (0.8, 1.15)},
    NuclearMembrane: {
        **{"body": (0.6, 0.9), "ring": (0.2, 0.8), "inset": (0, 1.5), "width": (1.0, 2.2)},
        **{"cytoplasm": (0.3, 0.7), "reach": (6, 14)},
    },
    Golgi: {"body": (0.5, 1.0), "cytoplasm": (0.7, 1.0)},
}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def nucleus():
    return Nucleus(sample_outline(np.random.default_rng(5)), (50.2, 49.7), (101, 101))


def peaks(stain, where, rise=0.3):
    """Number of local maxima of `stain` in `where` that stand clear of the median there."""
    top = (stain == ndimage.maximum_filter(stain, 3)) & where
    return int((top & (stain > np.median(stain[where]) + rise * np.ptp(stain[where]))).sum())


@pytest.mark.parametrize("stain", STAINS)
def test_specimens_keep_to_the_recipe_and_use_all_of_it(stain, rng):
    sampled = [stain.sample(rng) for _ in range(400)]
    for name, (low, high) in RANGES[stain].items():
        values = np.array([getattr(one, name) for one in sampled])
        width = high - low
        assert low <= values.min() < low + 0.05 * width
        assert high - 0.05 * width < values.max() <= high


@pytest.mark.parametrize("stain", STAINS)
def test_stains_are_light(stain, nucleus, rng):
    for _ in range(20):
        rendered = stain.sample(rng).render(nucleus, rng)
        assert rendered.shape == nucleus.shape
        assert rendered.dtype == np.float32
        assert np.isfinite(rendered).all()
        assert rendered.min() >= -1e-6
        assert rendered[nucleus.mask].mean() > 0.02


def test_homogeneous_is_a_mottled_dome(nucleus, rng):
    body = nucleus.rho < 0.9
    for mottle in (0.02, 0.10):
        stain = Homogeneous(power=0.4, mottle=mottle, scale=3.0, cytoplasm=0.1)
        ratio = [stain.render(nucleus, rng)[body] / nucleus.dome(0.4)[body] for _ in range(40)]
        smooth = [one for one in ratio if one.min() > 1 - 4.5 * 1.4 * mottle]
        assert np.median([one.std() for one in smooth]) == pytest.approx(mottle, rel=0.4)
        assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_half_the_homogeneous_cells_show_nucleoli(nucleus, rng):
    stain = Homogeneous(power=0.4, mottle=1e-6, scale=3.0, cytoplasm=0.0)
    body = nucleus.rho < 0.9
    shown = [
        (stain.render(nucleus, rng)[body] / nucleus.dome(0.4)[body]).min() < 0.99
        for _ in range(200)
    ]
    assert np.mean(shown) == pytest.approx(0.5, abs=0.1)


def test_homogeneous_cytoplasm_is_faint(nucleus, rng):
    stain = Homogeneous(power=0.4, mottle=0.05, scale=3.0, cytoplasm=0.15)
    rendered = stain.render(nucleus, rng)
    assert rendered[~nucleus.mask].max() <= 0.15 + 1e-6
    assert rendered[nucleus.depth < -25].max() < 0.001


@pytest.mark.parametrize(("contrast", "scale"), [(0.12, 1.0), (0.35, 1.8)])
def test_speckles_have_their_contrast_and_grain(nucleus, rng, monkeypatch, contrast, scale):
    monkeypatch.setattr("hep2gan.data.phantom.patterns.nucleoli_holes", lambda *_: np.float32(1))
    stain = Speckled(power=0.4, contrast=contrast, scale=scale)
    body = nucleus.rho < 0.9
    spread, alike = [], []
    for _ in range(60):
        ratio = stain.render(nucleus, rng) / np.maximum(nucleus.dome(0.4), 1e-6) - 1
        spread.append(ratio[body].std())
        pair = body[1:] & body[:-1]
        alike.append(np.corrcoef(ratio[1:][pair], ratio[:-1][pair])[0, 1])
    assert np.median(spread) == pytest.approx(contrast, rel=0.1)
    assert np.log(spread).std() == pytest.approx(0.2, abs=0.06)
    assert np.median(alike) == pytest.approx(np.exp(-1 / (4 * scale**2)), abs=0.06)


def test_speckled_cells_have_dark_nucleoli(nucleus, rng):
    stain = Speckled(power=0.4, contrast=0.01, scale=1.0)
    body = nucleus.rho < 0.9
    for _ in range(30):
        assert 0.05 < (stain.render(nucleus, rng)[body] / nucleus.dome(0.4)[body]).min() < 0.7


def test_speckled_specimens_are_fine_or_coarse(rng):
    sampled = [Speckled.sample(rng) for _ in range(400)]
    fine = [one for one in sampled if one.contrast < 0.2]
    assert len(fine) / 400 == pytest.approx(0.5, abs=0.1)
    assert all(one.scale <= 1.3 for one in fine if one.contrast < 0.199)
    assert all(one.scale >= 1.2 for one in sampled if one.contrast > 0.2201)


@pytest.mark.parametrize(("kind", "fewest", "most"), [("round", 1, 6), ("dotted", 1, 30)])
def test_nucleoli_are_few_and_bright(nucleus, rng, kind, fewest, most):
    stain = Nucleolar(power=0.4, base=0.2, bright=3.0, kind=kind)
    found, height = [], []
    for _ in range(60):
        rendered = stain.render(nucleus, rng)
        found.append(peaks(rendered, nucleus.mask))
        height.append(rendered.max())
        assert rendered[nucleus.rho > 1.15].max() < 0.25 * rendered.max()
    assert fewest <= min(found)
    assert max(found) <= most
    assert len(set(found)) >= 4
    assert 2.5 < np.median(height) < 8


def test_round_nucleoli_stand_eight_pixels_apart_in_the_middle(nucleus, rng):
    stain = Nucleolar(power=0.4, base=0.1, bright=3.0, kind="round")
    for _ in range(30):
        centre, sigma = stain._grains(rng, np.array([[50.0, 50.0]]))
        assert centre.tolist() == [[50.0, 50.0]]
        assert 1.6 <= sigma[0] <= 3.6


@pytest.mark.parametrize(
    ("kind", "number", "sigmas"), [("clumpy", (3, 6), (1.0, 1.8)), ("dotted", (2, 5), (0.7, 1.1))]
)
def test_clumps_and_dots_keep_to_the_recipe(rng, kind, number, sigmas):
    stain = Nucleolar(power=0.4, base=0.1, bright=3.0, kind=kind)
    counts = set()
    for _ in range(200):
        centre, sigma = stain._grains(rng, np.array([[50.0, 50.0]]))
        counts.add(len(centre))
        assert np.abs(centre - 50).max() <= 3.0 + 1e-9
        assert sigmas[0] <= sigma.min()
        assert sigma.max() <= sigmas[1]
    assert counts == set(range(number[0], number[1] + 1))


def test_nucleolar_kinds_all_occur(rng):
    kinds = [Nucleolar.sample(rng).kind for _ in range(90)]
    assert all(kinds.count(kind) > 15 for kind in ("round", "clumpy", "dotted"))


def test_centromeres_are_many_small_and_inside(nucleus, rng):
    stain = Centromere(power=0.4, base=0.2, bright=3.0, apart=2.5, sigma=0.9)
    found = []
    for _ in range(60):
        rendered = stain.render(nucleus, rng)
        found.append(peaks(rendered, nucleus.mask, rise=0.1))
        assert rendered[nucleus.depth < -3].max() < 0.05
    assert min(found) >= 10
    assert max(found) <= 55
    assert 22 < np.median(found) < 42


def test_amplitudes_spread_as_in_the_recipe_over_specimens_and_cells(rng):
    # Half of the variance lies between specimens, half between cells of one.
    for stain, median, sd in ((Nucleolar, 3.0, 0.8), (Centromere, 2.2, 0.5), (Golgi, 3.2, 0.9)):
        bright = np.array([stain.sample(rng).bright for _ in range(800)])
        assert np.median(bright) == pytest.approx(median, rel=0.1)
        assert np.log(bright).std() == pytest.approx(sd * np.sqrt(0.5), rel=0.1)


def profile(stain, nucleus, low, high):
    return stain[(nucleus.depth >= low) & (nucleus.depth < high)].mean()


@pytest.mark.parametrize("inset", [0.0, 1.5])
def test_membrane_is_brightest_at_the_border(nucleus, rng, inset):
    stain = NuclearMembrane(
        **{"body": 0.7, "power": 0.4, "ring": 0.6, "inset": inset, "width": 1.2},
        **{"punctate": False, "cytoplasm": 0.5, "reach": 8.0},
    )
    mean = np.mean([stain.render(nucleus, rng) for _ in range(30)], axis=0)
    at_ring = profile(mean, nucleus, inset - 0.3, inset + 0.3)
    middle, outside = profile(mean, nucleus, 12, 30), profile(mean, nucleus, -6, -5)
    assert middle == pytest.approx(0.7 * 0.87, abs=0.02)  # .7·(1.15 - .3·dome), dome near 1
    assert at_ring - middle > 0.4
    assert outside == pytest.approx(0.35 * np.exp(-((5.5 / 8) ** 2)), abs=0.02)
    assert middle > outside


def test_three_in_ten_membranes_are_punctate(nucleus, rng):
    sampled = [NuclearMembrane.sample(rng) for _ in range(600)]
    assert np.mean([one.punctate for one in sampled]) == pytest.approx(0.3, abs=0.06)
    rim = np.abs(nucleus.depth - 0.5) < 0.5
    spread = [
        replace(sampled[0], ring=0.8, inset=0.5, punctate=punctate).render(nucleus, rng)[rim].std()
        for punctate in (False, True)
    ]
    assert spread[1] > 2 * spread[0]


def test_golgi_granules_lie_outside_at_one_side(nucleus, rng):
    stain = Golgi(body=0.8, power=0.4, cytoplasm=0.9, reach=12.0, bright=4.0)
    y, x = np.mgrid[: nucleus.shape[0], : nucleus.shape[1]]
    turn = np.exp(1j * np.arctan2(y - nucleus.centre[0], x - nucleus.centre[1]))
    one_sided, depth = [], []
    for _ in range(60):
        granules = stain._granules(nucleus, rng)
        one_sided.append(abs((granules * turn).sum()) / granules.sum())
        depth.append((granules * nucleus.depth).sum() / granules.sum())
    assert min(depth) > -12
    assert max(depth) < 0
    assert np.median(depth) == pytest.approx(-6.5, abs=1.2)
    assert np.median(one_sided) > 0.7  # sin(a)/a is .99 to .62 for arcs of ±.5 to ±1.6
    assert min(one_sided) > 0.35


def test_golgi_nucleus_is_as_dull_as_the_cytoplasm(nucleus, rng):
    stain = Golgi(body=0.8, power=0.4, cytoplasm=0.9, reach=12.0, bright=1e-9)
    rendered = stain.render(nucleus, rng)
    assert profile(rendered, nucleus, 12, 30) == pytest.approx(0.8, abs=0.02)
    assert profile(rendered, nucleus, -2, -1) == pytest.approx(0.72, abs=0.03)


def test_haze_fades_outwards(nucleus):
    faded = haze(nucleus, 10)
    assert faded[nucleus.mask].min() == 1
    at = np.abs(nucleus.depth + 10) < 0.3
    assert faded[at].mean() == pytest.approx(np.exp(-1), abs=0.02)
