import dataclasses

import pytest

from hep2gan.reports.figures import embedding
from hep2gan.reports.figures.embedding import plot_embedding, plot_embedding_by_method
from hep2gan.reports.figures.roc import plot_roc, plot_roc_by_method
from hep2gan.reports.figures.style import wrap_headings


def test_headings_are_cut_and_stay_apart():
    assert wrap_headings(["VGG-16", "a b"], 10) == ["VGG-16", "a b"]
    assert wrap_headings(["ResNet-50 from scratch"], 12) == ["ResNet-50\nfrom scratch"]
    assert wrap_headings(["x" * 40], 10) == ["x" * 10 + "\n" + "x" * 9 + "…"]
    alike = wrap_headings(["x" * 40 + "1", "x" * 40 + "2"], 10)
    assert [name[:3] for name in alike] == ["1 x", "2 x"]
    assert wrap_headings(["cost $5"], 10) == [r"cost \$5"]


def alone(plot):
    """The figure of one method, asked for as those of several are."""
    return lambda methods: plot(methods["a"])


@pytest.mark.parametrize(
    "plot", [plot_roc_by_method, plot_embedding_by_method, alone(plot_roc), alone(plot_embedding)]
)
@pytest.mark.parametrize(
    ("start", "others", "shown"),
    [
        ("plate_of_", "plate_of_", "256_wells_large"),
        ("plate_of_", "", "0 plate_of_256_wells_large"),
    ],
)
def test_classes_that_begin_alike_are_told_apart_in_keys(
    predictions, monkeypatch, plot, start, others, shown
):
    monkeypatch.setattr(embedding, "embed", lambda features: features[:, :2])
    plates = [f"{start}256_wells_{size}" for size in ("large", "medium", "small")]
    named = dataclasses.replace(
        predictions, classes=(*plates, *(f"{others}{name}" for name in "abc"))
    )
    figure = plot({"a": named})
    (legend,) = figure.legends or [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    texts = [text.get_text().partition(" (")[0] for text in legend.get_texts()]
    texts = [text for text in texts if text != "misclassified"]
    assert len(set(texts)) == len(texts) == 6
    assert shown.startswith(texts[0].rstrip("…"))
