"""Every key of the configuration, given nonsense: the doctor refuses it, and never trips."""

import math
from copy import deepcopy
from pathlib import Path

import pytest

from hep2gan.cli import pack
from hep2gan.cli.app import config_folder
from hep2gan.config import invalid_settings, rule_of
from hep2gan.runs.folder import RunFolder, flatten
from hep2gan.training.preflight import run_preflight
from tests.helpers.commands import call
from tests.helpers.configs import composed
from tests.helpers.packed import inside_packed

SMALL = (
    "data=phantom", "data.count=60", "data.size=32", "scale=laptop", "data.size=32",
    "split.test_fraction=0.2", "trainer.accelerator=cpu", "trainer.eval_batch_size=3",
    "generator.atrous_rates=[1,1,1]",
)  # fmt: skip
NONSENSE = (-1, math.nan, "abc", 0, None, [])
BASE = composed("train", *SMALL)
BASE.pop("doctor")
TRUSTED = BASE.pop("trusted")
KEYS = [key for key, _ in flatten(BASE)]
METHODS = sorted(file.stem for file in config_folder().glob("method/*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with inside_packed(tmp_path_factory.mktemp("settings")) as folder:
        yield folder


def changed(key, value):
    config = deepcopy(BASE)
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    return config


def problems(config):
    report = run_preflight(config, RunFolder.from_config(config), TRUSTED)
    return [text for _, state, text in report.results if state == "problem"]


@pytest.mark.parametrize("key", KEYS)
def test_nonsense_is_refused_by_name_and_with_a_fix(key):
    for value in NONSENSE:
        config = changed(key, value)
        # The folder itself is the only thing that comes before the list.
        if key == "run_dir" and not isinstance(value, str):
            continue
        found = problems(config)
        for text in found:
            assert "Fix: " in text, text
            assert "Error" not in text, text
        rule = rule_of(key, config)
        if rule is not None and not rule.holds(value):
            assert any(text.startswith(f"{key} is ") for text in found), (value, found)
        elif isinstance(value, float):
            assert found, f"{key}=nan is taken"


def test_every_number_of_every_file_has_a_rule():
    for method in METHODS:
        for scale in ("paper", "laptop"):
            config = composed("train", f"scale={scale}", f"method={method}", "data.root=x")
            assert invalid_settings(config) == {}
            known = {"doctor", "trusted"} | {f"classifier.options.{k}" for k in ("mlp_ratio",)}
            known |= {"classifier.options.output_stride"}
            for key, _ in flatten(config):
                last = key.rpartition(".")[2]
                assert last == "_target_" or key in known or rule_of(key, config), key


def test_each_value_of_the_groups_files_holds():
    for group in ("split", "trainer", "normalisation", "augmentation", "optimizer", "logger"):
        for file in config_folder().glob(f"{group}/*.yaml"):
            config = composed("train", f"{group}={file.stem}", "data.root=x")
            assert invalid_settings(config) == {}, Path(file)


def test_all_wrong_settings_are_told_with_key_rule_and_fix():
    config = changed("optimizer.generator.lr", -1)
    config["optimizer"]["classifier"]["betas"] = [0.5, 1.0]
    config["optimizer"]["discriminator"]["weight_decay"] = math.nan
    config["generator"]["output_stride"] = 12
    config["augmentation"]["rotation"] = "abc"
    assert problems(config) == [
        "augmentation.rotation is 'abc': it must be a finite number from 0 to 180."
        " Fix: set augmentation.rotation=0.0.",
        "generator.output_stride is 12: it must be one of 16, 8."
        " Fix: set generator.output_stride=16.",
        "optimizer.generator.lr is -1: it must be a finite number, 0 or more."
        " Fix: set optimizer.generator.lr=0.001.",
        "optimizer.discriminator.weight_decay is nan: it must be a finite number, 0 or more."
        " Fix: set optimizer.discriminator.weight_decay=0.0001.",
        "optimizer.classifier.betas is [0.5, 1.0]: it must be two numbers, each 0 or more and"
        " below 1. Fix: set optimizer.classifier.betas=[0.5,0.999].",
    ]


def test_what_torch_alone_can_say_is_told_with_the_optimizers_name():
    config = changed("optimizer.generator._target_", "torch.optim.SGD")
    config["optimizer"]["generator"] = {"_target_": "torch.optim.SGD", "lr": 0.1, "nesterov": True}
    config["optimizer"]["classifier"]["momentum"] = 0.9
    found = problems(config)
    assert len(found) == 2
    assert found[0].startswith("optimizer.generator cannot be built (Nesterov momentum requires")
    assert found[1].startswith("optimizer.classifier cannot be built (")
    assert "unexpected keyword argument 'momentum'" in found[1]


def test_a_missing_group_is_told():
    config = changed("optimizer.schedule", None)
    config["trainer"] = None
    assert problems(config) == [
        "optimizer.schedule is null: it must be a group of keys. Fix: set optimizer.schedule={}.",
        "trainer is null: it must be a group of keys. Fix: set trainer={}.",
    ]


def test_a_key_that_refers_to_a_wrong_one_is_not_told_twice():
    config = changed("seed", "abc")
    config["split"]["seed"] = "abc"
    assert [text.partition(":")[0] for text in problems(config)] == ["seed is 'abc'"]


def test_a_pack_tells_all_that_is_wrong_with_its_data(capsys):
    wrong = ("data.size=100", "data.count=many", "data.on_error=go")
    assert call(pack, "data=phantom", *wrong) == 2
    error = capsys.readouterr().err
    assert "3 settings are wrong" in error
    assert "data.count is 'many': it must be a positive whole number. Fix: set" in error
    assert "data.size is 100: it must be a whole number from 32 to 1024 that 16 divides" in error
    assert "data.on_error is 'go': it must be one of stop, skip" in error
