"""False positives of the verdict about methods, its power, and coverage of intervals."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "experiments" / "simulations.py"
SPEC = importlib.util.spec_from_file_location("simulations", PATH)
simulations = importlib.util.module_from_spec(SPEC)
sys.modules["simulations"] = simulations
SPEC.loader.exec_module(simulations)

DESIGNS = {design.name: design for design in simulations.DESIGNS}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_simulated_test_is_that_of_the_reports(name):
    from hep2gan.statistics.clusters import CellValues
    from hep2gan.statistics.methods import paired_difference

    results = DESIGNS[name].draw(np.random.default_rng(0), 2, 3)
    found = results.crossed()
    unit = np.indices(results.tested[0].shape)[0]
    if not results.known:
        unit = np.arange(unit.size).reshape(unit.shape)
    for turn in range(2):
        cells = [
            CellValues(results.gained[turn, seed][one].astype(float), unit[one], 0 * unit[one])
            for seed, one in enumerate(results.tested)
        ]
        alike = paired_difference(cells)
        assert alike.p == pytest.approx(found.p[turn])
        assert alike.estimate == pytest.approx(found.estimate[turn])


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_five_seeds_of_one_method_rarely_differ(name):
    found = simulations.rejections(DESIGNS[name], 5, 4000)
    assert found["crossed"] <= 0.06
    if DESIGNS[name].cells is simulations.UNSEEN:  # what was reported before
        assert found["McNemar"] > 0.3
        assert found["both"] > 0.07


@pytest.mark.slow
def test_methods_equal_on_average_alone_fool_the_t_test_over_seeds():
    cells = simulations.UNSEEN._replace(method=0.8)
    found = simulations.rejections(simulations.DESIGNS[0], 5, 4000, cells=cells)
    assert found["seeds"] > 0.09
    assert found["crossed"] <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("design", simulations.DESIGNS[1:])
def test_no_less_power_than_the_t_test_over_seeds(design):
    cells = design.cells._replace(gap=simulations.gap_of(8, design.cells))
    found = simulations.rejections(design, 5, 2000, cells=cells)
    assert found["seeds"] > 0.15
    assert found["crossed"] >= found["seeds"] - 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("icc", "accuracy", "mean"), [(0.1, 0.93, 0.92), (0.4, 0.9, 0.9)])
def test_intervals_cover(icc, accuracy, mean):
    sizes, shares, _ = simulations.SETS[1]
    found = simulations.coverage(simulations.Specimens(sizes, shares, icc), 2000)
    assert found["accuracy"] >= accuracy
    assert found["mean"] >= mean
    assert found["wilson"] < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("icc", [0.1, 0.4])
def test_intervals_over_folds_with_a_specimen_of_a_class_each_cover(icc):
    sizes, shares, folds = simulations.SETS[3]
    assert (folds, sizes[5]) == (5, 4)
    found = simulations.coverage(simulations.Specimens(sizes, shares, icc, folds), 1000)
    assert found["accuracy"] >= 0.92
    assert found["mean"] >= 0.9
