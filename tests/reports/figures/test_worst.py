import dataclasses

import numpy as np
import pytest

from hep2gan.reports.figures.cells import (
    confident_errors,
    plot_worst_classified,
    plot_worst_segmented,
)


def shown(figure):
    return [(ax.get_title(), ax.images[0].get_array()) for ax in figure.axes if ax.images]


def test_the_lowest_dice_comes_first_with_class_and_id(predictions):
    dice = predictions.dice
    order = np.argsort(dice, kind="stable")[:5]
    short = ("Hom", "Spe", "Nuc", "Cen", "Num", "Gol")
    found = shown(plot_worst_segmented(predictions))[:5]
    for (title, image), row in zip(found, order, strict=True):
        name = short[predictions.label[row]]
        assert title == f"Dice {dice[row]:.3f}\n{name} · {predictions.id[row]}"
        np.testing.assert_array_equal(image, predictions.image[row])


def test_the_most_confident_misreading_comes_first(predictions):
    found = shown(plot_worst_classified(predictions))
    rows = confident_errors(predictions, 20)
    assert len(found) == len(rows) == 6
    short = ("Hom", "Spe", "Nuc", "Cen", "Num", "Gol")
    for (title, image), row in zip(found, rows, strict=True):
        guess = predictions.predicted[row]
        sure = 100 * predictions.probabilities[row].max()
        true = short[predictions.label[row]]
        assert title == f"{true} read as {short[guess]}\n{sure:.1f} % · {predictions.id[row]}"
        np.testing.assert_array_equal(image, predictions.image[row])


def test_nothing_to_show_is_none(predictions):
    assert plot_worst_segmented(dataclasses.replace(predictions, mask=None)) is None
    assert plot_worst_classified(dataclasses.replace(predictions, probabilities=None)) is None
    perfect = np.eye(6, dtype=np.float32)[predictions.label]
    assert plot_worst_classified(dataclasses.replace(predictions, probabilities=perfect)) is None


def test_the_twenty_worst_are_shown_five_a_row(predictions):
    figure = plot_worst_segmented(predictions)
    assert len(shown(figure)) == 20
    assert {(ax.get_subplotspec().get_gridspec().ncols) for ax in figure.axes} == {5}
    wrong = np.eye(6, dtype=np.float32)[(predictions.label + 1) % 6]
    misread = dataclasses.replace(predictions, probabilities=wrong)
    assert len(shown(plot_worst_classified(misread))) == 20


@pytest.mark.parametrize("draw", [plot_worst_segmented, plot_worst_classified])
def test_long_names_and_ids_do_not_touch(draw, predictions):
    classes = ("W" * 90, "Nucleolar in many words " * 4, "M" * 90, *predictions.classes[3:])
    ids = np.array([f"{row:02d}{'W' * 40}" for row in range(62)])
    figure = draw(dataclasses.replace(predictions, classes=classes, id=ids))
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in figure.axes if ax.images]
    assert len(boxes) > 5
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


@pytest.mark.parametrize(
    "classes",
    [
        ("plate_256_large", "plate_256_medium", "plate_256_small", "plate_360", "plate_51", "p_9"),
        ("plate_256_large", "plate_256_medium", "plate_256_small", "plate_3", "plate_4", "plate_5"),
        tuple("W" * 40 + end for end in "abcdef"),
    ],
)
def test_names_that_begin_alike_are_told_apart(classes, predictions):
    wrong = np.eye(6, dtype=np.float32)[(predictions.label + 1) % 6]
    misread = dataclasses.replace(predictions, probabilities=wrong, classes=classes)
    rows = confident_errors(misread, 20)
    reading = {}
    for (title, _), row in zip(shown(plot_worst_classified(misread)), rows, strict=True):
        *lines, _ = title.splitlines()
        true, guess = " ".join(lines).split(" read as ")
        reading.setdefault(misread.label[row], set()).add(true)
        reading.setdefault(misread.predicted[row], set()).add(guess)
    assert all(len(names) == 1 for names in reading.values())
    assert len(set.union(*reading.values())) == len(reading) > 2


@pytest.mark.parametrize(
    ("other", "reading"),
    [
        ("plate_256_small", "plate_360\nread as plate_4\n"),
        ("plate_256_medium_b", "360\nread as 4\n"),
    ],
)
def test_long_names_have_a_line_each_without_what_all_begin_with(other, reading, predictions):
    classes = ("plate_360", "plate_4", "plate_256_medium", other, "plate_5", "plate_6")
    wrong = np.eye(6, dtype=np.float32)[(predictions.label + 1) % 6]
    misread = dataclasses.replace(predictions, probabilities=wrong, classes=classes)
    titles = [title for title, _ in shown(plot_worst_classified(misread))]
    assert any(title.startswith(reading) for title in titles)
