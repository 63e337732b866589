"""The classifier's features in two dimensions by t-SNE (the paper's Fig. 5)."""

import hashlib
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from hep2gan.errors import Hep2ganError
from hep2gan.reports.figures import style
from hep2gan.reports.figures.style import COLUMNS, head_room, key_below, methods_with, stacks
from hep2gan.runs.predictions import Predictions

PERPLEXITY = 30.0
MOST_CELLS = 3000
"""More cells than this are thinned out, for time and for legibility."""


_KNOWN: dict[bytes, npt.NDArray[np.float64]] = {}
_MOST_KNOWN = 32
"""A page shows features alone and beside those of other methods: coordinates are kept for it."""


def embed(features: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float64]:
    """Return (N, 2) coordinates of (N, D) features; the same seed gives the same ones.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the first 50 principal components, perplexity
    30 or a third of the cells where there are few. What was embedded lately is not again.
    """
    told = f"{features.shape} {features.dtype} {seed} ".encode()
    key = hashlib.sha256(told + np.ascontiguousarray(features).tobytes()).digest()
    if key not in _KNOWN:
        _KNOWN[key] = _embedded(features, seed)
        if len(_KNOWN) > _MOST_KNOWN:
            del _KNOWN[next(iter(_KNOWN))]
    return _KNOWN[key].copy()


def _embedded(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float64]:
    count, dimensions = features.shape
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    if count < 3 or not centred.any():
        return np.zeros((count, 2)) + np.arange(count)[:, None]
    if min(count, dimensions) > 50:
        centred = PCA(50, svd_solver="full").fit_transform(centred)
    perplexity = min(PERPLEXITY, max(1.0, (count - 1) / 3))
    start = "pca" if dimensions >= 2 else "random"
    tsne = TSNE(2, perplexity=perplexity, init=start, random_state=seed, learning_rate="auto")
    # Threads that wait for a busy core make it ten times slower than one thread is.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few or equal cells: divisions sklearn itself repairs
        coordinates = tsne.fit_transform(centred)
    return np.asarray(coordinates, dtype=np.float64)


def tsne(predictions: Predictions, *, seed: int = 0) -> Figure | None:
    """Draw the features coloured by true class, misread cells ringed; None without features.

    Of more than MOST_CELLS cells as many are drawn by `seed`, and the figure says so.
    """
    if predictions.features is None or not len(predictions.label):
        return None
    figure = style.new_figure(style.COLUMN * 1.3, style.COLUMN)
    ax = figure.subplots()
    rows = plot_embedding(ax, predictions, seed=seed)
    title = f"{rows.size} of {len(predictions.label)} cells"
    ax.set_title("" if rows.size == len(predictions.label) else title, fontsize=style.SMALL)
    figure.legend(
        loc="outside right center", frameon=False, fontsize=style.SMALL, handletextpad=0.2
    )
    return figure


def figure_5(predictions_by_name: Mapping[str, Predictions], *, seed: int = 0) -> Figure | None:
    """Draw each method's features in a panel of its own (the paper's Fig. 5).

    Methods without features are left out; None when no method is left. Raises Hep2ganError when
    classes differ.
    """
    methods = methods_with(predictions_by_name, "features")
    if not methods:
        return None
    side = style.PAGE / COLUMNS
    names = style.wrap_headings(list(methods), int(side / 0.078))
    figure, panels = stacks(len(methods), [side + head_room(names)], foot=0.4)
    for (ax,), name, predictions in zip(panels, names, methods.values(), strict=True):
        rows = plot_embedding(ax, predictions, size=7, seed=seed)
        style.add_heading(ax, name, _misreadings(predictions, rows))
    key_below(figure, _key(methods.values()), entry=1.0)
    return figure


def _misreadings(predictions: Predictions, rows: npt.NDArray[np.intp]) -> str:
    if predictions.probabilities is None:
        return f"{rows.size} cells"
    wrong = int((predictions.predicted[rows] != predictions.label[rows]).sum())
    return f"{wrong} of {rows.size} cells misread"


def plot_embedding(
    ax: Axes, predictions: Predictions, *, size: float = 11.0, seed: int = 0
) -> npt.NDArray[np.intp]:
    """Draw the features as points of `size` square points; return the rows that are shown.

    Raises Hep2ganError without features.
    """
    if predictions.features is None:
        raise Hep2ganError("these predictions hold no features")
    rows = np.arange(len(predictions.label))
    if rows.size > MOST_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_CELLS, replace=False))
    points, label = embed(predictions.features[rows], seed), predictions.label[rows]
    for kind, name in enumerate(style.key_names(predictions.classes, 16)):
        own = points[label == kind]
        if len(own):
            named = f"{name} ({len(own)})"
            ax.scatter(own[:, 0], own[:, 1], s=size, label=named, **_point(kind))
    if predictions.probabilities is not None:
        lost = points[predictions.predicted[rows] != label]
        ax.scatter(lost[:, 0], lost[:, 1], s=4.2 * size, label=f"misread ({len(lost)})", **_RING)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color=style.FAINT, linewidth=0.8)
    return rows


_RING: dict[str, Any] = {"facecolors": "none", "edgecolors": style.INK, "linewidths": 0.9}


def _point(kind: int) -> dict[str, Any]:
    look = style.series_style(kind)
    return {"color": look.color, "marker": look.marker, "linewidths": 0}


def _key(methods: Collection[Predictions]) -> list[Line2D]:
    """Return a point of each class that any method has cells of, and the ring."""
    names = style.key_names(next(iter(methods)).classes, 16)
    keys = [
        _sign(names[kind], color=look.color, marker=look.marker)
        for kind in sorted({int(kind) for one in methods for kind in np.unique(one.label)})
        for look in [style.series_style(kind)]
    ]
    if any(one.probabilities is not None for one in methods):
        keys.append(_sign("misread", color=style.INK, marker="o", size=6.5, fillstyle="none"))
    return keys


def _sign(label: str, *, size: float = 4.0, **kind: Any) -> Line2D:
    return Line2D([], [], linestyle="none", markersize=size, label=label, **kind)
