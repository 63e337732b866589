"""The paper's Table I, to print beside runs of the same method."""

from typing import NamedTuple


class PublishedRow(NamedTuple):
    """One row of Table I: its name there, and fractions under the keys of metrics.json."""

    name: str
    metrics: dict[str, float]


def _row(name: str, accuracy: float, *others: float) -> PublishedRow:
    """Take percentages in the table's order; Dice and Jaccard, where given, stand in the text."""
    keys = ("accuracy", "precision", "recall", "f1", "dice", "jaccard")
    values = (accuracy, *others)
    metrics = {
        f"test/{key}": round(value / 100, 4) for key, value in zip(keys, values, strict=False)
    }
    return PublishedRow(name, metrics)


TABLE_I: dict[str, PublishedRow] = {
    "gao": _row("Gao et al.", 96.76),
    "prasath": _row("Prasath et al.", 94.26),
    "vgg16": _row("VGG-16", 83.09, 85.13, 83.29, 83.41),
    "resnet50": _row("ResNet-50", 89.12, 89.93, 89.39, 89.56),
    "resnet50_t": _row("ResNet-50-T (w/o GANs)", 97.72, 97.66, 97.71, 97.68),
    "without_gm": _row("ResNet-50-T (w/o GM)", 97.94, 97.85, 97.73, 97.78),
    "proposed": _row("Proposed (w/ GANs and GM)", 98.16, 98.24, 98.06, 98.15, 96.40, 93.07),
    "segmentation": PublishedRow(
        "Proposed, section III-C", {"test/dice": 0.9640, "test/jaccard": 0.9307}
    ),
}
"""Method name (of `conf/method/`) to what Xie et al. (2019) print for it."""
