import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from hep2gan.reports.confusion import confusion, confusion_counts


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
    figure = confusion(some)
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
    ax = confusion(predictions).axes[0]
    names = ["Hom", "Spe", "Nuc", "Cen", "Num", "Gol"]
    assert [t.get_text() for t in ax.get_xticklabels()] == names
    assert [t.get_text() for t in ax.get_yticklabels()] == names


def test_dark_fields_have_white_text_and_light_ones_dark(predictions):
    some = with_readings(predictions, [0, 0, 1, 1], [0, 0, 0, 1], ("a", "b"))
    ink = {t.get_text(): t.get_color() for t in confusion(some).axes[0].texts}
    assert ink["2\n100 %"] == "white"
    assert ink["1\n50.0 %"] != "white"
    assert ink["0"] != "white"


def test_no_text_is_smaller_than_seven_points(predictions):
    figure = confusion(predictions)
    sizes = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))]
    assert min(sizes) >= 7


@pytest.mark.parametrize("classes", [("Nucleolar", "Nuclear", "Nuc$x$"), ("a" * 20, "a" * 21, "b")])
def test_classes_that_abbreviate_alike_keep_apart(predictions, classes):
    some = with_readings(predictions, [0, 1, 2], [0, 1, 2], classes)
    names = [t.get_text() for t in confusion(some).axes[0].get_xticklabels()]
    assert len(set(names)) == 3
    assert names[2] in (r"Nuc\$x\$", "2 b")


def test_without_classifier_there_is_no_matrix(predictions):
    assert confusion(dataclasses.replace(predictions, probabilities=None)) is None
