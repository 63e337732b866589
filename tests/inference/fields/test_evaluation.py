"""Fields with truth: what counts, what is left out, what is written and refused."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from hep2gan.data.prepare import pack_store
from hep2gan.data.readers.fields import FieldsSource
from hep2gan.data.readers.image import ImageReading
from hep2gan.data.readers.manifest import ManifestSource
from hep2gan.data.splits import Split
from hep2gan.data.transforms.normalisation import Normalisation
from hep2gan.errors import Hep2ganError
from hep2gan.inference.fields.evaluation import (
    FieldMethod,
    TestedCells,
    evaluate_fields,
    require_fields,
)
from hep2gan.inference.fields.predictor import FieldPredictor
from hep2gan.inference.load import TorchBackend
from hep2gan.inference.predict import BackendOutput
from hep2gan.models.output import ModelOutput
from hep2gan.runs.fields import fields_test
from hep2gan.runs.folder import RunFolder
from hep2gan.training.external import evaluate_external
from tests.helpers import tiny
from tests.helpers.field_sets import CENTRES, labelled_fields
from tests.helpers.raw_sets import save, write_csv
from tests.helpers.report_fixtures import make_predictions, write_run

CELLS = len(CENTRES)


class BrightPieces:
    """Finds the discs of the helper, which are brighter than 45, to the pixel."""

    def find(self, image, diameter):
        return ndimage.label(image > 45)[0].astype(np.int32)


@pytest.fixture
def run(tmp_path):
    """A finished run of three classes, of which a and b are the first two."""
    return RunFolder(write_run(tmp_path / "run", make_predictions((4, 4, 4), size=32)))


def evaluate(run, root, *, training=None, backend=None, classes=("a", "b"), **options):
    """Test a run on the fields of a folder; each true crop is taken for class 0."""
    source = FieldsSource(
        name=root.name, root=str(root), store=f"{root}_store", size=32, keep_implausible=True,
        **options,
    )  # fmt: skip
    store = pack_store(source, 1)
    own = tuple(run.split_summary()["counts"]["train"])
    network = backend or TorchBackend(tiny.task(), Normalisation(), torch.device("cpu"))
    method = FieldMethod(
        finder=BrightPieces(), name="BrightPieces", nucleus=22.0, diameter=22.0, margin=10,
        predictor=FieldPredictor(network, own, 32, 10), reading=ImageReading(),
    )  # fmt: skip

    def beside(cells, predictions):
        found = evaluate_fields(
            source.read_fields(1).fields, TestedCells(cells, predictions), method, own, 10,
            lambda done, total: None,
        )  # fmt: skip
        return partial(found.write, figures=True)

    def predict(store, split):
        certain = torch.eye(3)[torch.zeros(len(split.test), dtype=torch.int64)]
        return torch.from_numpy(split.test), ModelOutput(None, certain, None, None)

    evaluate_external(
        run, source, store, "other", predict, training=training, figures=False, beside=beside,
        classes=dict(zip(classes, own, strict=False)),
    )  # fmt: skip
    return fields_test(run.path, "other")


def lines(run):
    with (run.external / "other/fields.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_cell_is_found(run, tmp_path):
    """The networks of the helper take all cells for one class; true crops of class 0 are right."""
    test = evaluate(run, labelled_fields(tmp_path / "set"))
    scores = test.scores
    loose, strict = scores.detection
    assert (loose.matched, loose.extra, loose.missed) == (4 * CELLS, 0, 0)
    assert loose.average_precision == strict.average_precision == 1
    assert scores.outline_dice == 1
    assert 0 <= scores.mask_dice < 1
    found = scores.classification
    assert (found.cells, found.right_on_true, found.all_right_on_true) == (20, 10, 10)
    assert found.right in (0, 10)
    assert [one.cells for one in scores.classes.values()] == [10, 10]
    assert [one.specimen for one in scores.specimens.answers] == ["s0", "s1"]
    # The fifth disc of each field is cut by its border, so that four have no flag.
    assert [one.cells for one in scores.specimens.answers] == [10, 10]
    assert (test.finder, test.diameter, test.margin, scores.left_out) == (
        "BrightPieces",
        22,
        10,
        {},
    )
    first = lines(run)[0]
    assert (first["field"], first["specimen"], first["cells"]) == ("00001_p0", "s0", "5")
    assert first["average_precision_50"] == "1.000000"
    with Image.open(run.external / "other/figures/fields.png") as figure:
        assert figure.width > 100
    assert "4 fields, cells found by BrightPieces" in test.lines()[0]


def test_every_generated_mask_counts(run, tmp_path):
    """Networks whose masks are all full: the whole crop against a disc, the mean over all cells."""

    def full(image, levels):
        return BackendOutput(np.ones(image.shape, np.float32), np.full((len(image), 3), 1 / 3))

    root = labelled_fields(tmp_path / "set", 2)
    expected = []
    with Image.open(root / "00001_p0_labels.png") as opened:
        labels = np.array(opened)
    for number in range(1, CELLS + 1):
        cell = labels == number
        rows, columns = np.nonzero(cell.any(axis=1))[0], np.nonzero(cell.any(axis=0))[0]
        high = min(rows[-1] + 11, labels.shape[0]) - max(rows[0] - 10, 0)
        wide = min(columns[-1] + 11, labels.shape[1]) - max(columns[0] - 10, 0)
        expected.append(2 * cell.sum() / (cell.sum() + high * wide))
    scores = evaluate(run, root, backend=full, classes=("a",)).scores
    assert scores.mask_dice == pytest.approx(np.mean(expected))


def test_cells_that_the_set_leaves_out_are_no_mistakes(run, tmp_path):
    """Two without a class, two cut by the border: they are found, and count neither way."""
    root = labelled_fields(tmp_path / "set", 2)
    given = [["image", "cell", "label"]]
    given += [
        [f"00001_p{n}.png", cell, "" if cell == 2 else "a"] for n in (0, 1) for cell in range(1, 6)
    ]
    write_csv(root / "cells.csv", given)
    scores = evaluate(run, root, border=False, classes=("a",)).scores
    assert (scores.detection[0].matched, scores.detection[0].extra) == (6, 0)
    assert {reason: (one.cells, one.found) for reason, one in scores.left_out.items()} == {
        "without a class in the set": (2, 2),
        "at the border of their field": (2, 2),
    }
    assert lines(run)[0]["left_out_found"] == "2"


def test_a_class_that_the_run_lacks_is_left_out(run, tmp_path):
    """Fields 00002 are of class b, which is no class of the run."""
    test = evaluate(run, labelled_fields(tmp_path / "set"), classes=("a",))
    assert test.scores.detection[0].matched == 2 * CELLS
    assert test.left_out == dict.fromkeys(("00002_p0", "00002_p1"), "none of its cells is tested")


def test_a_cell_that_no_label_image_has_is_extra_and_one_that_is_dark_is_missed(run, tmp_path):
    root = labelled_fields(tmp_path / "set", 2)
    with Image.open(root / "00001_p0_labels.png") as opened:
        labels = np.array(opened)
    save(np.where(labels == 1, 0, labels), root / "00001_p0_labels.png")
    with Image.open(root / "00001_p1.png") as opened:
        image = np.array(opened)
    with Image.open(root / "00001_p1_labels.png") as opened:
        image[np.array(opened) == 3] = 30
    save(image, root / "00001_p1.png")
    scores = evaluate(run, root, classes=("a",)).scores
    loose = scores.detection[0]
    assert (loose.matched, loose.extra, loose.missed) == (8, 1, 1)
    assert loose.average_precision == 8 / 10
    assert scores.classification.found_and_right == scores.classification.right / 9


def test_fields_whose_cells_were_in_training_are_left_out(run, tmp_path):
    """Training had the cells of the first field: the others of its specimen still count."""
    root = labelled_fields(tmp_path / "set")
    trained = labelled_fields(tmp_path / "trained", 1)
    source = FieldsSource(
        name="trained", root=str(trained), store=str(tmp_path / "own"), size=32,
        keep_implausible=True,
    )  # fmt: skip
    own = pack_store(source, 1)
    split = Split(np.arange(len(own)), np.empty(0, np.int64), np.empty(0, np.int64), {})
    test = evaluate(run, root, training=(own, split))
    assert test.left_out == {"00001_p0": "5 of its 5 cells were in training"}
    assert test.scores.fields == 3
    assert test.scores.detection[0].matched == 3 * CELLS
    assert "left out: field 00001_p0, 5 of its 5 cells were in training" in test.lines()


def test_where_one_cell_was_in_training_the_rest_of_its_field_does_not_count(run, tmp_path):
    root = labelled_fields(tmp_path / "set", 2)
    source = FieldsSource(
        name="own", root=str(root), store=str(tmp_path / "own"), size=32, keep_implausible=True
    )
    own = pack_store(source, 1)
    split = Split(np.array([0, 7]), np.empty(0, np.int64), np.empty(0, np.int64), {})
    with pytest.raises(
        Hep2ganError, match=r"no field of 2 fields can be scored \(00001_p0: 1 of i"
    ):
        evaluate(run, root, training=(own, split), classes=("a",))
    # Nothing of the test is there.
    assert not (run.external / "other").exists()


def test_a_run_that_only_segments_has_no_classes(run, tmp_path):
    task = tiny.task(classify=False, mixture=False)
    network = TorchBackend(task, Normalisation(), torch.device("cpu"))
    root = labelled_fields(tmp_path / "set", 2)
    scores = evaluate(run, root, backend=network, classes=("a",)).scores
    assert scores.classification is scores.specimens is None
    assert scores.mask_dice is not None
    assert "right" not in lines(run)[0]


def test_single_cells_are_refused():
    with pytest.raises(Hep2ganError, match=r"data\.name=mine is a set of single cells"):
        require_fields(ManifestSource(name="mine", root=".", store="s", size=32))
    with pytest.raises(Hep2ganError, match=r"data\.root is not set.*add data\.root=FOLDER"):
        require_fields(FieldsSource(name="mine", store="s", size=32))
