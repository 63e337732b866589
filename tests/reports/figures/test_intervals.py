import numpy as np
import pytest

from hep2gan.reports.figures import style
from hep2gan.reports.study_figures import plot_intervals
from hep2gan.reports.tables.estimates import Estimate
from hep2gan.statistics.significance import Interval


def estimate(mean, *ends):
    return Estimate(mean, None, {"cell": Interval(*ends) if ends else None})


ROWS = {
    "random": {"ours": estimate(0.9, 0.85, 0.93), "forest": estimate(0.8, 0.7, 0.9)},
    "specimen": {"forest": estimate(0.4, 0.3, 0.5), "alone": estimate(0.6)},
}


def test_dots_and_lines_lie_where_the_numbers_say_in_per_cent():
    ax = plot_intervals(ROWS).axes[0]
    dots = {line.get_label(): line for line in ax.lines if line.get_marker() != "None"}
    np.testing.assert_allclose(dots["ours"].get_xdata(), [90, np.nan])
    np.testing.assert_allclose(dots["forest"].get_xdata(), [80, 40])
    ends = [[path.vertices for path in one.get_paths()] for one in ax.collections]
    np.testing.assert_allclose([line[:, 0] for line in ends[1]], [[70, 90], [30, 50]])
    np.testing.assert_allclose(ends[0][0][:, 0], [85, 93])
    np.testing.assert_allclose(ends[0][0][:, 1], dots["ours"].get_ydata()[0])


def test_rows_run_downwards_and_series_keep_apart():
    ax = plot_intervals(ROWS).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["random", "specimen"]
    assert ax.get_ylim() == (1.5, -0.5)
    dots = [line for line in ax.lines if line.get_marker() != "None"]
    heights = np.array([line.get_ydata() for line in dots])
    assert (np.diff(heights[:, 0]) > 0.2).all()
    np.testing.assert_array_equal(np.round(heights), [[0, 1]] * 3)
    looks = [(line.get_color(), line.get_marker()) for line in dots]
    assert looks == [(style.series_style(k).color, style.series_style(k).marker) for k in range(3)]


def test_the_key_names_series_and_one_series_needs_none():
    figure = plot_intervals(ROWS)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["ours", "forest", "alone"]
    alone = plot_intervals({"a": {"x": estimate(0.5, 0.4, 0.6)}})
    assert not alone.legends


@pytest.mark.parametrize("count", [2, 4, 7])
def test_long_names_stay_in_the_figure(count):
    series = {f"{'long_method_name_' * 5}{k}": estimate(0.5, 0.4, 0.6) for k in range(count)}
    figure = plot_intervals({"a condition in very many words " * 4: series})
    figure.draw_without_rendering()
    (key,) = figure.legends
    boxes = [t.get_window_extent() for t in key.get_texts()]
    boxes += [t.get_window_extent() for t in figure.axes[0].get_yticklabels()]
    for box in boxes:
        assert figure.bbox.contains(*box.min)
        assert figure.bbox.contains(*box.max)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert len({t.get_text() for t in key.get_texts()}) == count


def test_nothing_to_draw_is_none():
    assert plot_intervals({}) is None
    assert plot_intervals({"a": {}}) is None
