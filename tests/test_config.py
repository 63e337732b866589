"""What is wrong with a configuration, told by the real commands: one list, each with its fix."""

import json
import math
import re
from pathlib import Path

import pytest

from hep2gan.cli import evaluate, export, pack, predict, report, train
from hep2gan.cli.local import run_settings
from hep2gan.config import parse_sound_part
from hep2gan.runs.folder import RunFolder
from hep2gan.training.preflight import run_preflight
from tests.helpers.commands import call, inside_copy
from tests.helpers.configs import composed

SMALL = (
    "data=phantom", "data.count=60", "data.size=32", "scale=laptop", "data.size=32",
    "split.test_fraction=0.2", "trainer.accelerator=cpu", "trainer.eval_batch_size=3",
    "generator.atrous_rates=[1,1,1]",
)  # fmt: skip
BASE = run_settings(composed("train", *SMALL))


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory, packed_store):
    with inside_copy(tmp_path_factory, packed_store) as folder:
        yield folder


def changed(key, value, base=BASE):
    """A copy in which a dotted key has another value; groups on the way are made."""
    first, _, rest = key.partition(".")
    return base | {first: changed(rest, value, base.get(first, {})) if rest else value}


def problems(config):
    report = run_preflight(*parts(config))
    return [text for _, state, text in report.results if state == "problem"]


def parts(config):
    parsed, invalid = parse_sound_part(config)
    return parsed, RunFolder.from_config(config), invalid


NONSENSE = (
    ("trainer.batch_size", 0),
    ("optimizer.generator.lr", math.nan),
    ("split.test_fraction", "abc"),
    ("trainer.precision", 16),
    ("augmentation.blur", []),
    ("model.guidance", None),
    ("loss.pixel", "l3"),
    ("callbacks", [1]),
    ("logger.tags", "mine"),
    ("data.count", -1),
)


@pytest.mark.parametrize(("key", "value"), NONSENSE)
def test_nonsense_is_refused_by_name_and_with_a_fix(key, value):
    (found,) = problems(changed(key, value))
    assert found.startswith(f"{key} is "), found
    assert ": it must be " in found
    assert re.search(rf"\. Fix: (set {re.escape(key)}=|choose )", found), found
    assert "Error" not in found


def test_all_wrong_settings_are_told_with_key_rule_and_fix():
    config = changed("optimizer.generator.lr", -1)
    config = changed("optimizer.classifier.betas", [0.5, 1.0], config)
    config = changed("optimizer.discriminator.weight_decay", math.nan, config)
    config = changed("generator.output_stride", 12, config)
    config = changed("augmentation.rotation", "abc", config)
    assert sorted(problems(config)) == [
        "augmentation.rotation is 'abc': it must be a finite number from 0 to 180."
        " Fix: set augmentation.rotation=0.0, for example.",
        "generator.output_stride is 12: it must be one of 16, 8."
        " Fix: set generator.output_stride=16, for example.",
        "optimizer.classifier.betas is [0.5, 1.0]: it must be two numbers, each 0 or more and"
        " below 1. Fix: set optimizer.classifier.betas=[0.5,0.999], for example.",
        "optimizer.discriminator.weight_decay is nan: it must be a finite number, 0 or more."
        " Fix: set optimizer.discriminator.weight_decay=0.0001, for example.",
        "optimizer.generator.lr is -1: it must be a finite number, 0 or more."
        " Fix: set optimizer.generator.lr=0.001, for example.",
    ]


def test_settings_and_surroundings_are_told_in_one_list(capsys):
    wrong = ("seed=x", "trainer.batch_size=0", "logger=wandb", "logger.mode=online")
    assert call(train, *SMALL, *wrong, "name=broken") == 2
    error = capsys.readouterr().err
    for key in ("seed is 'x'", "trainer.batch_size is 0", "logger.mode is online"):
        assert key in error
    assert not list(Path("runs/default/broken").rglob("config.yaml"))


def test_what_torch_alone_can_say_is_told_with_the_optimizers_name():
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.1, "nesterov": True}
    (found,) = problems(changed("optimizer.generator", sgd))
    assert found.startswith("optimizer.generator cannot be built (Nesterov momentum requires")
    (found,) = problems(changed("optimizer.classifier.momentum", 0.9))
    assert found.startswith("nothing reads the key optimizer.classifier.momentum")


def test_a_missing_group_is_told():
    config = changed("trainer", None, changed("optimizer.schedule", None))
    assert problems(config) == [
        "optimizer.schedule is null: it must be a group of keys."
        " Fix: set optimizer.schedule={}, for example.",
        "trainer is null: it must be a group of keys. Fix: set trainer={}, for example.",
    ]


def test_a_key_that_refers_to_a_wrong_one_is_not_told_twice():
    config = changed("split.seed", "abc", changed("seed", "abc"))
    assert [text.partition(":")[0] for text in problems(config)] == ["seed is 'abc'"]


def test_a_pack_tells_all_that_is_wrong_with_its_data(capsys):
    wrong = ("data.size=100", "data.count=many", "data.on_error=go")
    assert call(pack, "data=phantom", *wrong) == 2
    error = capsys.readouterr().err
    assert "3 settings are wrong" in error
    assert "data.count is 'many': it must be a whole number, 1 or more. Fix: set" in error
    assert "data.size is 100: it must be a whole number from 32 to 1024 and" in error
    assert "data.on_error is 'go': it must be one of stop, skip" in error


def files():
    """All but what is printed, which the folder of a run keeps too."""
    return sorted(
        path for path in Path.cwd().rglob("*") if path.is_file() and path.suffix != ".log"
    )


UNKNOWN = (
    (train, (*SMALL, "doctor=true"), "sed", "seed"),
    (train, (*SMALL, "doctor=true"), "trainer.max_epoch", "trainer.max_epochs"),
    (train, (*SMALL, "doctor=true"), "max_epochs", "trainer.max_epochs"),
    (train, (*SMALL, "doctor=true"), "model.guidance.harder", "model.guidance.hard"),
    (train, (*SMALL, "doctor=true"), "generator.encoders", "generator.encoder"),
    (train, (*SMALL, "doctor=true"), "optimizer.generator.beta", "optimizer.generator.betas"),
    (train, (*SMALL, "doctor=true"), "loss.pixels", "loss.pixel"),
    (train, SMALL, "data.counts", "data.count"),
    (pack, ("data=phantom",), "worker", "workers"),
    (pack, ("data=phantom",), "data.counts", "data.count"),
    (evaluate, ("run",), "batchsize", "batch_size"),
    (predict, ("run", "x.png"), "overlay", "overlays"),
    (report, ("run",), "titel", "title"),
    (export, ("run",), "stor", "store"),
)


@pytest.mark.parametrize(("command", "given", "key", "meant"), UNKNOWN)
@pytest.mark.parametrize("plus", ["+", "++"])
def test_a_key_that_nothing_reads_is_refused(command, given, key, meant, plus, capfd):
    before = files()
    assert call(command, *given, f"{plus}{key}=3") == 2
    said = "".join(capfd.readouterr())
    assert f"nothing reads the key {key}" in said
    assert f"Fix: use {meant}=…, or leave {key} out" in said
    assert "Traceback" not in said
    assert files() == before


FILES = {
    "method": (train, (*SMALL, "method=theirs", "doctor=true"), "# @package _global_\n", "sed"),
    "trainer": (train, (*SMALL, "trainer=theirs", "doctor=true"), "defaults: [cpu]\n", "max_epoch"),
    "data": (pack, ("data=theirs",), "defaults: [phantom]\n", "counts"),
}


@pytest.mark.parametrize("group", FILES)
def test_a_key_of_a_file_from_outside_that_nothing_reads_is_refused(group, capfd, tmp_path):
    command, given, head, key = FILES[group]
    file = tmp_path / group / "theirs.yaml"
    file.parent.mkdir()
    name = "name: theirs\n" if group == "method" else ""
    file.write_text(f"{head}{name}{key}: 3\n")
    assert call(command, *given, "--config-dir", str(tmp_path)) == 2
    said = "".join(capfd.readouterr())
    full = key if group == "method" else f"{group}.{key}"
    assert f"nothing reads the key {full}" in said
    assert "Fix: use " in said


def test_a_key_of_a_kept_configuration_that_nothing_reads_is_refused(tmp_path, capsys):
    config = changed("trainer.max_epoch", 3, BASE | {"run_dir": str(tmp_path)})
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    for file in ("store.json", "metrics.json", "split.json"):
        (tmp_path / file).write_text("{}")
    assert call(evaluate, str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert "config.yaml: nothing reads the key trainer.max_epoch" in error
    assert "Fix: use trainer.max_epochs=…" in error
