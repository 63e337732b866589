"""What the test's predictions become on the dashboard: tables and pictures, read back."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from hep2gan.training.loggers import build_loggers
from hep2gan.training.loggers.wandb_panels import (
    POINTS,
    WORST,
    result_panels,
    shown_cells,
    worst_cells,
)
from tests.helpers.configs import parsed
from tests.helpers.offline import runs, without_wandb_settings
from tests.helpers.report_fixtures import make_predictions


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    without_wandb_settings(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def made():
    return make_predictions()


def logged(folder, predictions):
    """Keys to the tables of a run, as they lie in its folder."""
    (logger,) = build_loggers(parsed("logger=wandb"), folder)
    logger.log_results({"test/dice": 0.5}, {}, predictions)
    logger.finish(0)
    (run,) = runs(folder)
    (files,) = folder.glob("wandb/offline-run-*/files")
    tables = {
        key.removesuffix(".path"): json.loads((files / value).read_text())
        for row in run["history"]
        for key, value in row.items()
        if key.endswith(".path")
    }
    return tables, files


def test_tables_are_those_of_the_predictions(tmp_path, made):
    tables, files = logged(tmp_path, made)
    confusion, roc = tables["test/confusion_matrix_table"], tables["test/roc_table"]
    assert len(confusion["data"]) == 36
    for true, predicted, count in confusion["data"]:
        is_pair = (made.label == made.classes.index(true)) & (
            made.predicted == made.classes.index(predicted)
        )
        assert count == is_pair.sum()
    assert {row[0] for row in roc["data"]} == set(made.classes)
    assert len(roc["data"]) < len(made.label) * 6
    for name in made.classes:
        curve = [row[1:] for row in roc["data"] if row[0] == name]
        assert curve[0] == [0, 0]
        assert curve[-1] == [1, 1]
    cells = tables["test/worst_cells"]
    assert len(cells["data"]) == WORST
    dice = made.dice
    for row in cells["data"]:
        cell = dict(zip(cells["columns"], row, strict=True))
        place = made.id.tolist().index(cell["id"])
        assert cell["specimen"] == made.specimen[place]
        assert cell["true"] == made.classes[made.label[place]]
        assert cell["predicted"] == made.classes[made.predicted[place]]
        assert cell["dice"] == pytest.approx(dice[place])
        scores = [cell[f"p({name})"] for name in made.classes]
        assert scores == pytest.approx(made.probabilities[place].tolist())
    pictures = [Image.open(path) for path in files.rglob("*worst_pictures*.png")]
    assert len(pictures) == WORST
    assert all(picture.mode == "RGB" and min(picture.size) >= 256 for picture in pictures)


def test_the_table_of_predictions_is_whole_or_sampled_with_the_worst(tmp_path, made, caplog):
    settings = parsed("logger=wandb").logger
    total = len(made.label)
    tables, _ = logged(tmp_path / "whole", made)
    assert [row[1] for row in tables["test/predictions"]["data"]] == made.id.tolist()
    assert "table of predictions" not in caplog.text
    with caplog.at_level("INFO"):
        (logger,) = build_loggers(parsed("logger=wandb", "logger.table_cells=25"), tmp_path / "few")
        logger.log_results({"test/dice": 0.5}, {}, made)
        logger.finish(0)
    assert f"holds 25 of {total} test cells" in caplog.text
    (run,) = runs(tmp_path / "few")
    assert run["summary"]["test/cells_in_table"] == 25
    assert settings.table_cells > total
    rows = shown_cells(made, 25)
    assert len(set(rows)) == 25
    assert set(worst_cells(made)) <= set(rows)
    assert shown_cells(made, 25) == rows
    assert shown_cells(made, 0) == []
    assert sorted(worst_cells(made, 3)) == shown_cells(made, 3)


def test_the_worst_are_misread_or_badly_segmented_and_none_is_twice(made):
    rows = worst_cells(made)
    assert len(set(rows)) == len(rows) == WORST
    wrong = made.predicted != made.label
    lowest = np.argsort(made.dice, kind="stable")[:WORST]
    assert all(wrong[row] or row in lowest for row in rows)
    assert rows[1] == lowest[0] or rows[0] == lowest[0]


@pytest.mark.parametrize(
    ("absent", "keys"),
    [
        ({"probabilities": None}, {"test/worst_cells", "test/worst_pictures"}),
        (
            {"mask": None},
            {"test/confusion_matrix", "test/roc", "test/worst_cells", "test/worst_pictures"},
        ),
        ({"truth": None, "mask": None, "probabilities": None}, set()),
        ({"truth": None, "probabilities": None}, set()),
    ],
)
def test_methods_with_fewer_parts(made, absent, keys):
    assert result_panels(dataclasses.replace(made, **absent)).keys() == keys


def test_cells_without_true_masks_are_shown_without_a_dice(made):
    table = result_panels(dataclasses.replace(made, truth=None))["test/worst_cells"]
    dice = table.columns.index("dice")
    assert table.data
    assert {row[dice] for row in table.data} == {None}


def test_no_table_of_no_cells(made):
    sure = np.eye(6, dtype=np.float32)[made.label]
    assert worst_cells(dataclasses.replace(made, mask=None, probabilities=sure)) == []


def test_curves_of_many_corners_are_thinned_and_keep_their_ends():
    generator = np.random.default_rng(0)
    noise = generator.random((4000, 2)).astype(np.float32)
    few = make_predictions(counts=(2, 2))
    shape = {name: np.zeros((4000, 2, 2), np.uint8) for name in ("image", "truth")}
    many = dataclasses.replace(
        few, **shape, id=np.arange(4000).astype(str), specimen=np.full(4000, -1),
        label=np.arange(4000) % 2, crop_size=np.ones((4000, 2), np.int64), mask=None,
        features=None, probabilities=noise / noise.sum(axis=1, keepdims=True),
    )  # fmt: skip
    many.check()
    rows = result_panels(many)["test/roc"].table.data
    assert len(rows) == 2 * POINTS
    assert rows[0][1:] == [0, 0]
    assert rows[-1][1:] == [1, 1]
