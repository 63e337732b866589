"""The classifier's features in two dimensions by t-SNE (the paper's Fig. 5)."""

import warnings

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from hep2gan.predictions import Predictions
from hep2gan.reports import style

PERPLEXITY = 30.0
MOST_CELLS = 3000
"""More cells than this are thinned out, for time and for legibility."""


def embed(features: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float64]:
    """Return (N, 2) coordinates of (N, D) features; the same seed gives the same ones.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the first 50 principal components, perplexity
    30 or a third of the cells where there are few.
    """
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
    rows = np.arange(len(predictions.label))
    if rows.size > MOST_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_CELLS, replace=False))
    points = embed(predictions.features[rows], seed)
    label = predictions.label[rows]
    figure = style.new_figure(style.COLUMN * 1.3, style.COLUMN)
    ax = figure.subplots()
    for kind, name in enumerate(predictions.classes):
        own = points[label == kind]
        if len(own):
            ax.scatter(
                own[:, 0],
                own[:, 1],
                s=11,
                color=style.look(kind).color,
                marker=style.look(kind).marker,
                linewidths=0,
                label=f"{style.shortened(name, 16)} ({len(own)})",
            )
    if predictions.probabilities is not None:
        lost = points[predictions.predicted[rows] != label]
        ax.scatter(
            lost[:, 0],
            lost[:, 1],
            s=46,
            facecolors="none",
            edgecolors=style.INK,
            linewidths=0.9,
            label=f"misread ({len(lost)})",
        )
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=style.FAINT, linewidth=0.8)
    title = f"{rows.size} of {len(predictions.label)} cells"
    ax.set_title("" if rows.size == len(predictions.label) else title, fontsize=style.SMALL)
    figure.legend(
        loc="outside right center", frameon=False, fontsize=style.SMALL, handletextpad=0.2
    )
    return figure
