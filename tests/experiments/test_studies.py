"""The studies of experiments/: what they sweep, what they take up, what they write."""

import csv
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException

from hep2gan.cli.sweeps.compose import jobs_from_overrides
from hep2gan.errors import Hep2ganError
from hep2gan.reports.build import PAGE
from hep2gan.reports.study_figures import FIGURE_NAMES
from hep2gan.reports.tables.catalogue import find_tables
from tests.helpers.configs import composed
from tests.helpers.started import environment, until

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("study", ROOT / "experiments" / "studies" / "run.py")
study = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study)
Study, key_of = study.Study, study.key_of

STUDIES = ["table_1", "figure_2", "figure_3", "figure_4", "figure_5", "ablation", "leakage"]
STUDIES += ["priors", "unseen_specimens", "parts", "cross_set", "crops", "tuned"]
NUMBERS = ("seed", "split.fold")
"""Of these one value composes as any other."""


def values_of(override):
    """The values that an override sweeps over, or its only one."""
    parsed = OverridesParser.create().parse_override(override)
    if parsed.is_sweep_override():
        return list(parsed.sweep_string_iterator())
    return [parsed.get_value_element_as_str()]


def jobs(overrides):
    """The overrides of each job of a sweep, one seed and fold of each."""
    found = []
    for one in overrides:
        key, values = key_of(one), values_of(one)
        if not key.startswith("hydra."):
            few = values[:1] if key in NUMBERS else values
            found.append([f"{key}={value}" for value in few])
    return list(product(*found))


def test_every_file_with_a_question_is_a_study():
    assert sorted(STUDIES) == study.studies()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_a_question_and_files_that_exist(name):
    found = Study.load(name)
    assert found.question.endswith("?")
    assert set(found.only) <= {PAGE, *find_tables(), *FIGURE_NAMES}
    assert found.study in STUDIES
    # Jobs come in this order, and the report shows them method by method.
    assert found.sweep[0].startswith("method=")
    given = yaml.safe_load((ROOT / "experiments" / "studies" / f"{name}.yaml").read_text())
    assert set(given) <= {
        *("question", "reference", "sweep", "laptop", "study", "only", "alone", "cross", "budget"),
    }
    if found.reference:
        assert found.reference in values_of(
            next(one for one in found.sweep if one.startswith("method="))
        )


@pytest.mark.parametrize("scale", [pytest.param("paper", marks=pytest.mark.integration), "laptop"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_job_composes(name, scale):
    sweeps = Study.load(name).sweeps([f"scale={scale}"])
    for job in [job for sweep in sweeps for job in jobs(sweep)]:
        config = composed("train", *job)
        given = dict(one.split("=", 1) for one in job)
        assert config["name"] == given.get("name", given["method"])
        assert config["study"].endswith("_laptop") == (scale == "laptop")
        assert config["split"]["kind"] == given.get("split", "random")
        assert config["data"]["size"] == (64 if scale == "laptop" else 128)


def test_what_is_given_takes_the_place_of_the_studys_own():
    found = Study.load("table_1").overrides(["seed=0", "trainer.max_epochs=1"])
    assert [one for one in found if one.startswith("seed")] == ["seed=0"]
    assert found[-1] == "trainer.max_epochs=1"
    assert found[0] == "study=table_1"
    laptop = Study.load("leakage").overrides(["scale=laptop", "method=intensity"])
    assert [one for one in laptop if one.startswith(("data", "method", "study", "scale"))] == [
        "study=leakage_laptop", "method=intensity", "data=phantom_diverse", "scale=laptop",
    ]  # fmt: skip
    assert "hydra.launcher.slots=2" in laptop
    assert Study.load("unseen_specimens").overrides(["scale=laptop"]).count("data=phantom") == 0
    keys = [key_of(one) for one in laptop]
    assert len(keys) == len(set(keys))


@pytest.mark.integration
def test_a_single_value_is_named_as_among_others():
    def folders(name, *given):
        return [str(job.run.path) for job in jobs_from_overrides(Study.load(name).overrides(given))]

    assert folders("parts", "split=block", "seed=1", "split.fold=0,1") == [
        f"runs/parts/resnet50_t,split.fold={fold}/seed1" for fold in (0, 1)
    ]
    few = ["method=intensity", "split=random", "split.fold=0", "seed=0"]
    assert folders("leakage", *few, "split.group_duplicates=false") == [
        "runs/leakage/intensity,split=random,split.group_duplicates=False,split.fold=0/seed0"
    ]
    assert folders("leakage", *few[:2], "seed=0", "split.fold=4")[0] in folders(
        "leakage", *few[:2], "seed=0", "split.fold=0,4"
    )
    assert set(folders("leakage", *few, "split.group_duplicates=true")) < set(
        folders("leakage", "method=intensity", "split.fold=0")
    )
    assert folders("table_1", "method=gao", "seed=0") == ["runs/table_1/gao/seed0"]
    assert folders("figure_3", "method=gao") == folders("table_1", "method=gao", "seed=0")


@pytest.fixture
def taken_up(monkeypatch):
    """The runs that a report was written of, and what else it was told; nothing is trained."""
    found = []
    monkeypatch.setattr(study, "trained", lambda _: 0)

    def noted(runs, folder, **told):
        found.append(([str(run) for run in runs], folder, told))
        return []

    monkeypatch.setattr("hep2gan.reports.build.write_report", noted)
    return found


def test_the_finished_runs_of_a_study_and_no_others_are_taken_up(tmp_path, monkeypatch, taken_up):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/ablation")
    done = [
        "proposed,+tag=b/seed0", "proposed,+tag=a/seed1", "proposed,+tag=a/seed0",
        "proposed/seed0", "proposed,+tag=a/seed3", "bce_dice,+tag=a/seed0", "report/seed0",
    ]  # fmt: skip
    for name in done:
        (folder / name).mkdir(parents=True)
        (folder / name / "DONE").touch()
    (folder / "without_gm,+tag=b" / "seed0").mkdir(parents=True)
    words = ["ablation", "method=without_gm,proposed", "seed=0,1", "+tag=b,a"]
    assert study.main(words) == 0
    ((runs, place, told),) = taken_up
    names = ["tag=b/seed0", "tag=a/seed0", "tag=a/seed1"]
    assert runs == [f"runs/ablation/proposed,+{name}" for name in names]
    assert place == folder / "report"
    assert told["title"] == "Ablation"
    assert told["reference"] == ""
    monkeypatch.setattr(study, "trained", lambda _: pytest.fail("a sweep was launched"))
    assert study.main([*words, "train=false"]) == 0
    assert taken_up[1] == taken_up[0]


@pytest.mark.parametrize("status", [0, 2])
def test_the_doctor_leaves_no_report(status, monkeypatch, taken_up, capsys):
    monkeypatch.setattr(study, "trained", lambda _: status)
    assert study.main(["table_1", "method=gao", "seed=0", "doctor=true"]) == status
    assert taken_up == []
    assert capsys.readouterr() == ("", "")


def test_what_methods_are_compared_with():
    def compared(name, methods, *names):
        runs = [Path(f"runs/s/{one}/seed0") for one in names]
        return Study.load(name).reference_among(runs, methods)

    assert compared("table_1", "gao,proposed", "gao", "proposed") == ""
    assert compared("ablation", "end_to_end,proposed", "end_to_end", "proposed") == "proposed"
    assert compared("ablation", "gao,vgg16", "gao", "vgg16") == ""
    assert compared("ablation", "proposed", "proposed,loss.beta=1", "proposed,loss.beta=2") == ""
    folds = [f"{name},split.fold={fold}" for name in ("proposed", "noise") for fold in (0, 1)]
    assert compared("parts", "proposed", *folds) == "proposed"
    assert compared("unseen_specimens", "proposed,robust", "robust,split.fold=0") == ""


def test_what_is_not_understood(capsys):
    with pytest.raises(
        Hep2ganError, match=r"no study 'table_2'.*from ablation, crops, cross_set, f"
    ):
        Study.load("table_2")
    with pytest.raises(Hep2ganError, match="no study 'wandb_sweep'"):
        Study.load("wandb_sweep")
    with pytest.raises(Hep2ganError, match=r"(?s)not understood.*quickly.*KEY=VALUE"):
        study.main(["table_1", "quickly"])
    assert study.main([]) == 2
    assert "python experiments/studies/run.py NAME" in capsys.readouterr().err


def made_job(done):
    """A job, as far as a study asks whether it is done."""
    run = SimpleNamespace(done=done, path=Path("run"))
    return SimpleNamespace(run=run, config={"doctor": False})


@pytest.mark.parametrize("statuses", [(0, -15), (2, 0), (0, 1)])
def test_no_report_is_written_where_a_sweep_failed(statuses, monkeypatch, capsys):
    left = [*statuses, 0]
    sweeps = [["one"], ["two"], ["three"]]
    monkeypatch.setattr(study, "LAUNCH", ("true",))
    monkeypatch.setattr(study, "ended", lambda *_: left.pop(0))
    left_by = {"one": True, "two": False, "three": True}
    monkeypatch.setattr(study, "check_splits", lambda _: None)
    monkeypatch.setattr(study, "jobs_from_overrides", lambda words: [made_job(left_by[words[0]])])
    monkeypatch.setattr(Study, "sweeps", lambda *_: sweeps)
    words = ["parts", "augmentation.gain=[0.7, 1.5]"]
    assert study.main(words) == next(status for status in statuses if status)
    assert not left
    assert capsys.readouterr().err == (
        "No report is written: 2 of 3 runs are finished. To sum up these: make parts"
        " 'augmentation.gain=[0.7, 1.5]' train=false\n"
    )


def test_a_budget_keeps_what_is_best_in_validation(tmp_path, monkeypatch, capsys):
    key = "optimizer.classifier.lr"
    scores = {
        f"proposed,{key}=0.0001": [0.9, 0.7], f"proposed,{key}=0.001": [0.85, 0.8],
        f"gao,split.fold=0,{key}=0.0001": [0.5, 0.6], f"gao,split.fold=0,{key}=0.001": [0.4, 0.6],
        "prasath": [None],
    }  # fmt: skip
    tried = [
        SimpleNamespace(
            run=value,
            config={"name": name, "seed": seed, "model": {"baseline": name == "prasath"}},
        )
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    monkeypatch.setattr(study, "objective_value", lambda run, config: run)
    found = study.try_budget(tried, [key])
    kept = {one.name for one in found if one.chosen}
    assert kept == {f"proposed,{key}=0.001", f"gao,split.fold=0,{key}=0.0001"}
    study.write_budget(found, {key: [0.0001, 0.001, 0.01]}, tmp_path / "report" / "budget.csv")
    assert capsys.readouterr().out == (
        f"proposed,{key}=0.001 (0.8250 in validation)\n"
        f"gao,split.fold=0,{key}=0.0001 (0.5500 in validation; {key}=0.0001 is the end of what was"
        " tried)\n"
    )
    with (tmp_path / "report" / "budget.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["chosen"] for row in rows] == ["false", "true", "true", "false"]
    assert rows[0] | {"score": "0.8"} == {
        "method": "proposed", "name": f"proposed,{key}=0.0001", "seeds": "0 1", "score": "0.8",
        "chosen": "false",
    }  # fmt: skip
    with pytest.raises(Hep2ganError, match=r"(?s)=0.0001: seeds \[0\].*=0.001: seeds \[0, 1\]"):
        study.try_budget([tried[0], *tried[2:4]], [key])


def test_every_row_has_the_same_budget_and_the_forest_none():
    first, *further = Study.load("tuned").sweeps(["scale=laptop"])
    assert first[-1] == "optimizer.classifier.lr=3e-05,0.0001,0.0003,0.001,0.003,0.01"
    assert [one for one in further[0] if "lr" in one] == []
    assert {"method=prasath", "name=prasath"} < set(further[0])
    one = Study.load("tuned").sweeps(["optimizer.classifier.lr=0.01"])[0]
    assert [word for word in one if "lr=" in word] == ["optimizer.classifier.lr=choice(0.01)"]


@pytest.mark.integration
def test_a_study_that_its_store_does_not_allow_starts_nothing(monkeypatch):
    def refused(jobs):
        assert len(jobs) == 16 * 5  # changes × seeds
        raise Hep2ganError("no specimens")

    monkeypatch.setattr(study, "check_splits", refused)
    monkeypatch.setattr(study, "trained", lambda _: pytest.fail("a sweep was launched"))
    with pytest.raises(Hep2ganError, match="no specimens"):
        study.main(["parts"])


LAUNCHER = """
import signal, sys, time
from pathlib import Path

def save(number, _):
    time.sleep(1)
    Path("saved").write_text(signal.Signals(number).name)
    sys.exit(1)

signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1]).touch()
time.sleep(60)
"""
LAUNCHED = f"""
import sys
sys.path.insert(0, {str(ROOT / "experiments" / "studies")!r})
import run as study
study.LAUNCH = (sys.executable, "launcher.py")
with study.readable_errors(study.config_folder() / "train.yaml"):
    sys.exit(study.trained([["one"], ["two"]]))
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "whole_group", "status"), [("SIGINT", True, 130), ("SIGTERM", False, 143)]
)
def test_a_study_that_is_stopped_waits_until_its_sweep_has_saved(
    name, whole_group, status, tmp_path
):
    """A terminal tells the whole group of Ctrl-C; `kill` one process."""
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    (tmp_path / "launched.py").write_text(LAUNCHED)
    process = subprocess.Popen(
        [sys.executable, "launched.py"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    until((tmp_path / "one").exists, process)
    send = os.killpg if whole_group else os.kill
    send(process.pid, signal.Signals[name])
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == status, shown
    assert shown == ""
    assert (tmp_path / "saved").read_text() == name
    assert not (tmp_path / "two").exists()


def test_what_is_wrong_with_any_sweep_is_said_before_the_first_is_trained(monkeypatch):
    monkeypatch.setattr(study, "trained", lambda _: pytest.fail("a sweep was launched"))
    changed = Study.load("parts")._replace(alone={"blur": ["augmentation.blurr=[0.0,1.0]"]})
    monkeypatch.setattr(Study, "load", lambda _: changed)
    with pytest.raises(ConfigCompositionException, match=r"override 'augmentation\.blurr'"):
        study.main(["parts"])


@pytest.mark.skipif(shutil.which("make") is None, reason="not installed: make")
def test_make_knows_every_study_and_passes_lower_case_on():
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split()[0] for line in helped.stdout.splitlines()]
    assert set(STUDIES) < set(listed)
    words = ["make", "-n", "-o", ".venv/.ready", "table_1", "scale=laptop", "seed=0,1", "DEMO=x"]
    spaced = ["augmentation.gain=[0.7, 1.5]", "name='a  b'"]
    dry = subprocess.run([*words, *spaced], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = re.findall(r".*run\.py.*", dry.stdout)
    name, *overrides = shlex.split(line.partition("run.py ")[2])
    assert name == "table_1"
    assert sorted(overrides) == sorted([*spaced, "scale=laptop", "seed=0,1"])


@pytest.mark.slow
def test_a_small_study_from_its_cells_to_its_page(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["leakage", "scale=laptop", "method=intensity", "split=random,specimen"]
    words += ["split.group_duplicates=false", "split.folds=null", "split.fold=0"]
    assert study.main([*words, "data.count=96", "model.baseline.trees=5"]) == 0
    folder = tmp_path / "runs" / "leakage_laptop" / "report"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"report.html", "table_1.tex", "leakage.md", "intervals.pdf"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>Leakage</h1>" in page
    assert ">What the split changes</h2>" in page
    assert page.count('<details class="run">') == 2
    assert "runs/leakage_laptop/report/report.html" in capfd.readouterr().out


@pytest.mark.slow
def test_a_budget_is_tried_in_validation_and_the_choice_tested(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    key = "optimizer.classifier.lr"
    words = ["tuned", "scale=laptop", "method=gao", "seed=0", "data.count=400", f"{key}=1e-3,1e-2"]
    words.append("trainer.max_epochs=1")
    with pytest.raises(Hep2ganError, match=r"validation_fraction is 0"):
        study.main([*words, "split.validation_fraction=0"])
    assert study.main(words) == 0
    folder = tmp_path / "runs" / "tuned_laptop" / "report"
    with (folder / "budget.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {f"gao,{key}=0.001", f"gao,{key}=0.01"}
    chosen = max(rows, key=lambda row: float(row["score"]))
    assert [row["chosen"] for row in rows].count("true") == 1
    assert chosen["chosen"] == "true"
    with (folder / "table_1.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [chosen["name"], "prasath"]
    assert f"{chosen['name']} (" in capfd.readouterr().out


def test_a_study_of_several_sets_is_refused_one(monkeypatch):
    monkeypatch.setattr(study, "trained", lambda _: pytest.fail("a sweep was launched"))
    with pytest.raises(Hep2ganError, match=r"all runs are .* stores/x_128.*data.name=lab_a"):
        study.main(["cross_set", "data=manifest", "data.name=x", "seed=0"])


@pytest.mark.slow
def test_each_set_is_trained_on_and_all_are_tested(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["cross_set", "scale=laptop", "method=intensity", "seed=0", "data.count=96"]
    words.append("model.baseline.trees=5")
    assert study.main(words) == 0
    runs = tmp_path / "runs" / "cross_set_laptop"
    stores = [f"phantom_96_0_lab{lab}_64" for lab in (0, 1)]
    for lab, other in enumerate(reversed(stores)):
        assert (runs / f"intensity,data.lab={lab}/seed0/external/{other}/external.json").is_file()
    table = (runs / "report" / "cross_set.md").read_text(encoding="utf-8")
    assert f"| On {stores[0]} | On {stores[1]} |" in table
    assert (runs / "report" / "cross_set.png").is_file()
    assert "tested on 96 of 96 cells" in capfd.readouterr().out
    # What is tested already is left alone.
    monkeypatch.setattr(study, "evaluate", lambda _: pytest.fail("tested again"))
    assert study.main([*words, "train=false"]) == 0
