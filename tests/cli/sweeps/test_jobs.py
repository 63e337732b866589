"""The jobs of a sweep: names, places, keys without effect, splits that cannot be made."""

from pathlib import Path

import pytest

from hep2gan.cli import pack
from hep2gan.cli import train as train_command
from hep2gan.cli.launch.jobs import check_apart
from hep2gan.cli.sweeps.compose import jobs_from_overrides
from hep2gan.cli.sweeps.jobs import TrainingJob, check_splits, job_name, tell_idle
from hep2gan.errors import Hep2ganError
from tests.helpers.commands import call
from tests.helpers.configs import composed
from tests.helpers.raw_sets import flat, write_csv


def test_names_hold_what_is_swept_and_nothing_else():
    assert job_name("proposed", {"seed": "1", "method": "proposed"}) == "proposed"
    swept = {"loss.beta": "5", "seed": "1", "data.root": "/x", "generator": "xception41"}
    assert job_name("proposed", swept) == "proposed,loss.beta=5,generator=xception41"
    assert job_name("m", {"a": "x/../y z"}) == "m,a=x_.._y_z"
    long = [job_name("m", {f"key{k}": f"{value}" for k in range(40)}) for value in (1, 2)]
    assert long[0] != long[1]
    assert max(map(len, long)) < 200


def test_two_jobs_may_not_share_a_folder():
    job = TrainingJob(0, (), {"run_dir": "runs/a"})
    with pytest.raises(Hep2ganError, match=r"(?s)same folder.*runs/a"):
        check_apart([job, job._replace(number=1)])


def test_jobs_that_differ_in_nothing_are_told(caplog):
    words = [
        ("method=resnet50", "loss.beta=5"),
        ("method=resnet50", "loss.beta=9"),
        ("loss.beta=5",),
    ]
    jobs = [
        TrainingJob(k, each, composed("train", "data.root=x", *each))
        for k, each in enumerate(words)
    ]
    tell_idle(jobs)
    assert [record.message for record in caplog.records] == [
        "note     loss.beta has no effect in 2 of 3 jobs: no generator is trained"
    ]


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
