"""Sweeps: names, places, real jobs of which some fail or are killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hep2gan.cli import pack
from hep2gan.cli import train as train_command
from hep2gan.cli.launch.hydra import check_objective, jobs_from_overrides, objective_value
from hep2gan.cli.launch.slurm import run_in_slurm
from hep2gan.cli.launch.sweep import (
    DeviceSlots,
    Job,
    Outcome,
    check_apart,
    check_splits,
    describe_failure,
    device_slots,
    job_name,
)
from hep2gan.errors import Hep2ganError
from hep2gan.runs.checkpoints import list_checkpoints
from hep2gan.runs.folder import RunFolder
from tests.helpers.commands import call, make_program, slurm_settings
from tests.helpers.configs import composed
from tests.helpers.raw_sets import flat, write_csv
from tests.helpers.started import NETS, SMALL, environment, train, until


def test_names_hold_what_is_swept_and_nothing_else():
    assert job_name("proposed", {"seed": "1", "method": "proposed"}) == "proposed"
    swept = {"loss.beta": "5", "seed": "1", "data.root": "/x", "generator": "xception41"}
    assert job_name("proposed", swept) == "proposed,loss.beta=5,generator=xception41"
    assert job_name("m", {"a": "x/../y z"}) == "m,a=x_.._y_z"
    long = [job_name("m", {f"key{k}": f"{value}" for k in range(40)}) for value in (1, 2)]
    assert long[0] != long[1]
    assert max(map(len, long)) < 200


def test_two_jobs_may_not_share_a_folder():
    job = Job(0, (), {"run_dir": "runs/a"})
    with pytest.raises(Hep2ganError, match=r"(?s)same folder.*runs/a"):
        check_apart([job, job._replace(number=1)])


def test_gpus_are_handed_out_by_number(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    slots = DeviceSlots(["0", "3", "5", "7"], each=2, count=2)
    assert slots.take(1) == {"CUDA_VISIBLE_DEVICES": "0,3"}
    assert slots.take(2) == {"CUDA_VISIBLE_DEVICES": "5,7"}
    assert not slots.free
    slots.release(1)
    assert slots.free
    assert slots.take(3) == {"CUDA_VISIBLE_DEVICES": "0,3"}


def test_threads_are_shared_among_jobs_on_the_cpu(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    settings = {"accelerator": "cpu", "devices": 2, "num_nodes": 1}
    assert device_slots(settings, 2).take(0) == {"OMP_NUM_THREADS": "2"}
    assert device_slots(settings | {"devices": 1}, None).take(0) == {}
    with pytest.raises(Hep2ganError, match="hydra/launcher=slurm"):
        device_slots(settings | {"num_nodes": 2}, None)


def test_the_objective_is_taken_at_the_chosen_epoch(tmp_path):
    run = RunFolder(tmp_path)
    run.curves_file.write_text(
        "epoch,step,val/f1,val/dice,train/x\n0,1,,,0.5\n0,1,0.4,0.9,\n1,3,0.6,0.7,\n2,5,0.5,0.8,\n"
    )
    assert objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/f1"}) == 0.6
    assert (
        objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/dice"}) == 0.7
    )
    with pytest.raises(Hep2ganError, match=r"no column val/x"):
        objective_value(run, {"model": {"classify": True}, "optimized_metric": "val/x"})
    split = {"kind": "random", "validation_fraction": 0.1}
    model = {"baseline": None, "segment": False, "classify": True}
    config = {"optimized_metric": "val/f1", "split": split, "model": model}
    check_objective(config)
    for change, words in (
        ({"optimized_metric": "test/f1"}, "optimized_metric is test"),
        ({"optimized_metric": "val/dice"}, "this method measures .*val/f1"),
        ({"split": split | {"validation_fraction": 0}}, r"split.validation_fraction=0.1"),
        ({"model": model | {"baseline": "intensity"}}, "the method is a forest"),
    ):
        with pytest.raises(Hep2ganError, match=words):
            check_objective(config | change)


TRICKY = {
    "lists": ["augmentation.gain=[0.7, 1.5],[1.0,5.0]"],
    "further keys": ["method=intensity,gao", "+tag='a b',c", "trainer.max_epochs=range(1,3)"],
    "groups": [
        "split=random,block",
        "hydra/job_logging=console",
        "split.group_duplicates=false,true",
    ],
    "one value": ["split.fold=choice(0)", "split=choice(block)"],
    "slashes": ["generator.weights=null", "+note=a/b,'c,d'"],
    "long names": [f"+note={'x' * 150}1,{'x' * 150}2"],
    "names of their own": ["name='a name'", "seed=3,1", "study=b", "runs=elsewhere"],
}


@pytest.mark.parametrize("overrides", TRICKY.values(), ids=TRICKY)
def test_the_jobs_from_overrides_a_sweep_are_known_beforehand(overrides, monkeypatch, tmp_path):
    launched = []

    def noted(jobs, slots):
        launched.extend(jobs)
        return [Outcome(job, None) for job in jobs]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hep2gan.cli.launch.sweep.run_jobs", noted)
    assert call(train_command, *overrides, "-m") == 0
    assert jobs_from_overrides(overrides) == launched != []


@pytest.mark.integration
def test_launchers_are_found_by_a_hydra_that_has_looked_before():
    script = (
        "from hydra.core.plugins import Plugins; before = Plugins.instance();"
        "from hep2gan.cli.launch.hydra import jobs_from_overrides as jobs; jobs(['seed=0,1']);"
        "names = Plugins.instance().class_name_to_class; assert Plugins.instance() is before;"
        "print(sorted(n.rpartition('.')[2] for n in names if 'hydra_plugins.hep2gan' in n))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert "'ProcessLauncher'" in told
    assert "'SlurmSweep'" in told
    assert "'OptunaSweep'" in told


def test_jobs_that_a_sweeper_chooses_cannot_be_known():
    with pytest.raises(Hep2ganError, match=r"must be known before. Fix: leave hydra/sweeper out"):
        jobs_from_overrides(["hydra/sweeper=optuna"])


def test_splits_that_the_store_knows_nothing_of_are_refused_before_any_job(
    tmp_path, monkeypatch, capsys
):
    flat(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    data = ["data.root=set", "data.size=32"]
    words = [*data, "method=intensity,gao", "split=random,specimen", "study=s"]
    # Not packed yet: each job says so.
    check_splits(jobs_from_overrides(words))
    assert call(pack, *data) == 0
    assert call(train_command, *words, "-m") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "error: 12 of 12 cells of stores/icpr2016_32 name no specimen, and 2 of 4 jobs set"
        " split=specimen: a specimen split needs the specimen of every cell. Fix: put"
        " specimens.csv (image,specimen) beside the images of the ICPR 2016 set, or "
    )
    assert said.endswith("or set split=block, or leave specimen out of the sweep.\n")
    assert [path.name for path in Path("runs/s").iterdir()] == ["multirun.yaml"]
    with pytest.raises(Hep2ganError, match=r"no given part, and 1 of 1 job set split=given"):
        check_splits(jobs_from_overrides([*data, "split=given"]))
    check_splits(jobs_from_overrides([*words, "doctor=true"]))
    done = [Path(f"runs/s/{method},split=specimen/seed0") for method in ("intensity", "gao")]
    for run in done:
        run.mkdir(parents=True)
        (run / "DONE").touch()
    check_splits(jobs_from_overrides(words))
    rows = [["image", "specimen"], *([f"{cell:05d}.png", cell % 4] for cell in range(1, 13))]
    write_csv(Path("set/specimens.csv"), rows)
    assert call(pack, *data) == 0
    check_splits(jobs_from_overrides([*words, "study=other"]))


SWEEP = (
    *SMALL, *NETS, "trainer.max_epochs=2", "study=s", "-m",
    "loss.gaussian_mixture.gamma=0.01,0.1,-1",
)  # fmt: skip


def test_a_sweep_with_a_failing_and_a_killed_job_is_completed_by_a_second_launch(tmp_path):
    """Three jobs: gamma=-1 fails; one of the others is killed."""
    process = train(tmp_path, *SWEEP, wait=False)
    first = tmp_path / "runs/s/proposed,loss.gaussian_mixture.gamma=0.01/seed0"
    until(lambda: list_checkpoints(first / "checkpoints"), process)
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    shown = process.communicate(timeout=300)[0]
    assert process.returncode == 2
    assert "Error executing job" not in shown
    tail = shown.strip().splitlines()[-4:]
    failing = "runs/s/proposed,loss.gaussian_mixture.gamma=-1/seed0"
    assert "2 of 3 jobs failed" in tail[0]
    assert "gamma=0.01/seed0: ended by SIGKILL" in tail[1]
    assert f"{failing}: exit status 2; error: " in tail[2]
    assert f"(log: {failing}/output.log)" in tail[2]
    done = sorted(tmp_path.glob("runs/s/*/seed0/DONE"))
    assert len(done) == 1
    for run in done:
        assert re.search(
            rf"^.*0\.\d{{4}} .*{re.escape(run.parent.parent.name)}/seed0$", shown, re.M
        )
    assert "hep2gan-report runs/s\n" in shown
    known = jobs_from_overrides([word for word in SWEEP if word != "-m"])
    assert sorted(tmp_path / job.run.path for job in known) == sorted(
        tmp_path.glob("runs/s/*/seed0")
    )
    before = {path: path.stat().st_mtime_ns for path in done}
    again = train(tmp_path, *SWEEP, check=False)
    assert again.returncode == 2
    assert again.output.count("done before") == 1
    assert "Resuming" in (first / "train.log").read_text()
    assert (first / "DONE").exists()
    assert {path: path.stat().st_mtime_ns for path in done} == before


@pytest.mark.integration
def test_a_sweep_that_is_stopped_stops_its_jobs_which_save(tmp_path):
    sweep = (*SMALL, *NETS, "trainer.max_epochs=40", "study=s", "-m", "seed=0,1")
    process = train(tmp_path, *sweep, "hydra.launcher.slots=2", wait=False)
    runs = [tmp_path / f"runs/s/proposed/seed{seed}" for seed in (0, 1)]
    until(lambda: all(list_checkpoints(run / "checkpoints") for run in runs), process)
    process.terminate()
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 143
    assert "0 of 2 jobs finished, left:" in shown
    assert shown.count(".ckpt is saved\n") == 2
    assert "The same command goes on: hep2gan-train -m hydra.launcher.slots=2 data=" not in shown
    assert "The same command goes on: hep2gan-train -m data=phantom" in shown
    time.sleep(0.2)
    sizes = [(run / "metrics.csv").stat().st_size for run in runs]
    time.sleep(1)
    assert sizes == [(run / "metrics.csv").stat().st_size for run in runs]
    assert not any((run / "DONE").exists() for run in runs)


def test_the_last_words_of_a_job_are_its_whole_error(tmp_path):
    log = tmp_path / "output.log"
    log.write_text("a\nerror: 2 things stand\n  - one\n  - two\nNothing was started.\n\n")
    assert describe_failure(2, log) == (
        f"exit status 2; error: 2 things stand - one - two Nothing was started. (log: {log})"
    )
    log.write_text("first\nlast\n")
    assert describe_failure(-9, log) == f"ended by SIGKILL; last (log: {log})"


@pytest.mark.integration
def test_a_wrong_setting_of_one_job_is_named_with_its_key(tmp_path):
    swept = ("-m", "split.kind=random,whole", "doctor=true", "study=k")
    process = train(tmp_path, *SMALL, *NETS, *swept, check=False)
    assert process.returncode == 2
    assert "2 jobs: 1 done, 1 failed" in process.output
    assert "split.kind is 'whole': it must be one of random, block" in process.output
    process = train(tmp_path, *SMALL, *NETS, "-m", "seed=0,1", "trainer.devices=two", check=False)
    assert process.output.endswith(
        "error: trainer.devices is 'two': it must be a positive whole number."
        " Fix: set trainer.devices=1.\n"
    )


@pytest.mark.integration
def test_the_doctor_looks_at_jobs_for_slurm_from_here(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    make_program(tmp_path, monkeypatch, "sbatch", "")
    launcher = SimpleNamespace(params=slurm_settings())
    for kind, problem in (("random", None), ("whole", "split.kind is 'whole'")):
        config = composed("train", *SMALL, *NETS, "trainer.accelerator=gpu", f"split.kind={kind}")
        config["doctor"] = True
        with caplog.at_level("WARNING"):
            (outcome,) = run_in_slurm(launcher, [Job(0, (), config)])
        assert "GPUs of the nodes" in caplog.text
        assert (outcome.problem is None) == (problem is None), outcome.problem
        assert problem is None or problem in outcome.problem
    assert [path.name for path in tmp_path.iterdir()] == ["sbatch"]


OPTUNA = (
    *SMALL, *NETS, "trainer.max_epochs=1", "study=o", "-m", "hydra/sweeper=optuna",
    "hydra.sweeper.n_trials=2", "split.validation_fraction=0.2",
)  # fmt: skip


@pytest.mark.integration
@pytest.mark.slow
def test_optuna_optimises_and_goes_on_after_a_restart(tmp_path):
    optuna = pytest.importorskip("optuna")
    refused = train(tmp_path, *OPTUNA, "split.validation_fraction=0", check=False)
    assert "split.validation_fraction=0.1" in refused.output
    beside = train(tmp_path, *OPTUNA, "study=memory")
    assert len(list(tmp_path.glob("runs/memory/*/seed0/DONE"))) == 2, beside.output
    storage = f"sqlite:///{tmp_path}/optuna.db"
    for _ in range(2):
        train(tmp_path, *OPTUNA, f"hydra.sweeper.storage={storage}")
    study = optuna.load_study(study_name="o", storage=storage)
    assert len(study.trials) == 2
    assert len(list(tmp_path.glob("runs/o/*/seed0/DONE"))) == 2
    assert study.best_value == max(trial.value for trial in study.trials)


@pytest.mark.integration
def test_the_doctor_looks_once_at_what_optuna_would_vary(tmp_path):
    pytest.importorskip("optuna")
    looked = train(tmp_path, *OPTUNA, "doctor=true")
    assert looked.output.count("started") == 1
    assert "1 job: 1 done, 0 failed" in looked.output
    assert not (tmp_path / "runs").exists()
    also = ("optimized_metric=val/dcie", "method=resnet50")
    wrong = train(tmp_path, *OPTUNA, "doctor=true", "loss.pixel=l3", *also, check=False)
    assert wrong.returncode == 2
    assert "loss.pixel is 'l3'" in wrong.output
    assert "optimized_metric is val/dcie" in wrong.output
    assert "loss.beta has no effect in 1 of 1 job: no generator is trained" in wrong.output
    assert not (tmp_path / "runs").exists()
