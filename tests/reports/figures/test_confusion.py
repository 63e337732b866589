import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from sklearn.metrics import confusion_matrix

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures.confusion import (
    confusion_counts,
    plot_confusion,
    plot_confusion_by_method,
)
from tests.helpers.report_fixtures import some_rows


def with_readings(predictions, label, guess, classes):
    n = len(label)
    return dataclasses.replace(
        predictions,
        classes=classes,
        id=predictions.id[:n],
        specimen=predictions.specimen[:n],
        label=np.array(label),
        image=predictions.image[:n],
        truth=predictions.truth[:n],
        crop_size=predictions.crop_size[:n],
        mask=None,
        features=None,
        train_counts=None,
        probabilities=np.eye(len(classes), dtype=np.float32)[guess],
    )


def fields(figure):
    """Text in each field by (true, predicted)."""
    ax = figure.axes[0]
    return {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts
    }


def test_counts_are_scikit_learns(predictions):
    theirs = confusion_matrix(predictions.label, predictions.predicted, labels=range(6))
    np.testing.assert_array_equal(confusion_counts(predictions), theirs)


def test_fields_hold_counts_and_shares_of_the_true_class(predictions):
    some = with_readings(
        predictions, [0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1], ("Golgi", "NuMem", "Speckled")
    )
    figure = plot_confusion(some)
    assert fields(figure) == {
        (0, 0): "2\n66.7 %",
        (0, 1): "1\n33.3 %",
        (0, 2): "0",
        (1, 0): "0",
        (1, 1): "4\n100 %",
        (1, 2): "0",
        (2, 0): "–",
        (2, 1): "–",
        (2, 2): "–",
    }
    ax = figure.axes[0]
    assert ax.get_title() == "Accuracy 85.71 % (6 of 7)"
    np.testing.assert_allclose(ax.images[0].get_array()[0], [2 / 3, 1 / 3, 0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_labels_are_the_papers_abbreviations_on_both_axes(predictions):
    ax = plot_confusion(predictions).axes[0]
    names = ["Hom", "Spe", "Nuc", "Cen", "Num", "Gol"]
    assert [t.get_text() for t in ax.get_xticklabels()] == names
    assert [t.get_text() for t in ax.get_yticklabels()] == names


def test_dark_fields_have_white_text_and_light_ones_dark(predictions):
    some = with_readings(predictions, [0, 0, 1, 1], [0, 0, 0, 1], ("a", "b"))
    ink = {t.get_text(): t.get_color() for t in plot_confusion(some).axes[0].texts}
    assert ink["2\n100 %"] == "white"
    assert ink["1\n50.0 %"] != "white"
    assert ink["0"] != "white"


def test_no_text_is_smaller_than_seven_points(predictions):
    figure = plot_confusion(predictions)
    sizes = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))]
    assert min(sizes) >= 7


@pytest.mark.parametrize("classes", [("Nucleolar", "Nuclear", "Nuc$x$"), ("a" * 20, "a" * 21, "b")])
def test_classes_that_abbreviate_alike_keep_apart(predictions, classes):
    some = with_readings(predictions, [0, 1, 2], [0, 1, 2], classes)
    names = [t.get_text() for t in plot_confusion(some).axes[0].get_xticklabels()]
    assert len(set(names)) == 3
    assert names[2] in (r"Nuc\$x\$", "2 b")


def test_without_classifier_there_is_no_matrix(predictions):
    assert plot_confusion(dataclasses.replace(predictions, probabilities=None)) is None


def matrices(figure):
    return [ax for ax in figure.axes if ax.images]


def test_figure_3_has_a_matrix_a_method_in_one_scale(methods):
    axes = matrices(plot_confusion_by_method(methods))
    for ax, (name, one) in zip(axes, methods.items(), strict=True):
        counts = confusion_counts(one)
        right = np.trace(counts)
        assert ax.get_title() == f"{name}\nAccuracy {100 * right / 62:.2f} % ({right} of 62)"
        shares = counts / counts.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ax.images[0].get_array(), shares)
        assert ax.images[0].get_clim() == (0, 1)
        texts = {t.get_position(): t.get_text() for t in ax.texts}
        for (true, guess), count in np.ndenumerate(counts):
            share = "100" if shares[true, guess] == 1 else f"{100 * shares[true, guess]:.1f}"
            assert texts[guess, true] == (f"{count}\n{share}" if count else "0")


def test_figure_3_wraps_after_three(methods, predictions):
    seven = {f"method {k}": predictions for k in range(7)}
    figure = plot_confusion_by_method(seven)
    figure.draw_without_rendering()
    axes = matrices(figure)
    tops = [round(ax.get_position().y1, 2) for ax in axes]
    assert tops[0] == tops[1] == tops[2] > tops[3] == tops[5] > tops[6]
    assert figure.get_figwidth() == pytest.approx(7.16)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_text_of_figure_3_stays_in_its_field(predictions, count):
    figure = plot_confusion_by_method({f"method {k}": predictions for k in range(count)})
    figure.draw_without_rendering()
    for ax in matrices(figure):
        field = ax.get_window_extent().width / 6
        assert max(t.get_window_extent().width for t in ax.texts) < field


def test_a_method_without_a_classifier_has_no_place_in_figure_3(methods, predictions):
    bare = dataclasses.replace(predictions, probabilities=None)
    assert len(matrices(plot_confusion_by_method({**methods, "bare": bare}))) == 3
    assert plot_confusion_by_method({"bare": bare}) is None
    assert plot_confusion_by_method({}) is None


def test_methods_of_other_classes_do_not_share_a_figure(methods, predictions):
    other = dataclasses.replace(predictions, classes=(*predictions.classes[:5], "Mitotic"))
    with pytest.raises(Hep2ganError, match="Mitotic"):
        plot_confusion_by_method({**methods, "other": other})


def test_counts_stand_out_from_fields_of_every_shade(predictions):
    label = np.repeat(np.arange(6), 10)
    predicted = np.where(np.arange(60) % 10 < 5 + np.arange(60) // 12, label, (label + 1) % 6)
    odds = np.eye(6, dtype=np.float32)[predicted]
    shaded = dataclasses.replace(
        some_rows(predictions, np.arange(60)), label=label, probabilities=odds
    )
    ax = plot_confusion(shaded).axes[0]
    assert len(np.unique(ax.images[0].get_array())) > 6
    colors = ax.images[0].to_rgba(ax.images[0].get_array())

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for text in ax.texts:
        column, row = map(int, text.get_position())
        pair = luminance(colors[row, column]), luminance(to_rgb(text.get_color()))
        assert (max(pair) + 0.05) / (min(pair) + 0.05) > 3.9
