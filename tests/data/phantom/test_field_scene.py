from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from hep2gan.data.phantom.field_scene import (
    FieldScene,
    compose_field,
    magnify_field,
    photograph,
)
from hep2gan.data.phantom.laboratory import FIRST_LAB
from hep2gan.data.phantom.specimens import sample_class

SHAPE = (260, 300)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def specimen():
    return replace(sample_class(0, 0, 1, 1.0)[0], sharp=1.0, halo=3.0, gain=1000.0)


def empty_scene(shape=(90, 120)):
    zero, none = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    return FieldScene(zero, zero, none, zero + 20, none, (), ())


def test_touching_cells_share_a_border_and_no_pixel(specimen):
    touching = 0
    for seed in range(6):
        labels = compose_field(specimen, 8, SHAPE, rng(seed)).labels
        for number in range(1, labels.max() + 1):
            own = labels == number
            assert ndimage.label(own)[1] == 1
            around = set(labels[ndimage.binary_dilation(own) & ~own]) - {0}
            touching += len(around)
            for other in around:
                contact = ndimage.binary_dilation(own) & (labels == other)
                assert 3 <= contact.sum() <= 40
    assert touching >= 6


def test_light_of_a_cell_is_that_of_its_specimen(specimen):
    scene = compose_field(specimen, 8, SHAPE, rng(1))
    light = scene.signal + scene.soft
    for number, mitotic in enumerate(scene.mitotic, 1):
        if not mitotic:
            inside = light[scene.labels == number].mean()
            assert 0.5 * specimen.level < inside < 2 * specimen.level
    far = ndimage.distance_transform_edt(scene.labels == 0) > 30
    assert light[far].mean() < 0.1 * specimen.level
    assert scene.background[far].mean() == pytest.approx(specimen.background, rel=0.2)


def test_each_cell_out_of_focus_is_blurred_on_its_own(specimen):
    scene = empty_scene()
    signal, soft, source = scene.signal.copy(), scene.soft.copy(), scene.source.copy()
    disc = np.hypot(*(np.indices((41, 41)) - 20)) < 15
    signal[25:66, 10:51][disc] = 60
    soft[25:66, 70:111][disc] = 60
    source[25:66, 70:111][disc] = 2
    taken = photograph(
        scene._replace(signal=signal, soft=soft, source=source, defocus=(0.0, 3.0)),
        specimen,
        FIRST_LAB,
        rng(),
    ).astype(float)
    assert taken[45, 30] == pytest.approx(79, abs=3)
    assert taken[45, 90] == pytest.approx(79, abs=3)
    # Across an edge, a blur of 1 px, and one of √(1 + 3²), rise by 1/√(2π) over the blur a px.
    steepest = [np.abs(np.diff(taken[45, at])).max() / 60 for at in (np.s_[:60], np.s_[60:])]
    assert steepest[0] == pytest.approx(0.85 * 0.38 + 0.15 * 0.13, abs=0.04)
    assert steepest[1] == pytest.approx(0.85 * 0.126 + 0.15 * 0.094, abs=0.02)


def test_no_light_no_cell(specimen):
    taken = photograph(empty_scene(), specimen, FIRST_LAB, rng())
    assert abs(taken.astype(float).mean() - 20) < 0.05


def test_a_laboratory_magnifies_labels_with_the_light(specimen):
    scene = compose_field(specimen, 6, (200, 240), rng(3))
    lab = FIRST_LAB._replace(magnification=1.25)
    larger = magnify_field(scene, lab, (245, 295))
    assert larger.labels.shape == larger.signal.shape == larger.source.shape == (245, 295)
    before, after = np.bincount(scene.labels.ravel()), np.bincount(larger.labels.ravel())
    inner = [n for n in range(1, len(before)) if not at_border(scene.labels == n)]
    assert len(inner) >= 4
    np.testing.assert_allclose(after[inner] / before[inner], 1.25**2, rtol=0.03)
    assert ((larger.signal + larger.soft)[larger.labels > 0] > 0).all()
    assert magnify_field(scene, FIRST_LAB, (200, 240)) is scene


def at_border(mask):
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())
