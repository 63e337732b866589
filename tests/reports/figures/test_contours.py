import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import QuadContourSet

from hep2gan.reports.figures import style
from hep2gan.reports.figures.cells import (
    plot_contours,
    plot_contours_by_method,
    plot_worst_segmented,
    typical_cells,
)
from tests.helpers.report_fixtures import some_rows


def outlines(ax):
    """Colour of each outline on the axes, with its vertices."""
    sets = [child for child in ax.get_children() if isinstance(child, QuadContourSet)]
    return {
        tuple(np.round(one.get_edgecolor()[0, :3], 3)): np.concatenate(
            [path.vertices for path in one.get_paths()]
        )
        for one in sets
    }


def rgb(color):
    return tuple(np.round(to_rgb(color), 3))


def pictured(figure):
    return [ax for ax in figure.axes if ax.images]


@pytest.fixture(scope="module")
def small(predictions):
    """One cell a class, with masks whose outlines are known: rectangles."""
    rows = [int(np.flatnonzero(predictions.label == k)[0]) for k in range(6)]
    truth = np.zeros((6, 64, 64), np.uint8)
    truth[:, 10:30, 20:50] = 1
    mask = np.zeros((6, 64, 64), np.uint8)
    mask[:, 12:33, 18:47] = 255
    mask[1] = 0
    mask[2, 0:10, 0:10] = 255
    return dataclasses.replace(
        predictions,
        id=predictions.id[rows],
        specimen=predictions.specimen[rows],
        label=predictions.label[rows],
        image=predictions.image[rows],
        truth=truth,
        mask=mask,
        crop_size=predictions.crop_size[rows],
        probabilities=None,
        features=None,
    )


def test_outlines_lie_half_a_pixel_around_the_masks(small):
    below = pictured(plot_contours(small))[6]
    found = outlines(below)
    assert set(found) == {rgb(style.TRUTH), rgb(style.PREDICTION)}
    true, guess = found[rgb(style.TRUTH)], found[rgb(style.PREDICTION)]
    assert (true.min(axis=0).tolist(), true.max(axis=0).tolist()) == ([19.5, 9.5], [49.5, 29.5])
    np.testing.assert_allclose(guess.min(axis=0), [17.5, 11.5], atol=0.01)
    np.testing.assert_allclose(guess.max(axis=0), [46.5, 32.5], atol=0.01)


def test_purple_is_the_prediction_and_green_the_truth():
    red, green, blue = to_rgb(style.PREDICTION)
    assert blue > green
    assert red > green
    red, green, blue = to_rgb(style.TRUTH)
    assert green > red
    assert green > blue


def test_an_empty_prediction_has_no_outline_and_the_truth_still_has(small):
    assert set(outlines(pictured(plot_contours(small))[7])) == {rgb(style.TRUTH)}


def test_an_outline_at_the_border_is_closed(small):
    guess = outlines(pictured(plot_contours(small))[8])[rgb(style.PREDICTION)]
    np.testing.assert_allclose(guess.min(axis=0), [-0.5, -0.5], atol=0.01)


def test_images_above_and_below_are_the_chosen_cells_in_class_order(predictions):
    axes = pictured(plot_contours(predictions))
    chosen = typical_cells(predictions)
    assert list(chosen) == list(range(6))
    for place, row in enumerate(chosen.values()):
        for ax in (axes[place], axes[place + 6]):
            np.testing.assert_array_equal(ax.images[0].get_array(), predictions.image[row])
    assert [ax.get_title() for ax in axes[:6]] == list(predictions.classes)
    assert not any(outlines(ax) for ax in axes[:6])


def test_dice_and_id_stand_below_each_cell(predictions):
    dice, chosen = predictions.dice, typical_cells(predictions)
    notes = [ax.texts[0].get_text() for ax in pictured(plot_contours(predictions))[6:]]
    assert notes == [f"Dice {dice[row]:.3f} · {predictions.id[row]}" for row in chosen.values()]


def test_without_generator_only_the_truth_is_drawn(predictions):
    figure = plot_contours(dataclasses.replace(predictions, mask=None))
    assert all(set(outlines(ax)) == {rgb(style.TRUTH)} for ax in pictured(figure)[6:])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ground truth"]


def test_the_key_names_both_colours(small):
    legend = plot_contours(small).legends[0]
    key = {
        text.get_text(): rgb(line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    assert key == {"prediction": rgb(style.PREDICTION), "ground truth": rgb(style.TRUTH)}


def test_a_class_without_cells_has_no_column_and_seven_classes_wrap(predictions):
    fewer = dataclasses.replace(predictions, classes=(*predictions.classes, "empty"))
    assert len(pictured(plot_contours(fewer))) == 12
    label = predictions.label.copy()
    label[-1] = 6
    assert len(pictured(plot_contours(dataclasses.replace(fewer, label=label)))) == 14


@pytest.fixture(scope="module")
def second(methods):
    """Axes of figure 2 by row and column."""
    figure = plot_contours_by_method(methods)
    grid = {}
    for ax in pictured(figure):
        spec = ax.get_subplotspec()
        grid[spec.rowspan.start, spec.colspan.start] = ax
    return grid


def test_figure_2_finds_the_same_cell_in_each_methods_own_order(second, methods):
    first, other = methods["ResNet-50"], methods["Proposed"]
    assert set(second) == {(row, column) for row in range(3) for column in range(6)}
    for column, row in enumerate(typical_cells(first).values()):
        there = list(other.id).index(first.id[row])
        for ax in (second[depth, column] for depth in range(3)):
            np.testing.assert_array_equal(ax.images[0].get_array(), first.image[row])
        assert second[0, column].get_title() == first.classes[column]
        assert second[0, column].texts[0].get_text() == first.id[row]
        assert not outlines(second[0, column])
        for depth, one, place in ((1, first, row), (2, other, there)):
            ax = second[depth, column]
            assert ax.texts[0].get_text() == f"Dice {one.dice[place]:.3f}"
            drawn = outlines(ax)
            right = np.flatnonzero(one.mask[place].max(axis=0) >= 128).max()
            assert set(drawn) == {rgb(style.TRUTH), rgb(style.PREDICTION)}
            assert abs(drawn[rgb(style.PREDICTION)][:, 0].max() - right) <= 1


def test_figure_2_names_its_rows_and_leaves_out_methods_without_masks(second):
    assert [second[row, 0].texts[-1].get_text() for row in (1, 2)] == ["ResNet-50", "Proposed"]


def test_figure_2_takes_only_cells_that_all_methods_have(methods, predictions):
    typical = typical_cells(predictions)
    kept = np.setdiff1d(np.arange(62), list(typical.values()))
    each = {"id", "specimen", "label", "image", "truth", "crop_size", "mask", "probabilities"}
    arrays = {name: getattr(predictions, name)[kept] for name in each}
    fewer = dataclasses.replace(predictions, **arrays, features=None)
    texts = [
        ax.texts[0].get_text()
        for ax in pictured(plot_contours_by_method({"a": predictions, "b": fewer}))
    ]
    assert len(texts) == 18
    assert not set(texts) & {str(predictions.id[row]) for row in typical.values()}
    foreign = dataclasses.replace(predictions, id=np.char.add("x", predictions.id))
    assert plot_contours_by_method({"a": predictions, "b": foreign}) is None


def test_figure_2_of_seven_methods_fits_a_page(predictions):
    figure = plot_contours_by_method(
        {f"{k} segmentation_guided_with_a_long_name": predictions for k in range(7)}
    )
    assert figure.get_figwidth() <= 7.16
    assert figure.get_figheight() <= 9.5
    figure.draw_without_rendering()
    names = [t for ax in figure.axes for t in ax.texts if t.get_rotation() == 90]
    boxes = [name.get_window_extent() for name in names]
    assert len(boxes) == 7
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_figure_2_of_twelve_methods_and_classes_fits_a_page(predictions):
    chosen = np.arange(12)
    kinds = tuple(f"Cytoplasmic pattern {'ABCDEFGHIJKL'[kind]}" for kind in chosen)
    many = dataclasses.replace(some_rows(predictions, chosen), label=chosen, classes=kinds)
    figure = plot_contours_by_method({f"method {number}": many for number in range(12)})
    assert figure.get_figwidth() <= 7.16
    assert figure.get_figheight() <= 9.5
    figure.draw_without_rendering()
    drawn = pictured(figure)
    assert len(drawn) == 13 * 12
    assert min(ax.bbox.width for ax in drawn) > 0.4 * figure.dpi
    titles = [ax.get_title() for ax in drawn[:12]]
    assert len(set(titles)) == 12
    boxes = [text.get_window_extent() for ax in drawn for text in ax.texts if text.get_text()]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_figure_2_without_generators_is_none(predictions):
    assert plot_contours_by_method({"a": dataclasses.replace(predictions, mask=None)}) is None


def test_long_names_and_ids_neither_touch_nor_shrink_the_pictures(predictions):
    long = dataclasses.replace(
        predictions,
        classes=("W" * 90, "Nucleolar in many words " * 4, *predictions.classes[2:]),
        id=np.array([f"{row:02d}{'W' * 40}" for row in range(62)]),
    )
    figure, short = plot_contours(long), plot_contours(predictions)
    for one in (figure, short):
        one.draw_without_rendering()
    drawn = [ax for ax in figure.axes if ax.images]
    texts = [text for ax in drawn for text in (ax.title, *ax.texts) if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 12
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert drawn[0].bbox.width > 0.95 * short.axes[0].bbox.width


def test_outlines_that_there_are_and_no_dice_of_nothing(small):
    guessed = plot_contours(dataclasses.replace(small, truth=None, mean_mask=None))
    below = pictured(guessed)[6]
    assert set(outlines(below)) == {rgb(style.PREDICTION)}
    assert "Dice" not in below.texts[0].get_text()
    assert [text.get_text() for text in guessed.legends[0].get_texts()] == ["prediction"]
    assert plot_contours(dataclasses.replace(small, truth=None, mask=None)) is None
    assert plot_worst_segmented(dataclasses.replace(small, truth=None)) is None
    assert plot_worst_segmented(small) is not None


def test_methods_are_compared_without_true_masks_too(small):
    bare = dataclasses.replace(small, truth=None)
    figure = plot_contours_by_method({"one": bare, "other": bare})
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["prediction"]
