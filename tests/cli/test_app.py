"""The command line: positional arguments, readable errors, fast answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hep2gan.cli import evaluate, export, pack, predict, report, train
from hep2gan.cli.app import name_positionals
from hep2gan.cli.errors import nearest_names
from hep2gan.errors import Hep2ganError
from tests.helpers.commands import call

COMMANDS = ("pack", "train", "evaluate", "predict", "report", "export")


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_positionals_become_overrides():
    assert name_positionals(["a/b", "x=1"], ("run",)) == ["x=1", "run='a/b'"]
    assert name_positionals(["--cfg", "job"], ("run",)) == ["--cfg", "job"]
    assert name_positionals(["r", "it's", "b,c"], ("run", "inputs*")) == [
        "run='r'",
        r"inputs=['it\'s','b,c']",
    ]
    with pytest.raises(Hep2ganError, match="'b' is not understood"):
        name_positionals(["a", "b"], ("run",))


def test_leading_runs_are_members(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "it's b"):
        Path(folder).mkdir()
        Path(folder, "config.yaml").touch()
    Path("images").mkdir()
    names = ("run+", "inputs*")
    assert name_positionals(["a", "it's b", "images", "x.png"], names) == [
        r"run=['a','it\'s b']",
        "inputs=['images','x.png']",
    ]
    assert name_positionals(["a", "images", "it's b"], names)[0] == "run='a'"
    assert name_positionals(["a", "x.png"], names) == ["run='a'", "inputs=['x.png']"]
    assert name_positionals(["a"], names) == ["run='a'"]


def test_a_file_with_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.png").touch()
    assert name_positionals(["a=b.png"], ("inputs*",)) == ["inputs=['a=b.png']"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_usage_and_examples_from_any_folder(command, tmp_path):
    shown = run(f"hep2gan.cli.{command}", "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"Usage: hep2gan-{command}" in shown.stdout
    assert "Examples\n" in shown.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_answers_without_importing_what_is_heavy(command, flags):
    code = (
        "import runpy, sys, atexit\n"
        "atexit.register(lambda: print('HEAVY', [m for m in ('torch', 'lightning', 'timm', "
        "'numpy', 'pydantic', 'hep2gan.config') "
        "if m in sys.modules]))\n"
        f"sys.argv = ['x', *{flags!r}]\n"
        f"runpy.run_module('hep2gan.cli.{command}', run_name='__main__')\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in shown.stdout, shown.stdout[-300:] + shown.stderr


def test_tab_completion_offers_groups_options_and_keys():
    def completed(line):
        environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        return run("hep2gan.cli.train", "-sc", "query=bash", env=environment).stdout.split()

    assert "data=phantom" in completed("hep2gan-train data=")
    assert "method=proposed" in completed("hep2gan-train method=pro")
    assert "loss/adversarial=lsgan" in completed("hep2gan-train loss/adversarial=")
    assert "trainer.max_epochs=" in completed("hep2gan-train trainer.max")


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("sed=3", "Did you mean seed"),
        ("trainer.max_epoch=3", "Did you mean trainer.max_epochs"),
        ("batchsize=3", "Did you mean trainer.batch_size"),
        (
            "data=phantm",
            "There is no data 'phantm'. Did you mean data=phantom? Choose from fields, folders,"
            " icpr2012, icpr2012_fields, icpr2016, icpr2016_fields, manifest, phantom,"
            " phantom_diverse, phantom_fields.",
        ),
        ("split=zzzz", "There is no split 'zzzz'. Choose from block, given, random, specimen."),
        ("metod=proposed", "Did you mean method"),
        ("loss/pixel=l3", "Did you mean loss/pixel=l1? Choose from bce_dice, l1."),
        ("objective=val/f1", "See hep2gan-train --help"),
        ("trainer.workers=2", "Did you mean trainer.num_workers"),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest_right_one(
    override, hint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert call(train, override) == 2
    shown = capsys.readouterr().err
    assert hint in shown
    assert shown.count("phantom_diverse") == ("phantm" in override)
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((evaluate,), ["no RUN is given: the usage is hep2gan-evaluate RUN. Fix:"]),
        ((report,), ["no RUN is given: the usage is hep2gan-report RUN ..."]),
        ((predict, "cells"), ["no INPUT", "hep2gan-predict RUN INPUT ..., and cells is taken as"]),
        ((evaluate, "nowhere"), ["nowhere is no run folder", "Fix:"]),
        ((report, "nowhere"), ["nowhere", "Fix:"]),
        ((predict, "nowhere", "gone.png"), ["nowhere is no run folder"]),
        ((pack,), ["data.root is not set", "Fix:"]),
        ((pack, "data.root=gone"), ["gone", "Fix:"]),
        ((train,), ["there is no store at stores/icpr2016_128", "hep2gan-pack"]),
        ((train, "seed=x"), ["seed is 'x'"]),
    ],
)
def test_errors_say_what_to_do(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "Traceback" not in shown
    for word in words:
        assert word in shown


@pytest.mark.parametrize("command", [evaluate, export, predict, report])
def test_a_wrong_run_is_told_before_anything_slow_is_imported(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for seed in range(7):
        Path(f"runs/demo/proposed/seed{seed}").mkdir(parents=True)
        Path(f"runs/demo/proposed/seed{seed}/config.yaml").touch()
    slow = ("config", "inference.load", "inference.export", "reports.build")
    for module in (f"hep2gan.{name}" for name in slow):
        monkeypatch.setitem(sys.modules, module, None)
    inputs = ["x.png"] if command is predict else []
    assert call(command, "nowhere", *inputs) == 2
    assert "nowhere is no run folder" in capsys.readouterr().err
    if command is not report:  # It takes a study's folder.
        # hep2gan-predict takes the folder of a study or a method.
        below = () if command is predict else ("runs/demo", "runs/demo/proposed")
        for folder in ("runs", *below):
            assert call(command, folder, *inputs) == 2
            said = capsys.readouterr().err
            assert f"{folder} is no run folder" in said
            assert "Fix: name a run in it: runs/demo/proposed/seed0, runs/demo/" in said
            assert said.endswith("seed4 and 2 more.\n")


def test_nearest_prefers_the_key_itself():
    assert (
        nearest_names("trainer.epochs", ["trainer.max_epochs", "seed"])[0] == "trainer.max_epochs"
    )
    assert nearest_names("zzz", ["trainer.max_epochs"]) == []


def test_schemas_are_shared_and_yet_never_changed():
    code = (
        "import copy, sys\n"
        "from hydra import compose, initialize_config_dir\n"
        "from hydra.core.config_store import ConfigStore\n"
        "from omegaconf import OmegaConf\n"
        "from hep2gan.cli.app import config_folder\n"
        "from hep2gan.cli.fast_hydra import speed_up_hydra\n"
        "def composed(*overrides):\n"
        "    with initialize_config_dir(str(config_folder()), version_base='1.3'):\n"
        "        config = compose('train', list(overrides), return_hydra_config=True)\n"
        "        return OmegaConf.to_yaml(config)\n"
        "changed = ('hydra.job.chdir=true', 'hydra.sweep.dir=x', '+hydra.job.env_set.A=b')\n"
        "changed += ('method=vgg16', 'scale=laptop')\n"
        "before = composed(), composed(*changed)\n"
        "speed_up_hydra()\n"
        "store = ConfigStore.instance()\n"
        "assert copy.deepcopy([store])[0] is store\n"
        "assert (composed(), composed(*changed), composed()) == (*before, before[0])\n"
        "assert before[0] != before[1]\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.integration
def test_a_training_starts_without_what_only_its_end_needs():
    code = (
        "import sys, hep2gan.training.run\n"
        "print([m for m in ('sklearn', 'pandas', 'hep2gan.reports',"
        " 'hep2gan.training.loggers.wandb')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "[]", shown.stderr
