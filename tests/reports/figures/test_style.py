import dataclasses

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import embedding, style
from hep2gan.reports.figures.calibration import figure_calibration
from hep2gan.reports.figures.confusion import figure_3
from hep2gan.reports.figures.embedding import figure_5, tsne
from hep2gan.reports.figures.roc import figure_4, roc
from hep2gan.reports.figures.style import methods_with, stacks


def test_methods_without_the_array_are_left_out_in_order(methods):
    assert list(methods_with(methods, "mask")) == ["ResNet-50", "Proposed"]
    assert list(methods_with(methods, "features")) == ["ResNet-50", "Proposed", "VGG-16"]
    assert methods_with({}, "mask") == {}


def test_other_classes_are_refused_where_they_would_be_drawn(methods, predictions):
    classes = (*predictions.classes[:5], "Mitotic")
    other = dataclasses.replace(predictions, classes=classes, mask=None)
    assert list(methods_with({**methods, "other": other}, "mask")) == ["ResNet-50", "Proposed"]
    with pytest.raises(Hep2ganError, match="same classes"):
        methods_with({**methods, "other": other}, "features")


@pytest.mark.parametrize(("count", "columns", "lines"), [(1, 1, 1), (3, 3, 1), (4, 3, 2)])
def test_stacks_fill_lines_of_three(count, columns, lines):
    figure, panels = stacks(count, [2.0, 1.0], foot=0.5)
    assert len(figure.axes) == 2 * count
    assert [len(stack) for stack in panels] == [2] * count
    grid = panels[0][0].get_subplotspec().get_gridspec()
    assert (grid.ncols, grid.nrows) == (columns, 2 * lines)
    assert grid.get_height_ratios() == [2.0, 1.0] * lines
    assert figure.get_figheight() == 3 * lines + 0.5


def test_headings_are_cut_and_stay_apart():
    assert style.wrap_headings(["VGG-16", "a b"], 10) == ["VGG-16", "a b"]
    assert style.wrap_headings(["ResNet-50 from scratch"], 12) == ["ResNet-50\nfrom scratch"]
    assert style.wrap_headings(["x" * 40], 10) == ["x" * 10 + "\n" + "x" * 9 + "…"]
    alike = style.wrap_headings(["x" * 40 + "1", "x" * 40 + "2"], 10)
    assert [name[:3] for name in alike] == ["1 x", "2 x"]
    assert style.wrap_headings(["cost $5"], 10) == [r"cost \$5"]


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("draw", [figure_3, figure_4, figure_5, figure_calibration])
def test_long_names_neither_collide_nor_leave_the_figure(predictions, monkeypatch, draw, count):
    monkeypatch.setattr(embedding, "embed", lambda features, _: features[:, :2])
    name = "segmentation_guided_with_gaussian_mixture_and_a_long_name"
    figure = draw({f"{name}_{k}": predictions for k in range(count)})
    figure.draw_without_rendering()
    titles = [ax.title for ax in figure.axes if "\n" in ax.get_title()]
    assert len({title.get_text() for title in titles}) == count
    boxes = [title.get_window_extent() for title in titles]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for box in boxes:
        assert figure.bbox.contains(*box.min)
        assert figure.bbox.contains(*box.max)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert figure.get_figwidth() <= 7.16
    sizes = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))]
    assert min(sizes) >= 7


def alone(draw):
    """A figure of one method, drawn as those of several are."""
    return lambda found: draw(found["a"])


@pytest.mark.parametrize("draw", [figure_4, figure_5, alone(roc), alone(tsne)])
@pytest.mark.parametrize(
    ("start", "others", "shown"),
    [
        ("plate_of_", "plate_of_", "256_wells_large"),
        ("plate_of_", "", "0 plate_of_256_wells_large"),
    ],
)
def test_classes_that_begin_alike_are_told_apart_in_keys(
    predictions, monkeypatch, draw, start, others, shown
):
    monkeypatch.setattr(embedding, "embed", lambda features, _: features[:, :2])
    plates = [f"{start}256_wells_{size}" for size in ("large", "medium", "small")]
    named = dataclasses.replace(
        predictions, classes=(*plates, *(f"{others}{name}" for name in "abc"))
    )
    figure = draw({"a": named})
    (legend,) = figure.legends or [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    texts = [text.get_text().partition(" (")[0] for text in legend.get_texts()]
    texts = [text for text in texts if text != "misread"]
    assert len(set(texts)) == len(texts) == 6
    assert shown.startswith(texts[0].rstrip("…"))
