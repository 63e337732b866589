import numpy as np
import pytest
from scipy import ndimage

from hep2gan.data.phantom.mitosis import render_mitosis, sample_round_outline
from hep2gan.data.phantom.nucleus import Nucleus
from hep2gan.data.phantom.specimens import sample_class

CLASSES = ("Homogeneous", "Speckled", "Nucleolar", "Centromere", "NuMem", "Golgi")


def dividing(label, seed=0):
    """A cell in metaphase with its stain, the mask of its label, and the whole cell."""
    rng = np.random.default_rng(seed)
    specimen = sample_class(0, label, 8, 1.0)[seed % 8]
    nucleus = Nucleus(sample_round_outline(rng), (60.0, 60.0), (121, 121))
    cell = render_mitosis(specimen, nucleus, rng)
    return specimen, cell, nucleus


@pytest.mark.parametrize("label", range(6), ids=CLASSES)
def test_the_mask_is_one_piece_of_a_plausible_size(label):
    for seed in range(8):
        _, cell, nucleus = dividing(label, seed)
        assert ndimage.label(cell.mask)[1] == 1
        assert not (cell.mask & ~nucleus.mask).any()
        assert cell.mask.sum() > 200
        assert (cell.stain >= 0).all()


def test_cells_are_rounder_and_larger_than_nuclei():
    rng = np.random.default_rng(0)
    outlines = [sample_round_outline(rng) for _ in range(50)]
    assert all(47 < outline.diameter < 58 for outline in outlines)
    assert np.mean([o.radius.min() / o.radius.max() for o in outlines]) > 0.85


@pytest.mark.parametrize("label", [0, 3])
def test_chromatin_and_centromeres_stain_the_plate_alone(label):
    for seed in range(4):
        _, cell, nucleus = dividing(label, seed)
        assert cell.mask.sum() < 0.4 * nucleus.mask.sum()
        around = nucleus.mask & ~ndimage.binary_dilation(cell.mask, iterations=3)
        assert cell.stain[cell.mask].mean() > 5 * cell.stain[around].mean()
    # A homogeneous plate is brighter than nuclei, whose mean is 1; nothing is dark in it.
    if label == 0:
        inner = ndimage.binary_erosion(cell.mask, iterations=2)
        assert cell.stain[inner].min() > 1


@pytest.mark.parametrize("label", [1, 4, 5])
def test_other_stains_leave_a_dark_plate(label):
    for seed in range(4):
        _, cell, nucleus = dividing(label, seed)
        np.testing.assert_array_equal(cell.mask, nucleus.mask)
        dark = cell.stain < 0.5 * np.median(cell.stain[nucleus.rho < 0.7])
        inner = dark & (nucleus.rho < 0.7)
        pieces, _ = ndimage.label(ndimage.binary_opening(inner))
        plate = pieces == np.bincount(pieces[pieces > 0]).argmax()
        assert 150 < plate.sum() < 0.4 * nucleus.mask.sum()


def test_nucleoli_stain_plates_by_their_kind():
    masks = {"round": [], "clumpy": [], "dotted": []}
    for seed in range(8):
        specimen, cell, nucleus = dividing(2, seed)
        masks[specimen.stain.kind].append(cell.mask.sum() / nucleus.mask.sum())
    assert all(masks.values())
    assert min(masks["round"]) == 1
    assert max(masks["clumpy"] + masks["dotted"]) < 0.4
