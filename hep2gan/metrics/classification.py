"""Scores of the classifier: Table I's columns, mean class accuracy, one-vs-rest AUROC."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, multiclass_confusion_matrix

from hep2gan.errors import Hep2ganError


class ClassificationMetrics(Metric):
    """Accuracy, macro precision, recall and F1, and mean class accuracy of K classes.

    All come from one (K, K) confusion matrix of counts, so they are exact over batches and
    processes. Macro averages are means over the classes that occur in the truth or in the
    predictions, as scikit-learn's; F1 is the mean of per-class F1 (the paper's Table I), not the
    harmonic mean of macro precision and recall. A class never predicted has precision 0.

    `mean_class_accuracy` averages recall over the classes that occur in the *truth* (scikit-learn's
    balanced accuracy, the ICPR contest's score). torchmetrics' macro recall also counts, as 0, a
    class that was predicted but is absent from the test set; the two agree when none is absent.

    Args:
        classes: K names in the order of the labels.
        kwargs: Options of torchmetrics.Metric.

    Attributes:
        confusion: (K, K) int64 counts: rows are the true class, columns the predicted one.
    """

    confusion: Tensor

    def __init__(self, classes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(classes)
        zeros = torch.zeros(len(classes), len(classes), dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")

    def update(self, scores: Tensor, label: Tensor) -> None:
        """Add B cells.

        Args:
            scores: (B, K) probabilities or logits.
            label: (B,) true classes, int64 in [0, K).

        Raises:
            Hep2ganError: If scores have another shape.
            ValueError: If labels are out of range; by torchmetrics.
            RuntimeError: If labels are out of range; by torchmetrics.
        """
        if scores.shape != (len(label), len(self.classes)):
            raise Hep2ganError(
                f"class scores are {tuple(scores.shape)}",
                f"they must be (B, K) = ({len(label)}, {len(self.classes)})",
            )
        self.confusion += multiclass_confusion_matrix(scores, label, len(self.classes))

    def compute(self) -> dict[str, float]:
        """Compute the scores in [0, 1].

        Returns:
            `accuracy`, `precision`, `recall`, `f1`, `mean_class_accuracy`, and `accuracy/<class>`,
            the recall of each class that occurs in the truth.

        Raises:
            Hep2ganError: If no cell was added.
        """
        counts = self.confusion.cpu().double()
        if not counts.sum():
            raise Hep2ganError("no cells were classified", "a mean needs at least one cell")
        correct, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        occurs, recall = (true + predicted) > 0, _divide(correct, true)
        values = {
            "accuracy": correct.sum() / counts.sum(),
            "precision": _divide(correct, predicted)[occurs].mean(),
            "recall": recall[occurs].mean(),
            "f1": _divide(2 * correct, true + predicted)[occurs].mean(),
            "mean_class_accuracy": recall[true > 0].mean(),
        }
        by_class = zip(self.classes, recall, true, strict=True)
        values |= {f"accuracy/{name}": value for name, value, cells in by_class if cells}
        return {name: float(value) for name, value in values.items()}


def _divide(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=1)


def one_vs_rest_auroc(probabilities: Tensor, label: Tensor) -> Tensor:
    """Compute the area under each class's ROC curve against all others, over exact thresholds.

    Args:
        probabilities: (N, K) class probabilities in [0, 1].
        label: (N,) true classes, int64 in [0, K).

    Returns:
        (K,) areas in [0, 1]; NaN, rather than torchmetrics' 0, for a class of no cell or of all
        cells, whose curve does not exist. Average with `nanmean`.
    """
    # For a value above 1, by rounding, torchmetrics would treat all as logits.
    scores = probabilities.clamp(0, 1)
    return torch.stack([_area(scores[:, k], label == k) for k in range(scores.shape[1])])


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    if positive.all() or not positive.any():
        return scores.new_tensor(torch.nan)
    return binary_auroc(scores, positive.long())
