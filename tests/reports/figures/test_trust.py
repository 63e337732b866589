import dataclasses

import numpy as np
import pytest

from hep2gan.reports.figures.trust import plot_trust
from hep2gan.statistics.trust import fit_trust, limit_cells


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


def test_the_histograms_hold_every_cell_and_the_limits(measured):
    figure, found = plot_trust(measured), limit_cells(measured)
    limits = found.limits.entropy, found.limits.squared**0.5
    for ax, limit in zip(figure.axes[1:], limits, strict=True):
        for steps in ax.patches:
            assert steps.get_data().values.sum() == pytest.approx(100)
        assert ax.lines[0].get_xdata() == pytest.approx([limit] * 2)
    share = 100 * found.beyond.mean()
    said = f"{share:.1f} % of the test cells are called unlike the training"
    assert figure.get_suptitle() == said


def test_without_a_mixture_there_are_no_distances(predictions):
    assert len(plot_trust(predictions).axes) == 2
    assert plot_trust(dataclasses.replace(predictions, probabilities=None)) is None
