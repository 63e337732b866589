"""Optuna's studies: trials that fail, studies that go on, what is refused. No job is trained."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from hep2gan.cli import train
from hep2gan.cli.launch.jobs import Outcome
from tests.helpers.commands import call
from tests.helpers.started import NETS, SMALL

pytestmark = pytest.mark.integration

optuna = pytest.importorskip("optuna")

STUDY = (
    *SMALL, *NETS, "study=o", "-m", "hydra/sweeper=optuna", "split.validation_fraction=0.2",
    "hydra.sweeper.params=null", "hydra.sweeper.n_trials=6",
)  # fmt: skip
FAKE = SimpleNamespace(broken=False, stops_at=None)
"""What the jobs of a test do: score NaN, or stop the sweep at this one."""
BETA = "loss.beta=interval(1,100)"


@pytest.fixture(autouse=True)
def trained(tmp_path, monkeypatch):
    """The betas of the jobs that were started; each gets its beta as score, above 50 it fails."""
    betas = []

    def run_jobs(jobs, slots, again):
        outcomes = []
        for job in jobs:
            beta = job.config["loss"]["beta"]
            if job.run.path not in [path for path, _ in betas]:
                betas.append((job.run.path, beta))
            job.run.path.mkdir(parents=True, exist_ok=True)
            text = "nan" if FAKE.broken else repr(beta / 100)
            job.run.curves_file.write_text(f"epoch,step,val/f1\n0,1,{text}\n")
            if FAKE.stops_at == len(betas):
                raise SystemExit(130)
            outcomes.append(Outcome(job, "exit status 2; it diverged" if beta > 50 else None))
        return outcomes

    FAKE.broken, FAKE.stops_at = False, None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hep2gan.cli.launch.processes.run_jobs", run_jobs)
    return betas


def study(name="o"):
    return optuna.load_study(study_name=name, storage=f"sqlite:///runs/{name}/optuna.db")


def states(name="o"):
    return [trial.state.name for trial in study(name).trials]


def seeded(number=6):
    return f"hydra.sweeper.sampler.seed={number}"


def test_a_trial_that_fails_is_told_and_the_study_goes_on(trained, capsys):
    assert call(train, *STUDY, BETA, seeded(), "hydra.sweeper.max_failure_rate=1.0") == 0
    assert states() == ["FAIL" if beta > 50 else "COMPLETE" for _, beta in trained]
    assert {"FAIL", "COMPLETE"} == set(states())
    best = max((beta, path) for path, beta in trained if beta <= 50)
    result = yaml.safe_load(Path("runs/o/optimization_results.yaml").read_text())
    assert (result["best_value"], result["best_run"]) == (best[0] / 100, str(best[1]))
    said = capsys.readouterr().out
    assert f"in {best[1]}" in said
    assert "the study goes on: exit status 2; it diverged" in said
    assert said.rstrip().endswith("hep2gan-report runs/o")


def test_the_same_command_goes_on_to_the_same_trials_as_an_undisturbed_one(trained):
    everything = (*STUDY, BETA, seeded(), "hydra.sweeper.max_failure_rate=1.0")
    assert call(train, *everything) == 0
    undisturbed = [beta for _, beta in trained]
    shutil.rmtree("runs")
    trained.clear()
    FAKE.stops_at = 3
    assert call(train, *everything) == 130
    assert states() == ["FAIL" if b > 50 else "COMPLETE" for b in undisturbed[:2]] + ["RUNNING"]
    FAKE.stops_at = None
    # As another process would find it.
    other = study()
    owner = next(t for t in other.trials if t.state.name == "RUNNING")
    other._storage.set_trial_user_attr(
        owner._trial_id,
        "hep2gan/owner",
        json.dumps({"host": os.uname().nodename, "pid": 99999999, "since": ""}),
    )
    assert call(train, *everything) == 0
    assert [beta for _, beta in trained] == undisturbed
    assert "RUNNING" not in states()
    assert len(states()) == 6
    before = [trial.value for trial in study().trials]
    assert call(train, *everything) == 0
    assert [trial.value for trial in study().trials] == before
    assert call(train, *everything, "hydra.sweeper.n_trials=7") == 0
    assert len(states()) == 7


def test_a_study_that_failed_says_so_after_its_last_trial(trained, capsys):
    many = (*STUDY, "loss.beta=interval(51,100)")
    assert call(train, *many) == 2
    assert states() == ["FAIL"] * 6
    assert "6 of 6 trials failed: hydra.sweeper.max_failure_rate is 0.5." in capsys.readouterr().err
    grid = ("study=p", "loss.beta=choice(1,2,60)", "hydra/sweeper/sampler=grid")
    assert call(train, *STUDY, *grid, "hydra.sweeper.n_jobs=2") == 0
    assert sorted(states("p")) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_score_that_is_not_finite_fails_its_trial(trained):
    FAKE.broken = True
    assert call(train, *STUDY, "loss.beta=interval(1,40)", "hydra.sweeper.n_trials=2") == 2
    assert states() == ["FAIL", "FAIL"]


def test_a_trial_that_cannot_be_composed_fails_alone(trained):
    words = ("loss.beta=choice(5)", "loss/pixel=choice(l1,nosuch)", "hydra/sweeper/sampler=grid")
    assert call(train, *STUDY, *words, "hydra.sweeper.n_jobs=2") == 0
    assert sorted(states()) == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["loss.alpha=2"], "loss.alpha: absent there, 2 here"),
        (["trainer.max_epochs=9"], "trainer.max_epochs: 3 there, 9 here"),
        (["loss.beta=interval(1,30)"], "loss.beta: "),
    ],
)
def test_other_settings_are_another_study(trained, capsys, change, words):
    one = (*STUDY, "loss.beta=interval(1,40)", "hydra.sweeper.n_trials=1")
    assert call(train, *one) == 0
    assert call(train, *one, *change) == 2
    said = capsys.readouterr().err
    assert "the study o was begun with other settings" in said
    assert words in said
    assert call(train, *one, *change, "study=p") == 0
    assert call(train, *one, "trainer.num_workers=0", "hydra.sweeper.n_trials=2") == 0
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimized_metric=val/dcie"], "optimized_metric is val/dcie: this method measures"),
        (["method=resnet50", "optimized_metric=val/dice"], "measures val/accuracy, "),
        (["method=intensity"], "the method is a forest"),
        (["split.validation_fraction=0"], "split.validation_fraction=0.1"),
        (["hydra.sweeper.direction=[minimize,maximize]"], "set hydra.sweeper.direction=maximize"),
    ],
)
def test_what_no_trial_could_do_is_refused_before_the_first(trained, capsys, words, said):
    assert call(train, *STUDY, BETA, *words) == 2
    assert said in capsys.readouterr().err
    assert trained == []


def test_names_of_folders_are_taken_as_they_are(trained):
    assert (
        call(train, *STUDY, "loss.beta=choice(5)", "study='a b%#é'", "hydra.sweeper.n_trials=1")
        == 0
    )
    assert Path("runs/a b%#é/optuna.db").exists()
