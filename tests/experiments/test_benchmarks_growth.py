"""The growth of a training step: the fit, the order of the readings, the table and the figure."""

import itertools
import json
import math

import numpy as np
import pytest

from experiments.benchmarks import step_growth
from experiments.benchmarks.growth_figure import growth_figure
from experiments.benchmarks.growth_fit import Growth
from experiments.benchmarks.step_growth import Cost, Reading
from hep2gan.reports.figures import style
from tests.helpers.started import ROOT

POINTS = list(itertools.product((64, 96, 128), (8, 16, 32)))


def test_known_exponents_are_found():
    fit = Growth.of({(size, batch): 3e-5 * size**1.8 * batch**0.9 for size, batch in POINTS})
    assert fit == pytest.approx((3e-5, 1.8, 0.9, 0), abs=1e-12)
    assert fit.at(256, 64) == pytest.approx(3e-5 * 256**1.8 * 64**0.9)
    assert fit.sentence("It") == "It grows as size^1.80 · batch^0.90; residual 0.0 %."


def test_the_fit_and_its_residual_against_a_design_by_hand():
    # Over a 2 × 2 design the exponents are differences of means, and one number is left over.
    costs = {(1, 1): 1.0, (2, 1): 2.0, (1, 2): 4.0, (2, 2): 8.0 * math.exp(0.4)}
    fit = Growth.of(costs)
    assert fit.of_size == pytest.approx(1 + 0.2 / math.log(2))
    assert fit.of_batch == pytest.approx(2 + 0.2 / math.log(2))
    # The logarithms lie 0.1 beside it, all four: √(4 · 0.1² / (4 − 3)).
    assert fit.residual == pytest.approx(0.2)


def test_the_fit_against_numpy_with_noise():
    noise = np.random.default_rng(0).normal(0, 0.05, len(POINTS))
    costs = {p: p[0] ** 2 * p[1] * math.exp(e) for p, e in zip(POINTS, noise, strict=True)}
    size, batch = np.log(POINTS).T
    # Sizes and batches are crossed, so that each slope is that of a fit alone.
    logs = np.log(list(costs.values()))
    fit = Growth.of(costs)
    assert fit.of_size == pytest.approx(np.polyfit(size, logs, 1)[0])
    assert fit.of_batch == pytest.approx(np.polyfit(batch, logs, 1)[0])
    assert 0.02 < fit.residual < 0.1


def test_without_degrees_of_freedom_there_is_no_residual():
    assert math.isnan(Growth.of({(1, 1): 1.0, (2, 1): 2.0, (1, 2): 4.0}).residual)


@pytest.mark.parametrize("points", [[(1, 1), (2, 1), (4, 1)], [(1, 1), (2, 2), (4, 4)], [(1, 1)]])
def test_points_that_do_not_tell_size_from_batch_are_refused(points):
    with pytest.raises(ValueError, match="do not tell both exponents"):
        Growth.of(dict.fromkeys(points, 1.0))


def test_readings_are_made_in_rounds_there_and_back():
    order = []

    def read(size, batch):
        order.append(size)
        return Reading([float(len(order))] * 2, 100.0, 100.0 + size)

    found = step_growth.costs(read, [(1, 1), (2, 1), (3, 1)], rounds=3)
    assert order == [1, 2, 3, 3, 2, 1, 1, 2, 3]
    # Read first, sixth and seventh; each reading has two steps.
    assert found[1, 1] == Cost(6.0, 2.25, 6.75, training=1.0, peak=101.0)


def test_the_table():
    found = {(64, 8): Cost(0.25, 0.2, 0.3, 123.4, 1234.5), (128, 16): Cost(2, 2, 2.5, 1500, 2500)}
    assert step_growth.table(found).splitlines()[2:] == [
        "| 64 px | 8 | 250 ms (200–300) | 32 | 123 MiB | 1,234 MiB |",
        "| 128 px | 16 | 2,000 ms (2,000–2,500) | 8 | 1,500 MiB | 2,500 MiB |",
    ]


def test_the_figure_shows_costs_and_fits():
    costs = {(size, batch): size**2.0 * batch for size, batch in POINTS}
    figure = growth_figure({"time (s)": (costs, Growth.of(costs)), "memory (MiB)": (costs, None)})
    time, memory = figure.axes
    measured = {line.get_label(): line for line in time.lines if line.get_marker() != "None"}
    assert list(measured) == ["batch 8", "batch 16", "batch 32"]
    assert measured["batch 16"].get_ydata() == pytest.approx([16 * s**2 for s in (64, 96, 128)])
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in time.lines}
    assert {color for color, marker, _ in looks if marker != "None"} == set(style.OKABE_ITO[:3])
    fits = [line for line in time.lines if line.get_marker() == "None"]
    assert [line.get_ydata()[0] for line in fits] == pytest.approx([64**2 * b for b in (8, 16, 32)])
    assert len(memory.lines) == 3
    assert [text.get_text() for text in time.texts] == ["size$^{2.00}$ · batch$^{1.00}$"]
    assert len([t for t in time.get_yticks() if time.get_ylim()[0] <= t <= time.get_ylim()[1]]) >= 2


@pytest.mark.slow
def test_as_a_user_runs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    step_growth.main(
        ["--sizes", "48", "64", "--batches", "2", "4", "--steps", "2", "--rounds", "1"]
    )
    shown = capsys.readouterr().out
    assert "| 48 px | 2 | " in shown
    assert "Time per step grows as size^" in shown
    assert (tmp_path / "runs/benchmarks/step_growth_compact.png").stat().st_size > 10_000


def test_one_reading_is_a_line_of_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    step_growth.main(["--one", "compact", "48", "2", "2"])
    reading = Reading(*json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert len(reading.seconds) == 2
    assert min(reading.seconds) > 0
    assert reading.peak >= reading.held > 100
