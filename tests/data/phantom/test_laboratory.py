import numpy as np
import pytest
from PIL import Image

from hep2gan.data.phantom.generate import generate_cells, write_phantom
from hep2gan.data.phantom.laboratory import FIRST_LAB, Laboratory
from hep2gan.data.phantom.specimens import plan_specimens
from hep2gan.errors import Hep2ganError


def images(root):
    return [np.asarray(Image.open(path)) for path in sorted(root.glob("*[0-9].png"))]


def areas(root):
    return [np.asarray(Image.open(path)).astype(bool).sum() for path in root.glob("*_Mask.png")]


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs")
    return [write_phantom(folder / str(lab), 60, 3, lab=lab) for lab in range(3)]


def test_laboratory_0_changes_nothing(labs):
    for cell, image in zip(generate_cells(60, 3), images(labs[0]), strict=True):
        np.testing.assert_array_equal(cell.image, image)
    assert Laboratory.sample(0) is FIRST_LAB
    specimen = plan_specimens(60, 3)[0]
    assert FIRST_LAB.prepare(specimen) == specimen
    light, mask = np.ones((4, 5), np.float32), np.ones((4, 5), bool)
    assert FIRST_LAB.magnify(light, mask)[0] is light
    assert FIRST_LAB.develop(light) is light


def test_a_laboratory_is_the_same_one_wherever_it_is_asked_for(labs, tmp_path):
    again = write_phantom(tmp_path / "again", 60, 3, lab=1)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in labs[1].iterdir()
    }
    assert write_phantom(tmp_path / "again", 60, 3, lab=2) == again  # others are replaced
    assert (again / "00001.png").read_bytes() == (labs[2] / "00001.png").read_bytes()


def test_laboratories_differ_from_the_first_by_their_factors_and_have_other_patients(labs):
    for lab in (1, 2):
        found = Laboratory.sample(lab)
        # 60 nuclei have the mean area of the phantom up to some per cent.
        ratio = np.mean(areas(labs[lab])) / np.mean(areas(labs[0]))
        assert ratio == pytest.approx(found.magnification**2, rel=0.12)
        assert found.seed(3) != 3
        assert found.seed(3) != found.seed(4)
        for name, factor in zip(found._fields[1:], found[1:], strict=True):
            assert abs(np.log(factor)) > 0.1, name


def test_what_a_laboratory_does_to_a_specimen():
    specimen = plan_specimens(60, 3)[0]
    lab = Laboratory(9, blur=2.0, gain=0.5, stain=3.0, background=0.25)
    found = lab.prepare(specimen)
    assert (found.sharp, found.halo) == (2 * specimen.sharp, 2 * specimen.halo)
    assert found.gain == specimen.gain / 2
    assert found.level == 3 * specimen.level
    assert found.background == specimen.background / 4
    assert found.key == specimen.key
    grey = Laboratory(9, gamma=2.0).develop(np.array([[0, 127, 254]], np.float32))
    np.testing.assert_allclose(grey, [[0, 63.5, 254]])
    light, mask = Laboratory(9, magnification=1.5).magnify(
        np.ones((10, 20), np.float32), np.ones((10, 20), bool)
    )
    assert light.shape == mask.shape == (15, 30)
    assert mask.dtype == bool


def test_seeds_are_checked_in_every_laboratory(tmp_path):
    with pytest.raises(Hep2ganError, match="seeds are 0 or above"):
        write_phantom(tmp_path / "cells", 12, -1, lab=1)
