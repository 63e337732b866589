import pytest
from matplotlib.figure import Figure

from hep2gan.reports.figures.catalogue import COMPARISON_FIGURES

NAMES = ["figure_2", "figure_3", "figure_4", "figure_5", "calibration"]


def test_figures_bear_the_papers_numbers():
    assert [one.name for one in COMPARISON_FIGURES] == NAMES


@pytest.mark.parametrize("one", COMPARISON_FIGURES, ids=lambda one: one.name)
def test_every_figure_is_drawn_no_wider_than_a_page_or_left_out(one, methods):
    figure = one.draw(methods)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() <= 7.17
    assert one.draw({}) is None
