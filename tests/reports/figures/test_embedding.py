import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from hep2gan.reports.figures import embedding, style
from hep2gan.reports.figures.embedding import embed, plot_embedding, plot_embedding_by_method


def clouds(figure):
    return {one.get_label(): one for one in figure.axes[0].collections}


@pytest.fixture(scope="module")
def figure(predictions):
    return plot_embedding(predictions)


def test_every_cell_is_a_point_of_its_class_colour(figure, predictions):
    points = clouds(figure)
    coordinates = embed(predictions.features)
    for label, name in enumerate(predictions.classes):
        own = predictions.label == label
        cloud = points[f"{name} ({own.sum()})"]
        np.testing.assert_allclose(cloud.get_offsets(), coordinates[own])
        np.testing.assert_allclose(
            cloud.get_facecolor()[0], to_rgba(style.series_style(label).color)
        )
    assert sum(len(one.get_offsets()) for one in points.values()) == len(predictions.label) + 6


def test_misclassified_cells_are_ringed(figure, predictions):
    wrong = predictions.predicted != predictions.label
    assert wrong.sum() == 6
    ring = clouds(figure)["misclassified (6)"]
    np.testing.assert_allclose(ring.get_offsets(), embed(predictions.features)[wrong])
    assert len(ring.get_facecolor()) == 0
    assert ring.get_edgecolor()[0, 3] == 1


def test_the_same_seed_gives_the_same_points_and_clusters_stay_together(predictions):
    first = embed(predictions.features, seed=3)
    np.testing.assert_array_equal(first, embed(predictions.features, seed=3))
    line = predictions.features[:20, :1]
    np.testing.assert_array_equal(embed(line, seed=3), embed(line, seed=3))
    distance = np.linalg.norm(first[:, None] - first[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = predictions.label[distance.argmin(axis=1)]
    assert (nearest == predictions.label).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dimensions", [1, 2, 60])
def test_few_cells_work(count, dimensions):
    features = np.random.default_rng(0).normal(size=(count, dimensions)).astype(np.float32)
    points = embed(features)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_equal_features_do_not_break_it():
    assert np.isfinite(embed(np.ones((5, 4), np.float32))).all()


def test_perplexity_stays_below_the_number_of_cells(monkeypatch):
    seen = []

    real = embedding.TSNE

    def watched(*args, **keywords):
        seen.append(keywords["perplexity"])
        return real(*args, **keywords)

    monkeypatch.setattr(embedding, "TSNE", watched)
    rng = np.random.default_rng(0)
    for count in (4, 13, 100):
        embed(rng.normal(size=(count, 3)).astype(np.float32))
    assert seen == [1.0, 4.0, 30.0]


def test_many_cells_are_thinned_out_and_the_figure_says_so(predictions, monkeypatch):
    monkeypatch.setattr(embedding, "MOST_CELLS", 20)
    figure = plot_embedding(dataclasses.replace(predictions, probabilities=None))
    assert sum(len(one.get_offsets()) for one in clouds(figure).values()) == 20
    assert figure.axes[0].get_title() == "20 of 62 cells"


def test_without_features_there_is_nothing_to_draw(predictions):
    assert plot_embedding(dataclasses.replace(predictions, features=None)) is None


def test_figure_5_has_a_panel_a_method_and_one_key(methods):
    figure = plot_embedding_by_method(methods)
    for ax, (name, one) in zip(figure.axes, methods.items(), strict=True):
        wrong = one.predicted != one.label
        assert ax.get_title() == f"{name}\n{wrong.sum()} of 62 cells misclassified"
        points = {cloud.get_label(): cloud.get_offsets() for cloud in ax.collections}
        coordinates = embed(one.features)
        for label, kind in enumerate(one.classes):
            own = one.label == label
            np.testing.assert_allclose(points[f"{kind} ({own.sum()})"], coordinates[own])
        np.testing.assert_allclose(points[f"misclassified ({wrong.sum()})"], coordinates[wrong])
    (key,) = figure.legends
    assert [t.get_text() for t in key.get_texts()] == [*one.classes, "misclassified"]
    markers = [line.get_marker() for line in key.get_lines()]
    assert len(set(markers[:6])) == 6


def test_figure_5_leaves_out_methods_without_features(methods, predictions):
    bare = dataclasses.replace(predictions, features=None)
    unread = dataclasses.replace(predictions, probabilities=None)
    (ax,) = plot_embedding_by_method({"bare": bare, "unread": unread}).axes
    assert ax.get_title() == "unread\n62 cells"
    assert plot_embedding_by_method({"bare": bare}) is None


def test_the_same_features_are_embedded_once(monkeypatch):
    calls = []
    real = embedding._tsne
    monkeypatch.setattr(embedding, "_tsne", lambda *a: calls.append(a) or real(*a))
    monkeypatch.setattr(embedding, "_CACHE", {})
    features = np.random.default_rng(5).normal(size=(12, 4)).astype(np.float32)
    first = embedding.embed(features)
    first[:] = 0  # The caller's own.
    second, again = embedding.embed(features.copy()), embedding.embed(features)
    assert len(calls) == 1
    assert np.array_equal(second, again)
    assert second.any()
    embedding.embed(features, seed=1)
    embedding.embed(features + np.float32(1e-3))
    assert len(calls) == 3
