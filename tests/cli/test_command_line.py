"""What is refused before Hydra reads a command line, and the pages that are shown."""

import re

import pytest

from hep2gan.cli import evaluate, export, pack, predict, report, train
from hep2gan.cli.app import config_folder
from hep2gan.cli.command_line import is_flag, show_first_job
from hep2gan.cli.errors import options_by_group
from hep2gan.cli.idle import keys_without_effect
from tests.helpers.commands import call
from tests.helpers.configs import composed
from tests.helpers.report_fixtures import make_predictions, write_run

COMMANDS = (evaluate, export, pack, predict, report, train)
POSITIONAL = {evaluate: ["run"], export: ["run"], predict: ["run", "x.png"], report: ["run"]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["+threshold=0.3", "++batch_sise=3", "+extra={a: 1}"])
def test_no_command_takes_a_key_that_nothing_reads(command, word, tmp_path, capsys):
    write_run(tmp_path / "run", make_predictions(counts=(2, 2), size=32))
    before = sorted(tmp_path.rglob("*"))
    given = [*POSITIONAL.get(command, []), *(["data.root=x"] if command is pack else [])]
    assert call(command, *given, word) == 2
    assert f"nothing reads the key {word.strip('+').partition('=')[0]}" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


LIGHTNING = (
    "+trainer.gradient_clip_val=1e-6", "+trainer.accumulate_grad_batches=4",
    "+trainer.fast_dev_run=true", "+trainer.overfit_batches=1", "++trainer.max_epoch=1",
    "+trainer.strategy=ddp", "+trainer.val_check_interval=0.5", "+trainer.max_steps=3",
)  # fmt: skip


def test_what_lightning_would_take_is_refused_with_the_nearest_key(capsys):
    words = ("data=phantom", "data.count=60", "scale=laptop", "callbacks.stop=early_stopping")
    words = tuple(word.replace("callbacks.", "+callbacks.") for word in words)
    assert call(train, *words, *LIGHTNING, "+optimiser.lr=7", "doctor=true") == 2
    said = capsys.readouterr().out
    for word in LIGHTNING:
        key = word.strip("+").partition("=")[0]
        assert f"nothing reads the key {key}" in said, key
    assert "use trainer.max_epochs=…, or leave trainer.max_epoch out" in said
    assert "batch normalisation sees each part of a batch alone" in said
    assert "set optimizer.gradient_clip_val.generator=1.0" in said
    assert "set fast_dev_run=true" in said
    assert "nothing reads the key optimiser" in said
    assert "callbacks.stop is 'early_stopping'" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "hydra/launcher=basic", "seed=0,1"], "use hydra/launcher=processes or "),
        (["-m", "fast_dev_run=true", "seed=0,1"], "leave -m out, or check every job with doctor"),
        (["-m", "hydra/launcher=submitit_local"], "hydra/launcher=submitit_local cannot start"),
        (["--multi", "hydra/launcher=joblib"], "hydra/launcher=joblib cannot start"),
        (["-m", "hydra/sweeper=basic"], "use hydra/sweeper=optuna, or leave it out"),
        (["hydra/launcher=slurm"], "hydra/launcher=slurm without -m"),
        (["hydra.launcher.slots=2"], "hydra.launcher.slots=2 without -m"),
        (["hydra/sweeper=optuna"], "hydra/sweeper=optuna without -m"),
        (["-m", "hydra.sweeper.sampler=grid"], "use hydra/sweeper/sampler=grid"),
        (["-m", "hydra.launcher=slurm"], "use hydra/launcher=slurm"),
        (["split=[random,block]"], "train each of them with -m split=random,block"),
        (["method=[proposed, resnet50]"], "-m method=proposed,resnet50"),
        (["loss/pixel=[l1,bce_dice]"], "a run has one loss/pixel"),
    ],
)
def test_what_hydra_takes_and_no_training_obeys(words, said, tmp_path, capsys):
    assert call(train, *words) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [each for each in COMMANDS if each is not train])
def test_a_sweep_is_of_trainings(command, capsys):
    assert call(command, "-m", *POSITIONAL.get(command, []), "+x=1,2") == 2
    assert "a sweep is of trainings. Fix: leave -m out" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h", "--hydra-help"])
def test_every_help_answers_whatever_stands_beside_it(command, flag, capsys):
    swept = ["-m", "seed=3,1"] if command is train else []
    assert call(command, *swept, *POSITIONAL.get(command, []), flag) == 0
    assert "error" not in capsys.readouterr().err


def test_the_help_of_packing_names_the_options_of_its_only_group(capsys):
    assert call(pack, "--help") == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in options_by_group(config_folder())["data"])
    assert "classifier" not in shown


@pytest.mark.parametrize(
    "words",
    [["-m", "--cfg", "job"], ["--cfg", "job", "-m"], ["-c", "job"], ["--multirun", "--cfg=job"]],
)
def test_the_configuration_of_a_sweep_is_that_of_its_first_job(words, capsys):
    assert call(train, *words, "seed=range(3,9)", "loss.beta=interval(1,2)", "name=a") == 0
    shown = capsys.readouterr().out
    assert re.search(r"^seed: 3$", shown, re.M)
    assert re.search(r"^  beta: 10.0$", shown, re.M)


def test_flags_are_known_as_argparse_knows_them():
    assert is_flag("--multi", "-m", "--multirun")
    assert not is_flag("--config-name", "--cfg")
    assert show_first_job(["-m", "seed=0,1"]) == ["-m", "seed=0,1"]
    assert show_first_job(["-m", "seed=[", "--help"]) == ["seed=[", "--help"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["method=resnet50", "loss.beta=5", "generator=compact", "loss/pixel=l1"],
            dict.fromkeys(("loss.beta", "generator", "loss/pixel"), "no generator is trained"),
        ),
        (["method=resnet50", "optimizer.classifier.lr=1", "seed=1", "+classifier.dropout=0.1"], {}),
        (["method=proposed", "loss.beta=5", "discriminator=compact"], {}),
        (
            ["method=without_adversarial", "loss.alpha=2", "loss.beta=2"],
            {"loss.alpha": "there is no discriminator"},
        ),
        (
            ["method=segmentation", "classifier=compact", "loss.gaussian_mixture.gamma=1"],
            dict.fromkeys(
                ("classifier", "loss.gaussian_mixture.gamma"), "no classifier is trained"
            ),
        ),
        (
            ["method=prasath", "trainer.max_epochs=3", "model.baseline.trees=9"],
            {"trainer.max_epochs": "a forest has no networks"},
        ),
        (["+logger.tags=[a]", "split=block"], {"logger.tags": "wandb and mlflow are off"}),
        (["logger=mlflow", "+logger.entity=me"], {"logger.entity": "wandb is off"}),
        (["logger=wandb", "logger.tags=[a]"], {}),
        (["trainer.check_val_every_n_epoch=2", "split.validation_fraction=0.1"], {}),
        (
            ["trainer.check_val_every_n_epoch=2"],
            {"trainer.check_val_every_n_epoch": "there is no validation part"},
        ),
    ],
)
def test_keys_that_change_nothing_under_the_method_are_known(words, expected):
    assert keys_without_effect(composed("train", "data.root=x", *words), words) == expected
