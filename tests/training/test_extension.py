"""A finished run that is trained longer: equal to one at once, and what it had found is kept."""

import filecmp
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from hep2gan.cli import evaluate, train
from hep2gan.cli.launch.jobs import unfinished_jobs
from hep2gan.cli.sweeps.jobs import TrainingJob
from hep2gan.errors import Hep2ganError
from hep2gan.io import to_yaml
from hep2gan.runs.folder import RunFolder
from hep2gan.training.extension import check_extension, extend_run
from tests.helpers.commands import call, inside_copy
from tests.helpers.configs import composed, parsed
from tests.helpers.started import NETS, RESTLESS, SMALL, assert_same_training, final

TRUSTED = "trusted=[tests.integration.nets]"
# A validation part chooses the epoch, and evaluation uses an average of the weights.
OPTIONS = (
    *(*SMALL, *NETS, *RESTLESS, "split.validation_fraction=0.2", "training.ema=0.9"),
    *("optimizer.schedule.classifier.step_size=1",),
)
RUN, ONCE = Path("runs/default/proposed/seed0"), Path("runs/once/proposed/seed0")


@pytest.fixture(scope="module")
def place(tmp_path_factory, packed_store):
    """A folder with a run of 2 epochs, and one of 4 that was trained at once."""
    with inside_copy(tmp_path_factory, packed_store) as folder:
        assert call(train, *OPTIONS, "trainer.max_epochs=2") == 0
        assert call(train, *OPTIONS, "trainer.max_epochs=4", "study=once") == 0
        yield folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


def assert_equal_to_one_at_once():
    assert_same_training(final(RUN), final(ONCE))
    for name in ("epoch0004", "best"):
        one, other = (
            torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (RUN, ONCE)
        )
        assert_same_training(one, other)
        assert one["callbacks"] == other["callbacks"]
    assert (RUN / "metrics.json").read_bytes() == (ONCE / "metrics.json").read_bytes()

    def losses(run):
        lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
        kept = [i for i, name in enumerate(lines[0]) if not name.startswith("speed/")]
        return [[line[i] for i in kept] for line in lines]

    assert losses(RUN) == losses(ONCE)


@pytest.mark.usefixtures("here")
@pytest.mark.integration
def test_a_longer_run_equals_one_at_once_and_keeps_the_result_before(capsys):
    (RUN / "external/other").mkdir(parents=True)
    (RUN / "external/other/metrics.json").write_text("{}")
    shutil.copytree(RUN, "before")
    assert call(train, *OPTIONS, "trainer.max_epochs=4") == 0
    kept = RUN / "earlier/epoch0002"
    shown = capsys.readouterr().out
    assert f"4 epochs instead of 2; the result of 2 is kept in {kept}" in shown
    assert "from epoch0002.ckpt" in shown
    assert_equal_to_one_at_once()
    assert not (RUN / "external").exists()
    config = RunFolder(RUN).config()
    assert config["trainer"]["max_epochs"] == 4
    record = json.loads((RUN / "provenance.json").read_text())
    assert record["training"]["max_epochs"] == 4
    assert [old["training"]["max_epochs"] for old in record["earlier"]] == [2]
    files = [p.relative_to("before") for p in Path("before").rglob("*") if p.is_file()]
    for file in files:
        if file.parts[0] not in ("checkpoints", "train.log"):
            assert filecmp.cmp("before" / file, kept / file, shallow=False), file
    assert filecmp.cmp("before/checkpoints/best.ckpt", kept / "checkpoints/best.ckpt")
    # It is a run that commands open, and is finished again with the same number of epochs.
    before = (kept / "metrics.json").read_text()
    assert call(evaluate, str(kept), "figures=false", "accelerator=cpu", TRUSTED) == 0
    assert (kept / "metrics.json").read_text() == before
    assert call(train, *OPTIONS, "trainer.max_epochs=4") == 0
    assert "finished already" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_one_that_is_killed_while_it_is_extended_ends_the_same():
    extend_run(RunFolder(RUN), 4)
    assert not (RUN / "DONE").exists()
    # As if the process had ended before the configuration was written.
    shutil.copy(RUN / "earlier/epoch0002/config.yaml", RUN)
    assert call(train, *OPTIONS, "trainer.max_epochs=2") == 0
    assert filecmp.cmp(RUN / "metrics.json", RUN / "earlier/epoch0002/metrics.json")
    assert call(train, *OPTIONS, "trainer.max_epochs=4") == 0
    assert_equal_to_one_at_once()


@pytest.mark.usefixtures("here")
def test_fewer_epochs_are_refused_and_the_fix_helps(capsys):
    assert call(train, *OPTIONS, "trainer.max_epochs=1") == 2
    shown = capsys.readouterr().err
    assert "is trained for 2 epochs already, trainer.max_epochs is 1" in shown
    assert "set trainer.max_epochs=2 or more" in shown
    assert (RUN / "DONE").exists()
    assert call(train, *OPTIONS, "trainer.max_epochs=2") == 0


@pytest.mark.usefixtures("here")
def test_other_settings_may_not_change_with_it(capsys):
    assert call(train, *OPTIONS, "trainer.max_epochs=4", "loss.beta=5") == 2
    shown = capsys.readouterr().err
    assert "loss.beta: 10.0 there, 5.0 here" in shown
    assert "max_epochs" not in shown


@pytest.mark.usefixtures("here")
def test_without_checkpoints_nothing_is_trained_anew(capsys):
    for file in (RUN / "checkpoints").glob("epoch*.ckpt"):
        file.unlink()
    before = (RUN / "metrics.json").read_text()
    assert call(train, *OPTIONS, "trainer.max_epochs=4") == 2
    assert "holds no checkpoint epoch*.ckpt to go on from" in capsys.readouterr().err
    assert (RUN / "metrics.json").read_text() == before


@pytest.mark.usefixtures("here")
def test_a_sweep_starts_a_finished_job_that_is_to_be_trained_longer():
    jobs = [
        TrainingJob(number, (), composed("train", *OPTIONS, f"trainer.max_epochs={epochs}"))
        for number, epochs in enumerate((2, 4))
    ]
    outcomes = {}
    assert [job.number for job in unfinished_jobs(jobs, outcomes)] == [1]
    assert [(job.number, problem) for job, problem in outcomes.values()] == [(0, None)]
    # The DONE of 2 epochs is no end of 4.
    assert [job.done for job in jobs] == [True, False]
    (RUN / "config.yaml").write_text("damaged")
    assert not jobs[0].done


# ---------------------------------------------------------------- schedules


def checked(tmp_path, before, after, newest, *options):
    run = RunFolder(tmp_path / "run")
    run.save_config(parsed("data=phantom", f"trainer.max_epochs={before}", *options).to_plain())
    longer = parsed("data=phantom", f"trainer.max_epochs={after}", *options)
    return check_extension(longer, run, run.checkpoints / newest)


STAGES, RAMP = "training.two_stage=true", "loss.gaussian_mixture.margin=[0.1,0.3]"


@pytest.mark.parametrize(
    ("newest", "option"),
    [
        ("epoch0011.ckpt", STAGES),
        ("epoch0010_batch00003.ckpt", STAGES),
        ("epoch0002.ckpt", RAMP),
        ("epoch0001_batch00001.ckpt", RAMP),
    ],
)
def test_a_schedule_over_all_epochs_is_refused(tmp_path, newest, option):
    with pytest.raises(Hep2ganError, match="the epochs that are done would have been others") as e:
        checked(tmp_path, 10, 20, newest, option)
    assert option.partition("=")[0] in str(e.value)
    assert f"init_from={tmp_path / 'run'}" in e.value.fix


@pytest.mark.usefixtures("here")
def test_the_fix_of_such_a_schedule_helps(capsys):
    words = (*OPTIONS, RAMP, "study=ramp")
    run = Path("runs/ramp/proposed/seed0")
    assert call(train, *words, "trainer.max_epochs=2") == 0
    assert call(train, *words, "trainer.max_epochs=4") == 2
    assert f"name=… or study=…; init_from={run}" in capsys.readouterr().err
    assert (run / "DONE").exists()
    more = (*words, "trainer.max_epochs=4", "name=longer", f"init_from={run}", "doctor=true")
    assert call(train, *more) == 0


@pytest.mark.parametrize(
    ("newest", "option"),
    [
        ("epoch0010.ckpt", STAGES),  # Both would have trained the GAN alone so far.
        ("epoch0001.ckpt", RAMP),
        ("epoch0010.ckpt", "loss.gaussian_mixture.margin=[0.2,0.2]"),
        ("epoch0010.ckpt", "loss.gaussian_mixture.margin=0.3"),
    ],
)
def test_a_schedule_that_would_have_been_the_same_is_not(tmp_path, newest, option):
    assert checked(tmp_path, 10, 20, newest, option) == "20 epochs instead of 10"


def test_an_unfinished_run_may_be_shortened_to_what_is_trained(tmp_path):
    assert checked(tmp_path, 10, 6, "epoch0006.ckpt") == "6 epochs instead of 10"
    with pytest.raises(Hep2ganError, match="is trained for 7 epochs already") as caught:
        checked(tmp_path, 10, 6, "epoch0006_batch00001.ckpt")
    assert "set trainer.max_epochs=7 or more" in caught.value.fix


def test_a_forest_has_no_epochs(tmp_path):
    run = RunFolder(tmp_path)
    run.save_config(parsed("data=phantom", "method=prasath", "trainer.max_epochs=2").to_plain())
    run.done_file.touch()
    more = parsed("data=phantom", "method=prasath", "trainer.max_epochs=4").to_plain()
    run.check_config(more)
    assert run.done_with(more)


# ---------------------------------------------------------------- kills


def finished_run(folder):
    """A run folder with one file of each kind."""
    run = RunFolder(folder)
    for name in ("checkpoints", "figures", "external/other", "export"):
        (folder / name).mkdir(parents=True)
    run.config_file.write_text(to_yaml({"trainer": {"max_epochs": 2}, "seed": 0}))
    torch.save({"state_dict": {}}, run.checkpoints / "epoch0002.ckpt")
    names = ("store.json", "split.csv", "split.json", "provenance.json", "metrics.csv", "DONE")
    results = ("metrics.json", "predictions.npz", "figures/roc.png", "figures/roc.pdf")
    for name in (*names, *results, "external/other/metrics.json", "export/model.onnx"):
        (folder / name).write_text(name)
    return run


def content(folder):
    # A process that is killed while it writes leaves what it had written under another name.
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".partial")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.")


def killed_before_change(number, action):
    """Run `action` in a process that is killed before its change of the disk of this number."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [number]

    def count(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if event.startswith(_CHANGES) or writes:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)

    sys.addaudithook(count)
    action()
    os._exit(0)


def test_a_kill_at_any_point_leaves_the_finished_run_or_one_that_goes_on(tmp_path):
    whole = finished_run(tmp_path / "whole")
    before = content(whole.path)
    extend_run(whole, 4)
    after = content(whole.path)
    assert content(whole.path / "earlier/epoch0002") == before
    assert after.keys() - {f"earlier/epoch0002/{name}" for name in before} == {
        "config.yaml", "store.json", "split.csv", "split.json", "provenance.json", "metrics.csv",
        "checkpoints/epoch0002.ckpt",
    }  # fmt: skip
    for number in range(200):
        run = finished_run(tmp_path / f"kill{number}")
        status = killed_before_change(number, lambda run=run: extend_run(run, 4))
        found = content(run.path)
        if run.done:
            assert before.items() <= found.items(), number
        else:
            assert before.items() <= content(run.path / "earlier/epoch0002").items(), number
            assert (run.path / "checkpoints/epoch0002.ckpt").exists()
        if not status:
            break
        # Whoever gives the command again gets what an undisturbed one had made.
        if run.max_epochs() == 2:
            extend_run(run, 4)
        assert content(run.path) == after, number
        shutil.rmtree(run.path)
    assert 30 < number < 199
