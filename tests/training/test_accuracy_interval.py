"""The test of a run: intervals of its accuracy, and what it keeps of the validation part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hep2gan.data.prepare import open_store_of_run
from hep2gan.data.splits import Split
from hep2gan.inference.load import load_run
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Trust
from hep2gan.statistics.significance import wilson
from hep2gan.training.evaluation import accuracy_interval, evaluate_run
from hep2gan.training.setup import build_data
from tests.helpers.commands import inside_copy
from tests.helpers.report_fixtures import make_predictions

RUN = "runs/default/proposed/seed0"


@pytest.fixture(scope="module")
def tested(trained_run, tmp_path_factory):
    """The run tested twice, with its test cells in two parts, as test and validation each."""
    with inside_copy(tmp_path_factory, trained_run):
        trained = load_run(Path(RUN))
        store = open_store_of_run(trained.run, None)
        own = Split.load(trained.run.path, store)
        parts = own.test[:12], own.test[12:]
        found = []
        for name, test, validation in (("one", *parts), ("two", *parts[::-1])):
            run = RunFolder(Path(name))
            run.path.mkdir()
            data = build_data(trained.config, store, Split(own.train, validation, test, {}))
            evaluate_run(trained.task, data, run, trained.config, figures=False)
            assert data.split.validation is validation
            found.append((Predictions.load(run.predictions_file), Trust.load(run.trust_file)))
        yield found


def test_validation_cells_are_predicted_as_test_cells_are(tested):
    (one, trust), (two, _) = tested
    np.testing.assert_array_equal(one.validation_label, two.label)
    np.testing.assert_array_equal(one.validation_specimen, two.specimen)
    # In batches of other cells the last bits differ.
    np.testing.assert_allclose(one.validation_probabilities, two.probabilities, atol=1e-5)
    np.testing.assert_allclose(one.validation_distances, two.distances, rtol=1e-4)
    assert (trust.part, trust.cells) == ("validation", 12)


def test_the_nearest_mean_of_most_cells_is_that_of_their_class(tested):
    (one, _), _ = tested
    nearest = one.distances.argmin(axis=1)
    assert (nearest == one.predicted).mean() > 0.5
    assert one.train_specimens.tolist() == sorted(set(one.train_specimens.tolist()))


def test_intervals_of_accuracy_are_over_the_largest_unit_that_is_known():
    made = make_predictions(counts=(12, 12), size=16)
    certain = np.eye(2, dtype=np.float32)[made.label]
    certain[[0, 4, 5, 13]] = certain[[0, 4, 5, 13], ::-1]
    made = replace(made, probabilities=certain)
    right = int((made.predicted == made.label).sum())
    cells = {
        f"test/accuracy_cells_{end}": value for end, value in wilson(right, 24)._asdict().items()
    }
    found = accuracy_interval(made)
    assert found | cells == found
    assert not any("specimens" in key for key in found)
    specimen = np.arange(24) // 3
    known = accuracy_interval(replace(made, specimen=specimen))
    assert known | cells == known
    low, high = (known[f"test/accuracy_specimens_{end}"] for end in ("low", "high"))
    assert low < 20 / 24 < high
    assert right == 20
    assert "test/mean_class_accuracy_specimens_low" in known
    blocks = accuracy_interval(replace(made, block=specimen))
    assert (blocks["test/accuracy_blocks_low"], blocks["test/accuracy_blocks_high"]) == (low, high)
    assert accuracy_interval(replace(made, probabilities=None)) == {}
