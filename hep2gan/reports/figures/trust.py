"""How far to trust a cell: errors by coverage, entropies and distances with their limits."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hep2gan.reports.figures import style
from hep2gan.runs.predictions import Predictions
from hep2gan.statistics.risk_coverage import RiskCoverage, risk_coverage
from hep2gan.statistics.trust import limit_cells, risk_of, scale_test

_BINS = 40
_FURTHEST = 2.0
"""Of the limit, where the axis ends; what lies further is in the last bin."""
_RIGHT, _WRONG = style.OKABE_ITO[0], style.OKABE_ITO[3]
_HEIGHT = 2.5


def plot_trust(predictions: Predictions) -> Figure | None:
    """Plot the risk–coverage curve of a method, and its cells' entropies and distances.

    Args:
        predictions: Predictions of the method.

    Returns:
        The figure, the curve alone where there are no limits; None without a classifier.
    """
    if predictions.probabilities is None:
        return None
    right = predictions.predicted == predictions.label
    found = limit_cells(predictions)
    measured: list[tuple[str, np.ndarray, float]] = []
    if found is not None:
        measured.append(("entropy", found.entropy, found.limits.entropy))
        if found.squared is not None and found.limits.squared is not None:
            own, limit = np.sqrt(found.squared), found.limits.squared**0.5
            measured.append(("distance to the nearest mean", own, limit))
    panels = 1 + len(measured)
    figure = style.new_figure(style.PAGE / max(2, panels) * panels, _HEIGHT)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _plot_risk(axes[0], risk_of(predictions, scale_test(predictions)), right)
    for ax, (name, own, limit) in zip(axes[1:], measured, strict=True):
        _plot_limit(ax, name, own, limit, right)
    if found is not None and found.beyond is not None:
        figure.suptitle(
            f"{100 * float(found.beyond.mean()):.1f} % of the test cells are called unlike the"
            " training",
            fontsize=style.LABEL,
            color=style.INK,
        )
    return figure


def _plot_risk(ax: Axes, curve: RiskCoverage, right: np.ndarray) -> None:
    """Plot the share of errors among the most trusted cells, with chance and the ideal."""
    ideal = risk_coverage(right.astype(float), right)
    error = float((~right).mean())
    lines = (
        (curve.coverage, curve.risk, style.OKABE_ITO[0], "-", f"by probability {curve.area:.4f}"),
        ([0, 1], [error, error], style.QUIET, ":", f"by chance {error:.4f}"),
        (ideal.coverage, ideal.risk, style.OKABE_ITO[2], (0, (4, 1.5)), f"ideal {ideal.area:.4f}"),
    )
    for x, y, color, line, words in lines:
        ax.plot(
            100 * np.asarray(x),
            100 * np.asarray(y),
            color=color,
            linestyle=line,
            linewidth=1.3,
            label=words,
            clip_on=False,
        )
    style.style_axes(ax, xlabel="cells kept, surest first (%)", ylabel="of these misclassified (%)")
    highest = max(100 * float(curve.risk.max()), 100 * error, 1.0)
    ax.set(xlim=(0, 100), ylim=(0, 1.7 * highest))
    # Above lies the legend.
    ax.set_yticks([tick for tick in ax.get_yticks() if tick <= min(100, 1.7 * highest)])
    legend = ax.legend(
        title="area under the curve",
        fontsize=style.SMALL,
        title_fontsize=style.SMALL,
        loc="upper left",
        frameon=False,
        ncols=1,
        borderaxespad=0.2,
    )
    legend.set_alignment("left")


def _plot_limit(ax: Axes, name: str, own: np.ndarray, limit: float, right: np.ndarray) -> None:
    """Plot a measure of the test cells, and its limit of those like the training."""
    end = max(min(_FURTHEST * limit, float(own.max())), 1.15 * limit, 1e-6)
    edges = np.linspace(0, end, _BINS + 1)
    shown = np.minimum(own, end)
    for rows, color, words in ((right, _RIGHT, "correct"), (~right, _WRONG, "misclassified")):
        if not rows.any():
            continue
        share = 100 * np.histogram(shown[rows], edges)[0] / rows.sum()
        label = f"{words} ({int(rows.sum()):,})"
        if color == _RIGHT:
            ax.stairs(share, edges, fill=True, color=color, alpha=0.45, label=label)
        else:
            ax.stairs(share, edges, color=color, linewidth=1.2, label=label)
    ax.axvline(limit, color=style.INK, linewidth=1.0, linestyle=(0, (4, 1.5)), label="limit")
    style.style_axes(ax, xlabel=name, ylabel="cells (%)")
    ax.set(xlim=(0, end), ylim=(0, 1.5 * ax.get_ylim()[1]))
    # On white: the line of the limit may pass behind it.
    ax.legend(fontsize=style.SMALL, loc="upper left", framealpha=1.0, edgecolor="none")
