import dataclasses

import numpy as np
import pytest

from hep2gan.reports.figures.trust import plot_trust
from hep2gan.statistics.trust import fit_trust, limit_distances


@pytest.fixture
def measured(predictions):
    rng = np.random.default_rng(0)
    distances = rng.chisquare(4, predictions.probabilities.shape).astype(np.float32)
    return dataclasses.replace(predictions, distances=distances)


def test_the_curve_and_its_areas(measured):
    ax = plot_trust(measured).axes[0]
    trust = fit_trust(measured)
    own, chance, ideal = ax.lines
    assert own.get_ydata()[-1] == pytest.approx(100 * trust.error)
    assert chance.get_ydata() == pytest.approx([100 * trust.error] * 2)
    labels = [f"by probability {trust.aurc:.4f}", f"by chance {trust.error:.4f}"]
    assert [line.get_label() for line in ax.lines] == [*labels, f"ideal {trust.aurc_ideal:.4f}"]
    assert ideal.get_ydata()[0] == 0


def test_the_histogram_holds_every_cell_and_the_limit(measured):
    ax = plot_trust(measured).axes[1]
    found = limit_distances(measured)
    for steps in ax.patches:
        assert steps.get_data().values.sum() == pytest.approx(100)
    assert ax.lines[0].get_xdata() == pytest.approx([found.limit**0.5] * 2)
    share = 100 * found.beyond.mean()
    assert ax.get_title() == f"{share:.1f} % of the test cells beyond the limit"


def test_without_a_mixture_there_is_the_curve_alone(predictions):
    assert len(plot_trust(predictions).axes) == 1
    assert plot_trust(dataclasses.replace(predictions, probabilities=None)) is None
