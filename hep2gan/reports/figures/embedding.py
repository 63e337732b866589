"""The classifier's features in two dimensions by t-SNE (the paper's Fig. 5)."""

import hashlib
import warnings
from collections.abc import Collection, Mapping

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
from hep2gan.runs.predictions import Predictions

PERPLEXITY = 30.0
MOST_CELLS = 3000
"""Of more cells a sample of this size is shown, for time and legibility."""

_CACHE: dict[bytes, npt.NDArray[np.float64]] = {}
_CACHE_SIZE = 32
"""Results kept, since a page shows the same features alone and beside those of other methods."""


def plot_embedding(predictions: Predictions) -> Figure | None:
    """Plot the features coloured by true class, with rings around misclassified cells.

    Of more than `MOST_CELLS` cells a sample of that size is shown, which the figure states.

    Args:
        predictions: Predictions of one method.

    Returns:
        The figure; None without features or cells.
    """
    if predictions.features is None or not len(predictions.label):
        return None
    figure = style.new_figure(style.COLUMN * 1.3, style.COLUMN)
    ax = figure.subplots()
    rows = _plot_points(ax, predictions, size=11.0)
    title = f"{rows.size} of {len(predictions.label)} cells"
    ax.set_title("" if rows.size == len(predictions.label) else title, fontsize=style.SMALL)
    figure.legend(
        loc="outside right center", frameon=False, fontsize=style.SMALL, handletextpad=0.2
    )
    return figure


def plot_embedding_by_method(methods: Mapping[str, Predictions]) -> Figure | None:
    """Plot each method's features in a panel of its own.

    Args:
        methods: Predictions by title of the method; methods without features are left out.

    Returns:
        The figure; None if no method is left.

    Raises:
        Hep2ganError: If classes differ.
    """
    methods = style.methods_with(methods, "features")
    if not methods:
        return None
    figure, headings, axes = style.method_panels(
        list(methods), [style.PAGE / style.COLUMNS], foot=0.4
    )
    for (ax,), heading, predictions in zip(axes, headings, methods.values(), strict=True):
        rows = _plot_points(ax, predictions, size=7)
        note = f"{rows.size} cells"
        if predictions.probabilities is not None:
            wrong = (predictions.predicted[rows] != predictions.label[rows]).sum()
            note = f"{wrong} of {rows.size} cells misclassified"
        style.add_heading(ax, heading, note)
    style.legend_below(figure, _legend_dots(methods.values()))
    return figure


def embed(features: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float64]:
    """Compute coordinates in two dimensions by t-SNE; the same seed gives the same ones.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the first 50 principal components, with perplexity
    30, or a third of the cells if that is less. The latest results are cached.

    Args:
        features: (N, D) features.
        seed: Seed of t-SNE.

    Returns:
        (N, 2) coordinates.
    """
    kind = f"{features.shape} {features.dtype} {seed} ".encode()
    key = hashlib.sha256(kind + np.ascontiguousarray(features).tobytes()).digest()
    if key not in _CACHE:
        _CACHE[key] = _tsne(features, seed)
        if len(_CACHE) > _CACHE_SIZE:
            del _CACHE[next(iter(_CACHE))]
    return _CACHE[key].copy()


def _tsne(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float64]:
    count, dimensions = features.shape
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    if count < 3 or not centred.any():
        return np.zeros((count, 2)) + np.arange(count)[:, None]
    if min(count, dimensions) > 50:
        centred = PCA(50, svd_solver="full").fit_transform(centred)
    tsne = TSNE(
        2,
        perplexity=min(PERPLEXITY, max(1.0, (count - 1) / 3)),
        init="pca" if dimensions >= 2 else "random",
        random_state=seed,
        learning_rate="auto",
    )
    # On busy cores several threads are ten times slower than one.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn handles few or equal cells
        return np.asarray(tsne.fit_transform(centred), dtype=np.float64)


def _plot_points(ax: Axes, predictions: Predictions, size: float) -> npt.NDArray[np.intp]:
    """Plot the features as points of `size` square points; return the rows of their cells.

    Raises Hep2ganError without features.
    """
    if predictions.features is None:
        raise Hep2ganError("these predictions hold no features")
    rows = np.arange(len(predictions.label))
    if rows.size > MOST_CELLS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_CELLS, replace=False))
    points, label = embed(predictions.features[rows]), predictions.label[rows]
    for kind, name in enumerate(style.legend_names(predictions.classes, 16)):
        own = points[label == kind]
        if len(own):
            look = style.series_style(kind)
            ax.scatter(
                own[:, 0],
                own[:, 1],
                s=size,
                label=f"{name} ({len(own)})",
                color=look.color,
                marker=look.marker,
                linewidths=0,
            )
    if predictions.probabilities is not None:
        wrong = points[predictions.predicted[rows] != label]
        text = f"misclassified ({len(wrong)})"
        ax.scatter(wrong[:, 0], wrong[:, 1], s=4.2 * size, label=text, **style.RING)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color=style.FAINT, linewidth=0.8)
    return rows


def _legend_dots(methods: Collection[Predictions]) -> list[Line2D]:
    """Return the legend entries of all classes that any method has cells of, and of the ring."""
    names = style.legend_names(next(iter(methods)).classes, 16)
    labels = sorted({int(label) for one in methods for label in np.unique(one.label)})
    dots = [style.class_dot(names[label], label, 4.0) for label in labels]
    if any(one.probabilities is not None for one in methods):
        dots.append(
            style.legend_dot("misclassified", 6.5, color=style.INK, marker="o", fillstyle="none")
        )
    return dots
