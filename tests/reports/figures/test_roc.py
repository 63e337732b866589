import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.roc import plot_roc, plot_roc_by_method, roc_curves


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_lines_are_scikit_learns_one_class_against_the_rest(predictions):
    whole, corner = plot_roc(predictions).axes
    for label, name in enumerate(predictions.classes):
        own, score = predictions.label == label, predictions.probabilities[:, label]
        false_rate, true_rate, _ = roc_curve(own, score)
        text = f"{name} (AUC {roc_auc_score(own, score):.4f})"
        for ax in (whole, corner):
            line = lines(ax)[text]
            np.testing.assert_allclose(line.get_xdata(), false_rate)
            np.testing.assert_allclose(line.get_ydata(), true_rate)
            assert line.get_color() == style.series_style(label).color


def test_the_legend_names_every_class_with_its_area(predictions):
    texts = [text.get_text() for text in plot_roc(predictions).axes[0].get_legend().get_texts()]
    areas = [curve.area for curve in roc_curves(predictions)]
    assert texts == [
        f"{name} (AUC {area:.4f})" for name, area in zip(predictions.classes, areas, strict=True)
    ]


def test_an_area_by_hand(predictions):
    # Scores of class 0: own .9 .4, others .6 .1: three of four pairs in order.
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9]], np.float32)
    some = dataclasses.replace(
        predictions, classes=("a", "b"), label=np.array([0, 0, 1, 1]), probabilities=probabilities
    )
    assert [curve.area for curve in roc_curves(some)] == [0.75, 0.75]


def test_a_class_without_cells_is_left_out_and_said(predictions):
    label = predictions.label.copy()
    label[label == 5] = 4
    figure = plot_roc(dataclasses.replace(predictions, label=label))
    assert len(lines(figure.axes[0])) == 5
    assert "Golgi" in figure.axes[0].get_legend().get_title().get_text()
    assert "NuMem" not in figure.axes[0].get_legend().get_title().get_text()


def test_the_corner_is_magnified_as_its_title_says(predictions):
    probabilities = np.full((len(predictions.label), 6), 0.02, np.float32)
    probabilities[np.arange(len(probabilities)), predictions.label] = 0.9
    corner = plot_roc(dataclasses.replace(predictions, probabilities=probabilities)).axes[1]
    assert corner.get_title(loc="left") == "Upper left corner × 10"
    assert corner.get_xlim()[1] == pytest.approx(0.1)
    assert corner.get_ylim()[0] == pytest.approx(0.9)


def test_without_classifier_or_with_one_class_there_are_no_curves(predictions):
    assert plot_roc(dataclasses.replace(predictions, probabilities=None)) is None
    assert (
        plot_roc(dataclasses.replace(predictions, label=np.zeros_like(predictions.label))) is None
    )
    with pytest.raises(Hep2ganError):
        roc_curves(dataclasses.replace(predictions, probabilities=None))


def test_figure_4_has_a_pair_of_panels_a_method(methods):
    figure = plot_roc_by_method(methods)
    assert len(figure.axes) == 6
    for place, (name, one) in enumerate(methods.items()):
        whole, corner = figure.axes[place], figure.axes[place + 3]
        macro = roc_auc_score(one.label, one.probabilities, multi_class="ovr")
        assert whole.get_title() == f"{name}\nmacro AUC {macro:.4f}"
        for label, kind in enumerate(one.classes):
            own, score = one.label == label, one.probabilities[:, label]
            area = roc_auc_score(own, score)
            false_rate, true_rate, _ = roc_curve(own, score)
            for ax in (whole, corner):
                line = lines(ax)[f"{kind} (AUC {area:.4f})"]
                np.testing.assert_allclose(line.get_xdata(), false_rate)
                np.testing.assert_allclose(line.get_ydata(), true_rate)
            assert f"{area:.4f}" in whole.texts[0].get_text().splitlines()[label + 1]
        assert corner.get_ylim() == figure.axes[3].get_ylim()
        assert corner.get_ylim()[0] == pytest.approx(1 - corner.get_xlim()[1])


def test_figure_4_has_one_key_without_classes_that_have_no_cells(methods):
    label = methods["Proposed"].label.copy()
    label[label == 5] = 4
    some = {"a": dataclasses.replace(methods["Proposed"], label=label)}
    for shown, count in ((methods, 6), (some, 5)):
        figure = plot_roc_by_method(shown)
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == list(methods["Proposed"].classes[:count])
        assert len(figure.legends) == 1
        assert not any(ax.get_legend() for ax in figure.axes)
    mean = np.mean([curve.area for curve in roc_curves(some["a"])])
    assert f"macro AUC {mean:.4f}" in figure.axes[0].get_title()


def test_figure_4_without_curves_is_none(predictions):
    one_class = dataclasses.replace(predictions, label=np.zeros_like(predictions.label))
    assert plot_roc_by_method({"a": one_class}) is None
    assert plot_roc_by_method({"a": dataclasses.replace(predictions, probabilities=None)}) is None
