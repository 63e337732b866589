"""hep2gan-predict with what the test of a run found of how far to trust a cell."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hep2gan.api.runs import load_run
from hep2gan.cli import evaluate, predict
from hep2gan.runs.predictions import Predictions
from hep2gan.runs.trust import Trust
from hep2gan.statistics.calibration import apply_temperature, normalized_entropy
from hep2gan.statistics.trust import fit_trust
from tests.helpers.commands import call, inside_copy
from tests.helpers.made_up_trust import LIMIT

RUN = Path("runs/default/proposed/seed0")
CELLS = "stores/synthetic_96_0_lab0"


@pytest.fixture(scope="module")
def inside(trained_run, tmp_path_factory):
    with inside_copy(tmp_path_factory, trained_run):
        for number in range(1, 41):
            Path("cells").mkdir(exist_ok=True)
            shutil.copy(f"{CELLS}/{number:05d}.png", "cells")
        yield


@pytest.fixture
def limited(inside):
    """The run with what it has too few test cells for: a temperature, and limits between cells."""
    trust = Trust.load(RUN / "trust.json")
    made = replace(trust, temperature=2.0, cells=48)
    made.save(RUN / "trust.json")
    rows = predicted("to_divide")
    squared, entropy = (
        float(np.quantile([float(row[name]) ** power for row in rows], 0.6))
        for name, power in (("distance", 2), ("entropy", 1))
    )
    limits = replace(LIMIT, squared=squared, entropy=entropy, false_alarms_unseen=None)
    replace(made, unlike=limits, no_limits="").save(RUN / "trust.json")
    yield limits
    trust.save(RUN / "trust.json")


def predicted(output, *words):
    options = (f"output={output}", "overlays=false", "masks=false", *words)
    assert call(predict, str(RUN), "cells", *options) == 0
    with Path(output, "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def probabilities(rows, classes):
    return np.array([[float(row[name]) for name in classes] for row in rows])


def test_the_test_of_a_run_keeps_what_it_found(inside):
    found = Predictions.load(RUN / "predictions.npz")
    trust = Trust.load(RUN / "trust.json")
    assert trust == fit_trust(found, "checkpoints/epoch0002.ckpt")
    assert (trust.part, trust.cells, trust.temperature) == ("test", 24, 1.0)
    assert found.distances.shape == (24, 6)
    # The mean over cells of the distance to the mean of their own class.
    metrics = json.loads((RUN / "metrics.json").read_text())
    own = found.distances[np.arange(24), found.label].mean()
    assert metrics["gm/test/own_distance"] == pytest.approx(own, rel=1e-5)
    assert metrics["test/calibration_error_scaled"] == trust.calibration_error_scaled
    assert metrics["test/aurc"] == trust.aurc


def test_too_few_test_cells_choose_no_limits(inside, capsys):
    assert "unlike_training" not in predicted("unlimited")[0]
    said = capsys.readouterr().out
    assert "as the networks give them: 24 test cells of" in said
    assert "cells unlike the training are not marked: the test part has 24 cells, limits" in said


def test_probabilities_are_scaled_and_classes_stay(limited, capsys):
    trust = Trust.load(RUN / "trust.json")
    raw = predicted("raw", "calibrated=false")
    assert "(calibrated=false)" in capsys.readouterr().out
    rows = predicted("scaled")
    said = capsys.readouterr().out
    before, after = probabilities(raw, trust.classes), probabilities(rows, trust.classes)
    expected = apply_temperature(before, trust.temperature)
    np.testing.assert_allclose(after, expected, atol=2e-5)
    assert not np.allclose(after, before, atol=1e-3)
    assert [row["predicted"] for row in rows] == [row["predicted"] for row in raw]
    entropy = [float(row["entropy"]) for row in rows]
    np.testing.assert_allclose(entropy, normalized_entropy(expected), atol=1e-4)
    distance = np.array([float(row["distance"]) for row in rows])
    unlike = np.array([row["unlike_training"] for row in rows])
    beyond = (distance > limited.squared**0.5) | (np.array(entropy) > limited.entropy)
    assert unlike.tolist() == np.where(beyond, "true", "false").tolist()
    assert 16 < beyond.sum() < 33
    assert unlike.tolist() == [row["unlike_training"] for row in raw]
    assert f"the temperature {trust.temperature:.2f} of 48 test cells" in said
    assert f"{(unlike == 'true').sum()} of 40 cells" in said
    assert "of the test cells" in said


def test_python_gives_the_same(limited):
    rows, classes = predicted("again"), Trust.load(RUN / "trust.json").classes
    found = load_run(RUN, accelerator="cpu").predict("cells")
    own = [[cell.probabilities[name] for name in classes] for cell in found]
    np.testing.assert_allclose(own, probabilities(rows, classes), atol=1e-6)
    for cell, row in zip(found, rows, strict=True):
        assert str(cell.unlike_training).lower() == row["unlike_training"]
        assert (f"{cell.entropy:.6f}", f"{cell.distance:.6f}") == (row["entropy"], row["distance"])
    raw = load_run(RUN, accelerator="cpu").predict("cells", calibrated=False)
    assert raw.labels == found.labels
    assert raw[0].probabilities != found[0].probabilities


def test_other_weights_than_those_of_the_test_are_not_scaled(inside, capsys):
    shutil.copy(RUN / "checkpoints/epoch0002.ckpt", "epoch0002.ckpt")
    rows = predicted("other", "checkpoint=epoch0002.ckpt")
    assert "these weights were not tested (hep2gan-evaluate does it)" in capsys.readouterr().out
    assert "unlike_training" not in rows[0]
    assert rows[0]["distance"]
    assert [row["predicted"] for row in rows] == [row["predicted"] for row in predicted("own")]


@pytest.mark.integration
def test_a_damaged_file_is_written_again_by_the_command_that_is_named(inside, capsys):
    whole = (RUN / "trust.json").read_text()
    (RUN / "trust.json").write_text(whole[:100])
    assert call(predict, str(RUN), "cells", "output=damaged") == 2
    assert f"run hep2gan-evaluate {RUN}" in capsys.readouterr().err
    assert call(evaluate, str(RUN), "figures=false") == 0
    assert Trust.load(RUN / "trust.json").checkpoint == "checkpoints/epoch0002.ckpt"
    assert call(predict, str(RUN), "cells", "output=damaged") == 0


@pytest.mark.integration
def test_an_export_gives_the_same(limited):
    pytest.importorskip("onnxscript")
    from hep2gan.cli import export

    assert call(export, str(RUN), "output=exported") == 0
    rows = predicted("torch")
    options = ("output=onnx", "overlays=false", "masks=false")
    assert call(predict, "exported", "cells", *options) == 0
    with Path("onnx/predictions.csv").open() as file:
        exported = list(csv.DictReader(file))
    classes = Trust.load(RUN / "trust.json").classes
    np.testing.assert_allclose(
        probabilities(exported, classes), probabilities(rows, classes), atol=1e-3
    )
    same = [
        a["unlike_training"] == b["unlike_training"] for a, b in zip(rows, exported, strict=True)
    ]
    assert np.mean(same) > 0.9
