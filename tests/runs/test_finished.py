import json

import numpy as np
import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.finished import read_finished_run


@pytest.fixture
def run(tmp_path, predictions, make_run):
    return make_run(tmp_path / "default" / "proposed" / "seed3", seed=3)


def test_a_finished_run_is_read(run, predictions):
    found = read_finished_run(run)
    assert (found.study, found.method, found.seed) == ("default", "proposed", "3")
    assert found.name == "default/proposed/seed3"
    assert found.is_synthetic
    assert found.config["loss"]["beta"] == 10.0
    assert found.metrics["baseline/ellipse_dice"] == 0.945
    assert found.split["counts"]["train"]["Golgi"] == 36
    assert found.curves == run.resolve() / "metrics.csv"
    np.testing.assert_array_equal(found.predictions().probabilities, predictions.probabilities)


def test_names_come_from_the_path_where_the_config_has_none(run):
    (run / "config.yaml").write_text(
        "data: {_target_: hep2gan.data.readers.icpr2016.Icpr2016Source}\n", encoding="utf-8"
    )
    found = read_finished_run(run)
    assert found.name == "default/proposed/seed3"
    assert not found.is_synthetic


def test_an_unfinished_run(run):
    (run / "DONE").unlink()
    with pytest.raises(Hep2ganError, match=r"seed3 is not finished.*hep2gan-train again.*seed3"):
        read_finished_run(run)


def test_no_run_folder(tmp_path):
    with pytest.raises(Hep2ganError, match=r"is no run folder.*hep2gan-train wrote"):
        read_finished_run(tmp_path / "nowhere")


def test_curves_may_be_missing(run):
    (run / "metrics.csv").unlink()
    assert read_finished_run(run).curves is None


@pytest.mark.parametrize(
    ("name", "content", "fix"),
    [
        ("config.yaml", b"a: [", "hep2gan-train again"),
        ("config.yaml", b"- a\n", "hep2gan-train again"),
        ("config.yaml", b"!!python/object/apply:os.system [true]\n", "hep2gan-train again"),
        ("config.yaml", b"\xff\xfe", "hep2gan-train again"),
        ("metrics.json", None, "hep2gan-evaluate"),
        ("metrics.json", b'{"test/dice": 0.9', "hep2gan-evaluate"),
        ("metrics.json", b'{"test/dice": "good"}', "hep2gan-evaluate"),
        ("metrics.json", b"[1]", "hep2gan-evaluate"),
        ("split.json", None, "hep2gan-evaluate"),
        ("split.json", b"{", "hep2gan-evaluate"),
        ("predictions.npz", None, "hep2gan-evaluate"),
        ("predictions.npz", b"PK\x03\x04 cut", "hep2gan-evaluate"),
    ],
)
def test_damage_names_the_run_the_file_and_the_fix(run, name, content, fix):
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    with pytest.raises(Hep2ganError) as caught:
        read_finished_run(run).predictions()
    text = str(caught.value)
    assert str(run.resolve()) in text
    assert name in text
    assert f"run {fix}" in text.partition("Fix: ")[2]
    assert text.count("Fix:") == 1


def test_metrics_that_are_not_numbers_are_kept_as_such(run):
    (run / "metrics.json").write_text(json.dumps({"test/dice": float("nan")}))
    assert np.isnan(read_finished_run(run).metrics["test/dice"])
