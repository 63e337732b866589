import dataclasses

import numpy as np
import pytest

from hep2gan.reports.figures.calibration import plot_calibration, plot_calibration_by_method
from hep2gan.statistics.calibration import (
    cross_fit_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from hep2gan.statistics.significance import wilson


def lines(ax):
    return {one.get_label(): one for one in ax.lines if not one.get_label().startswith("_")}


def test_dots_are_accuracy_by_confidence_before_and_after(methods):
    figure = plot_calibration_by_method(methods)
    for place, one in enumerate(methods.values()):
        ax = figure.axes[place]
        scaled = cross_fit_temperature(one.probabilities, one.label, one.specimen).probabilities
        before, after = lines(ax).values()
        for line, probability in ((before, one.probabilities), (after, scaled)):
            found = reliability(probability, one.label)
            filled = found.cells > 0
            np.testing.assert_allclose(line.get_xdata(), found.confidence[filled])
            np.testing.assert_allclose(line.get_ydata(), found.accuracy[filled])


def test_bars_are_wilson_intervals(predictions):
    ax = plot_calibration(predictions).axes[0]
    found = reliability(predictions.probabilities, predictions.label)
    filled = found.cells > 0
    drawn = [path.vertices[:, 1] for path in ax.collections[0].get_paths()]
    expected = [wilson(r, n) for r, n in zip(found.right[filled], found.cells[filled], strict=True)]
    np.testing.assert_allclose(drawn, expected)


def test_the_histograms_are_shares_of_the_cells(predictions):
    lower = plot_calibration(predictions).axes[1]
    scaled = cross_fit_temperature(predictions.probabilities, predictions.label).probabilities
    for steps, probability in zip(lower.patches, (predictions.probabilities, scaled), strict=True):
        values, edges, _ = steps.get_data()
        found = reliability(probability, predictions.label)
        np.testing.assert_allclose(values, 100 * found.cells / 62)
        np.testing.assert_allclose(edges, np.linspace(0, 1, 16))
        assert values.sum() == pytest.approx(100)


def test_the_title_gives_the_errors_and_the_temperatures(methods):
    figure = plot_calibration_by_method(methods)
    for ax, (name, one) in zip(figure.axes, methods.items(), strict=False):
        scaled = cross_fit_temperature(one.probabilities, one.label)
        errors = [
            100 * expected_calibration_error(reliability(probability, one.label))
            for probability in (one.probabilities, scaled.probabilities)
        ]
        low, high = scaled.temperatures
        note = f"ECE {errors[0]:.1f} % → {errors[1]:.1f} % (T = {low:.2f}, {high:.2f})"
        assert ax.get_title() == f"{name}\n{note}"


def test_specimens_are_not_divided(predictions):
    specimen = predictions.label * 2 + np.arange(62) % 2
    known = dataclasses.replace(predictions, specimen=specimen)
    temperatures = cross_fit_temperature(known.probabilities, known.label, specimen).temperatures
    title = plot_calibration(known).axes[0].get_title()
    assert title.endswith("(T = {:.2f}, {:.2f})".format(*temperatures))


def test_a_validation_part_gives_the_temperature(predictions):
    chosen, label = predictions.probabilities[:20] ** 2, predictions.label[:20].copy()
    chosen /= chosen.sum(axis=1, keepdims=True)
    label[0] = (label[0] + 1) % 6
    validated = dataclasses.replace(
        predictions,
        validation_specimen=np.full(20, -1),
        validation_label=label,
        validation_probabilities=chosen,
    )
    title = plot_calibration(validated).axes[0].get_title()
    assert title.endswith(f"(T = {fit_temperature(chosen, label):.2f})")


def test_one_specimen_is_drawn_as_trained_only(predictions):
    figure = plot_calibration(dataclasses.replace(predictions, specimen=np.full(62, 3)))
    assert list(lines(figure.axes[0])) == ["as trained, 95 % interval"]
    assert len(figure.legends[0].get_texts()) == 1
    assert "→" not in figure.axes[0].get_title()


def test_all_cells_right_can_be_drawn(predictions):
    probability = np.full((62, 6), 0.04, np.float32)
    probability[np.arange(62), predictions.label] = 0.8
    figure = plot_calibration(dataclasses.replace(predictions, probabilities=probability))
    assert figure.axes[0].get_title() == "ECE 20.0 % → 20.0 % (T = 1.00, 1.00)"


def test_a_classifier_that_is_sure_of_every_cell_is_not_cut_off(predictions):
    certain = np.eye(6, dtype=np.float32)[predictions.label]
    figure = plot_calibration(dataclasses.replace(predictions, probabilities=certain))
    upper, lower = figure.axes
    assert max(lines(upper)["as trained, 95 % interval"].get_xdata()) == 1
    shown = [*lines(upper).values(), *upper.collections, lower.patches[1]]
    assert len(shown) == 4
    assert not any(artist.get_clip_on() for artist in shown)


def test_without_a_classifier_there_is_no_calibration(predictions):
    assert plot_calibration(dataclasses.replace(predictions, probabilities=None)) is None
