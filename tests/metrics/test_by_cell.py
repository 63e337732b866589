from dataclasses import replace

import numpy as np
import pytest

from hep2gan.metrics.by_cell import baseline_scores, outline_scores
from hep2gan.metrics.evaluation import compute_test_metrics
from tests.helpers.report_fixtures import make_predictions


@pytest.fixture(scope="module")
def made():
    found = make_predictions(counts=(3, 2), size=32)
    return replace(found, mean_mask=found.truth.mean(axis=0).astype(np.float32))


def test_means_over_cells_are_the_metrics_of_the_run(made):
    made = replace(made, crop_margin=np.array([4.0, 0.05]))
    metrics = compute_test_metrics(made, margin=4.0, margin_share=0.05)
    f1, hd95 = outline_scores(made.foreground, made.truth > 0, made.crop_size)
    assert f1.mean() == pytest.approx(metrics["test/boundary_f1"])
    assert hd95.mean() == pytest.approx(metrics["test/hd95"])
    scores = baseline_scores(made)
    names = {key.removeprefix("baseline/") for key in metrics if key.startswith("baseline/")}
    assert set(scores.dtype.names) == {
        name for name in names if name.endswith(("_dice", "_jaccard", "_boundary_f1", "_hd95"))
    }
    for name in scores.dtype.names:
        assert scores[name].mean() == pytest.approx(metrics[f"baseline/{name}"], rel=1e-6)


def test_without_the_margin_or_true_masks_no_baseline_is_scored(made):
    assert baseline_scores(made) is None
    margin = np.array([4.0, 0.0])
    assert baseline_scores(replace(made, truth=None, mask=None, crop_margin=margin)) is None
