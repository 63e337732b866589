"""The test of a run: what it keeps of the validation part."""

from pathlib import Path

import numpy as np
import pytest

from hep2gan.data.prepare import open_store_of_run
from hep2gan.data.splits import Split
from hep2gan.inference.load import load_run
from hep2gan.runs.folder import RunFolder
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Trust
from hep2gan.training.evaluation import evaluate_run
from hep2gan.training.setup import build_data
from tests.helpers.commands import inside_copy

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


def test_specimens_of_the_training_are_kept(tested):
    (one, trust), _ = tested
    store = open_store_of_run(RunFolder(Path(RUN)), None)
    train = Split.load(Path(RUN), store).train
    assert one.train_specimens.tolist() == sorted(set(store.specimen[train].tolist()))
    # A random split: hardly a specimen of the test has no cell in training.
    unseen = set(one.specimen.tolist()) - set(one.train_specimens.tolist())
    assert trust.unlike is None
    assert trust.no_limits == "the validation part has 12 cells, limits need 40"
    assert len(unseen) < 6
