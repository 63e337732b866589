"""Scores of the classifier: Table I's columns, mean class accuracy, one-vs-rest AUROC."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, multiclass_confusion_matrix
from torchmetrics.utilities.data import dim_zero_cat

from hep2gan.errors import Hep2ganError
from hep2gan.metrics.fixed_point import sum_states


class ClassificationMetrics(Metric):
    """Accuracy, macro precision, recall and F1, and mean class accuracy of K classes.

    All come from one (K, K) confusion matrix of counts, so they are exact over batches and
    processes. Macro averages run over the classes that occur in the truth or in the predictions,
    as scikit-learn's do; F1 is the mean of per-class F1 (the paper's Table I), not the harmonic
    mean of macro precision and recall. A class never predicted has precision 0.

    `mean_class_accuracy` averages recall over the classes that occur in the *truth* (scikit-learn's
    balanced accuracy, the ICPR contest's score). torchmetrics' macro recall also counts, as 0, a
    class that was predicted but is absent from the test set; the two agree when none is absent.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    confusion: Tensor
    """(K, K) int64 counts: rows are the true class, columns the predicted one."""

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")

    def update(self, scores: Tensor, label: Tensor) -> None:
        """Add B cells. scores: (B, K) probabilities or logits. label: (B,) int64 in [0, K).

        Raises Hep2ganError for scores of another shape, ValueError or RuntimeError (of
        torchmetrics) for labels out of range.
        """
        if scores.shape != (len(label), self.num_classes):
            raise Hep2ganError(
                f"class scores are {tuple(scores.shape)}",
                f"they must be (B, K) = ({len(label)}, {self.num_classes})",
            )
        self.confusion += multiclass_confusion_matrix(scores, label, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """Scalars in [0, 1], double precision; raises Hep2ganError before the first cell."""
        counts = self.confusion.cpu().double()
        if not counts.sum():
            raise Hep2ganError("no cells were classified", "a mean needs at least one cell")
        hits, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        occurs = (true + predicted) > 0
        values = {
            "accuracy": hits.sum() / counts.sum(),
            "precision": _divide(hits, predicted)[occurs].mean(),
            "recall": _divide(hits, true)[occurs].mean(),
            "f1": _divide(2 * hits, true + predicted)[occurs].mean(),
            "mean_class_accuracy": _divide(hits, true)[true > 0].mean(),
        }
        return sum_states({k: float(v) for k, v in values.items()}, self.confusion.device)


def _divide(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp(min=1)


class OneVsRestAUROC(Metric):
    """Area under each class's ROC curve against all others, (K,), over exact thresholds.

    NaN, rather than torchmetrics' 0, for a class that the truth does not hold (or holds nothing
    but): its curve does not exist. Average with `nanmean`. Keeps all probabilities it was given.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    probabilities: list[Tensor]
    label: list[Tensor]

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state("probabilities", [], dist_reduce_fx="cat")
        self.add_state("label", [], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, label: Tensor) -> None:
        """Add B cells. probabilities: (B, K) in [0, 1]. label: (B,) int64 in [0, K)."""
        # One value above 1 by rounding, and torchmetrics would take all for logits and squash them.
        self.probabilities.append(probabilities.clamp(0, 1))
        self.label.append(label)

    def compute(self) -> Tensor:
        """(K,) areas in [0, 1], NaN where undefined; raises ValueError before the first cell."""
        label, scores = dim_zero_cat(self.label), dim_zero_cat(self.probabilities)
        return torch.stack([_area(scores[:, k], label == k) for k in range(self.num_classes)])


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    if positive.all() or not positive.any():
        return scores.new_tensor(torch.nan)
    return binary_auroc(scores, positive.long())


class Mistake(NamedTuple):
    """How often one class was taken for another."""

    true: str
    predicted: str
    cells: int


def list_mistakes(
    confusion: Tensor, classes: Sequence[str], limit: int | None = None
) -> list[Mistake]:
    """Kinds of mistakes that happened, most frequent first, then in class order.

    confusion: (K, K) counts, rows the true class. classes: K names.
    """
    found = [
        Mistake(classes[true], classes[predicted], cells)
        for true, row in enumerate(confusion.tolist())
        for predicted, cells in enumerate(row)
        if true != predicted and cells
    ]
    return sorted(found, key=lambda mistake: -mistake.cells)[:limit]
