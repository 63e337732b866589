"""hep2gan-evaluate on whole fields: from the command line to the report."""

import csv
from pathlib import Path

import pytest

from hep2gan.cli import evaluate, pack, report, train
from hep2gan.runs.external import external_tests
from hep2gan.runs.fields import fields_test
from tests.helpers.commands import call, folder_after
from tests.helpers.field_sets import CENTRES, labelled_fields
from tests.helpers.started import NETS

RUN = "runs/default/proposed/seed0"
FINDER = (
    "cells._target_=tests.inference.fields.test_evaluation.BrightPieces",
    "trusted=[tests]",
)
DATA = ("data=fields", "data.root=fields", "data.keep_implausible=true", "figures=false")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run that was trained on four fields, and these with four more."""
    with folder_after(tmp_path_factory) as folder:
        labelled_fields(folder / "own")
        data = ("data=fields", "data.root=own", "data.size=32", "data.name=own")
        assert call(pack, *data, "data.keep_implausible=true") == 0
        options = ("scale=laptop", "split.test_fraction=0.25", "trainer.max_epochs=1", *NETS)
        assert call(train, *data, *options, "trainer.batch_size=4", "data.size=32") == 0
        labelled_fields(folder / "fields", 8)
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.mark.integration
def test_fields_beside_true_crops(capsys):
    """Outlines found to the pixel are the true crops: the classes are the same, cell for cell."""
    assert call(evaluate, RUN, *DATA, "as=eight", *FINDER) == 0
    said = capsys.readouterr().out
    test = fields_test(Path(RUN), "eight")
    trained = [name for name, reason in test.left_out.items() if "were in training" in reason]
    assert len(trained) == 4
    assert test.scores.fields == 4
    assert test.scores.detection[0].matched == 4 * len(CENTRES)
    assert test.scores.detection[0].average_precision == 1
    found = test.scores.classification
    assert found.right == found.right_on_true
    assert found.difference == 0
    assert test.margin == test.true_margin == 10
    assert "accuracy of found cells" in said
    assert "4 fields, cells found by BrightPieces for nuclei of" in said
    with Path(RUN, "external/eight/fields.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert call(report, RUN, "output=r/report.html") == 0
    assert ">Whole fields</h2>" in Path("r/report.html").read_text()
    # A quarter of the run's own cells were not in training, so that they are among the true crops.
    # Without cells=, the same test has no fields again.
    assert call(evaluate, RUN, *DATA, "as=eight", *NETS[:1]) == 0
    assert fields_test(Path(RUN), "eight") is None
    assert external_tests(Path(RUN))["eight"].tested == 5 * len(CENTRES)
