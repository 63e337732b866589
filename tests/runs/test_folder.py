import json

import pytest

from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import CropGeometry, RunFolder

CONFIG = {"seed": 0, "loss": {"beta": 10.0}, "data": {"root": "a"}, "logger": {"kind": "csv"}}


def test_config_comes_back_as_it_was(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_config(CONFIG)
    assert RunFolder.open(tmp_path / "run").config() == CONFIG
    run.save_config(CONFIG)


def test_another_configuration_is_refused_and_named(tmp_path):
    run = RunFolder(tmp_path)
    run.save_config(CONFIG)
    changed = CONFIG | {"loss": {"beta": 5.0}, "new": 1}
    with pytest.raises(
        Hep2ganError, match=r"(?s)loss.beta: 10.0 there, 5.0 here.*new: absent.*name="
    ):
        run.save_config(changed)
    assert run.config() == CONFIG


def test_places_and_loggers_may_change(tmp_path):
    run = RunFolder(tmp_path)
    run.save_config(CONFIG)
    run.save_config(CONFIG | {"data": {"root": "b"}, "logger": {"kind": "wandb", "tags": ["x"]}})


def test_metrics_come_back(tmp_path):
    run = RunFolder(tmp_path)
    run.save_metrics({"test/dice": 0.1 + 0.2})
    assert run.metrics() == {"test/dice": 0.1 + 0.2}
    run.metrics_file.write_text("{")
    with pytest.raises(Hep2ganError, match=r"metrics.json.*hep2gan-evaluate"):
        run.metrics()


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(Hep2ganError, match=r"config.yaml cannot be read"):
        RunFolder.open(tmp_path).config()
    with pytest.raises(Hep2ganError, match="no run folder"):
        RunFolder.open(tmp_path / "none")


def test_the_target_of_a_store_is_read_and_another_word_refused(tmp_path):
    file, facts = tmp_path / "store.json", {"path": "x", "size": 64, "classes": ["a", "b"]}
    for target in ("pattern", "intensity"):
        file.write_text(json.dumps(facts | {"target": target}))
        assert RunFolder(tmp_path).store_info().target == target
    for wrong in ({}, {"target": "titre"}, {"target": ["pattern"]}):
        file.write_text(json.dumps(facts | wrong))
        with pytest.raises(Hep2ganError, match=r"store\.json cannot be read \(.*target"):
            RunFolder(tmp_path).store_info()


def test_the_size_of_the_crops_is_read_and_nonsense_refused(tmp_path):
    file = tmp_path / "store.json"
    facts = {"path": "x", "size": 64, "classes": ["a", "b"], "target": "pattern"}
    file.write_text(json.dumps(facts))
    assert RunFolder(tmp_path).store_info().crops is None
    crops = CropGeometry(90, 51, 70, 10, 48.25)
    file.write_text(json.dumps(facts | {"crops": crops._asdict()}))
    assert RunFolder(tmp_path).store_info().crops == crops
    for wrong in (70, {}, {"margin": -1}, {"largest": 9.5}, {"median": True}, {"nucleus": 0}):
        changed = crops._asdict() | wrong if isinstance(wrong, dict) and wrong else wrong
        file.write_text(json.dumps(facts | {"crops": changed}))
        with pytest.raises(Hep2ganError, match=r"store\.json cannot be read \(.*crops"):
            RunFolder(tmp_path).store_info()


def test_a_set_of_all_sizes_has_no_usual_one():
    alike = CropGeometry(largest=107, smallest=44, median=66, margin=10, nucleus=47.0)
    assert alike.usual_nucleus == 47.0
    assert alike._replace(largest=150, nucleus=24.0).usual_nucleus is None
    assert alike._replace(largest=20 + 118).usual_nucleus is None
    assert alike._replace(largest=20 + 117).usual_nucleus == 47.0
