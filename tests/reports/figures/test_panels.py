import dataclasses

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import embedding
from hep2gan.reports.figures.calibration import plot_calibration_by_method
from hep2gan.reports.figures.confusion import plot_confusion_by_method
from hep2gan.reports.figures.embedding import plot_embedding_by_method
from hep2gan.reports.figures.roc import plot_roc_by_method
from hep2gan.reports.figures.style import method_panels, methods_with


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
def test_panels_fill_lines_of_three(count, columns, lines):
    figure, headings, axes = method_panels([f"m{k}" for k in range(count)], [2.0, 1.0], foot=0.5)
    assert len(figure.axes) == 2 * count
    assert [len(panels) for panels in axes] == [2] * count
    assert headings == [f"m{k}" for k in range(count)]
    grid = axes[0][0].get_subplotspec().get_gridspec()
    assert (grid.ncols, grid.nrows) == (columns, 2 * lines)
    assert grid.get_height_ratios() == pytest.approx([2.28, 1.0] * lines)
    assert figure.get_figheight() == pytest.approx(3.28 * lines + 0.5)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("plot", [plot_roc_by_method, plot_embedding_by_method])
def test_the_key_of_many_long_class_names_stays_within_the_figure(
    predictions, monkeypatch, plot, count
):
    monkeypatch.setattr(embedding, "embed", lambda features: features[:, :2])
    odds = np.random.default_rng(0).dirichlet(np.ones(12), 62).astype(np.float32)
    many = dataclasses.replace(
        predictions,
        classes=tuple(f"Wide name number {kind:02d} WWWW" for kind in range(12)),
        label=np.arange(62) % 12,
        probabilities=odds,
    )
    figure = plot({f"m{number}": many for number in range(count)})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) >= 12
    box = legend.get_window_extent()
    assert figure.bbox.contains(*box.min)
    assert figure.bbox.contains(*box.max)
    assert not any(box.overlaps(ax.get_tightbbox()) for ax in figure.axes)


def test_matrices_begin_at_the_top_of_the_figure(predictions):
    figure = plot_confusion_by_method({"a": predictions, "b": predictions})
    figure.draw_without_rendering()
    above = figure.bbox.y1 - figure.axes[0].title.get_window_extent().y1
    assert 0 <= above < 0.1 * figure.dpi


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize(
    "plot",
    [
        plot_confusion_by_method,
        plot_roc_by_method,
        plot_embedding_by_method,
        plot_calibration_by_method,
    ],
)
def test_long_names_neither_collide_nor_leave_the_figure(predictions, monkeypatch, plot, count):
    monkeypatch.setattr(embedding, "embed", lambda features: features[:, :2])
    name = "segmentation_guided_with_gaussian_mixture_and_a_long_name"
    figure = plot({f"{name}_{k}": predictions for k in range(count)})
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
