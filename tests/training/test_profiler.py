"""trainer.profile: shares of a step's parts, their names, the files, and that nothing changes."""

import itertools
import json

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from hep2gan.cli import pack, train
from hep2gan.cli.local import run_settings
from hep2gan.config import config_errors
from hep2gan.models.guidance import MaskGuidance, TrainingStages
from hep2gan.runs.folder import RunFolder
from hep2gan.training.nonfinite import SkipNonfinite
from hep2gan.training.profiler import (
    WARM_UP,
    StepProfile,
    StepProfiler,
    StepTimeline,
    record,
)
from tests.helpers import tiny
from tests.helpers.commands import call
from tests.helpers.configs import composed, parsed
from tests.helpers.full_disk import divert, needs_full_device
from tests.helpers.started import NETS, SMALL, TWO, assert_same_training, final
from tests.helpers.started import train as started

GENERATOR = ["G(x)", "L_total (eqs 1 to 3)", "backward", "optimizer"]
JUDGED = [GENERATOR[0], "D(x, G(x))", *GENERATOR[1:]]
DISCRIMINATOR = ["D(x, y) and D(x, G(x))", "L_GAN (eq. 1)", "backward", "optimizer"]
CLASSIFIER = ["output and features", "L_out + L_cla (eq. 7)", "backward", "optimizer"]
DATA = ["cells read", "to the device, normalised, augmented"]
AROUND = ["callbacks", "the rest"]
ALL = {"discriminator": DISCRIMINATOR, "generator": JUDGED, "classifier": CLASSIFIER}


class Ends(L.Callback):
    """A callback that does something after the step."""

    def __init__(self, work):
        self.on_train_batch_end = lambda *_: work()


class Recorded(L.Callback):
    """Whether each step is recorded."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, *_):
        self.steps.append(StepTimeline.current is not None)


def profiled(folder, task, *, steps=50, batches=8, epochs=1, callbacks=(), finish=True):
    """Train with a profiler; what it wrote."""
    profiler = StepProfiler(task, RunFolder(folder), steps=steps, cells=6)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, profiler=profiler,
        callbacks=list(callbacks), enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    loader = DataLoader([tiny.batch(seed=s) for s in range(batches)], batch_size=None)
    trainer.fit(task, loader)
    if finish:
        profiler.finish()
    file = folder / "profile.json"
    return json.loads(file.read_text())["stages"] if file.exists() else None


def named(stage):
    """The names of the parts by their groups."""
    found = {}
    for part in stage["parts"]:
        found.setdefault(part["group"], []).append(part["part"])
    return found


@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ({}, ALL),
        ({"mixture": False}, ALL),
        ({"adversarial": False}, {"generator": GENERATOR, "classifier": CLASSIFIER}),
        ({"classify": False}, {"discriminator": DISCRIMINATOR, "generator": JUDGED}),
        ({"segment": False, "guidance": MaskGuidance(source="none")}, {"classifier": CLASSIFIER}),
        (
            {"segment": False, "guidance": MaskGuidance(source="ground_truth")},
            {"classifier": CLASSIFIER},
        ),
        (
            {"guidance": MaskGuidance(gradient=0.3)},
            ALL | {"generator": [*JUDGED[:3], CLASSIFIER[1], *JUDGED[3:]]},
        ),
    ],
)
def test_the_parts_of_each_kind_of_method(tmp_path, given, groups):
    task = tiny.task(**given)
    (stage,) = profiled(tmp_path, task)
    found = named(stage)
    assert found.pop("waiting for data") == DATA
    assert sorted(found.pop("around the networks")) == AROUND
    assert found == groups
    assert stage["trained"] == list(groups)
    assert sum(part["share"] for part in stage["parts"]) == pytest.approx(1)
    assert all(part["seconds"]["mean"] > 0 for part in stage["parts"])
    assert stage["seconds"]["mean"] == pytest.approx(
        sum(part["seconds"]["mean"] for part in stage["parts"])
    )


def test_the_time_of_a_part_is_its_own(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hep2gan.training.profiler.time.perf_counter", lambda: now[0])
    task = tiny.task()

    def costs(seconds):
        def hook(*_):
            now[0] += seconds

        return hook

    task.generator.register_forward_hook(costs(1))
    task.discriminator.register_forward_hook(costs(2))
    task.classifier.register_forward_hook(costs(3))
    task.classification_loss.gaussian_mixture.register_forward_hook(costs(4))
    task.on_train_batch_start = lambda *_: costs(5)()
    task.on_before_batch_transfer = lambda batch, _: (costs(6)(), batch)[1]
    task.softening.register_forward_hook(costs(7))
    (stage,) = profiled(tmp_path, task, callbacks=[Ends(costs(8)), Ends(costs(9))])
    found = {f"{p['group']}: {p['part']}": p["seconds"]["median"] for p in stage["parts"]}
    assert {name: seconds for name, seconds in found.items() if seconds} == {
        "generator: G(x)": 1, "generator: D(x, G(x))": 2,
        "discriminator: D(x, y) and D(x, G(x))": 4 + 7, "classifier: output and features": 3,
        "classifier: L_out + L_cla (eq. 7)": 4, "around the networks: callbacks": 5 + 8 + 9,
        # Moving a batch is Lightning's; before it come hooks of the task.
        "around the networks: the rest": 6,
    }  # fmt: skip
    assert stage["seconds"]["median"] == 1 + 2 + 4 + 3 + 4 + 5 + 6 + 7 + 8 + 9


def test_so_many_steps_are_recorded_and_no_more(tmp_path):
    recorded = Recorded()
    (stage,) = profiled(tmp_path, tiny.task(), steps=4, batches=12, callbacks=[recorded])
    assert (stage["steps"], stage["steps_left_out"]) == (4, WARM_UP)
    assert recorded.steps == [True] * (4 + WARM_UP) + [False] * (12 - 4 - WARM_UP)


def test_nothing_is_recorded_after_an_error(tmp_path):
    def fail():
        raise ValueError("stop here")

    with pytest.raises(ValueError, match="stop here"):
        profiled(tmp_path, tiny.task(), callbacks=[Ends(fail)])
    assert StepTimeline.current is None


def test_skipped_updates_do_not_hide_a_part(tmp_path):
    (stage,) = profiled(tmp_path, tiny.task(), callbacks=[SkipNonfinite()])
    assert {group: parts for group, parts in named(stage).items() if group in ALL} == ALL


def test_torch_sees_the_labels_too():
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu]) as trace, record("generator/G(x)"):
        torch.ones(2).exp()
    assert "generator/G(x)" in {event.key for event in trace.key_averages()}


def test_each_stage_has_a_profile_of_its_own(tmp_path):
    task = tiny.task(stages=TrainingStages(2))
    gan, classifier = profiled(tmp_path, task, steps=4, batches=6, epochs=4)
    assert named(gan).keys() == ALL.keys() - {"classifier"} | {
        "waiting for data", "around the networks",
    }  # fmt: skip
    # Its masks are still generated.
    assert named(classifier)["generator"] == ["G(x)"]
    assert named(classifier)["classifier"] == CLASSIFIER
    assert gan["steps"] == classifier["steps"] == 4


def test_a_training_shorter_than_the_warm_up_shows_its_last_step(tmp_path):
    (stage,) = profiled(tmp_path, tiny.task(), batches=3)
    assert (stage["steps"], stage["steps_left_out"]) == (1, 2)


def test_the_files_are_there_as_soon_as_the_steps_are(tmp_path):
    assert profiled(tmp_path / "more", tiny.task(), batches=8, finish=False) is None
    (tmp_path / "less").mkdir()
    (stage,) = profiled(tmp_path / "less", tiny.task(), steps=2, finish=False)
    assert stage["steps"] == 2
    assert "| **the whole step**" in (tmp_path / "less" / "profile.md").read_text()


@needs_full_device
def test_a_full_disk_leaves_the_profile_that_was_there(tmp_path):
    profiled(tmp_path, tiny.task(), steps=2)
    before = (tmp_path / "profile.json").read_bytes()
    divert(tmp_path / "profile.json")
    with pytest.raises(OSError, match="No space left"):
        profiled(tmp_path, tiny.task(), steps=3)
    assert (tmp_path / "profile.json").read_bytes() == before


@pytest.mark.parametrize("value", ["abc", 0, -1, 1.5, None, []])
def test_other_values_are_refused(value):
    config = run_settings(composed("train", "data=phantom"))
    config["trainer"]["profile"] = value
    (error,) = config_errors(config).values()
    assert "it must be true or false, or a whole number, 1 or more" in str(error)
    assert "Fix: set trainer.profile=false" in str(error)


@pytest.mark.parametrize("value", [True, False, 200])
def test_these_are_taken(value):
    found = parsed("data=phantom", f"trainer.profile={value}").trainer.profile
    assert found is value or found == value == 200


@pytest.mark.integration
def test_weights_have_the_same_bits_and_a_user_sees_the_table(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    given = (*SMALL, *NETS, "trainer.batch_size=4")
    assert call(train, *given, "study=without") == 0
    assert "part of a training step" not in capfd.readouterr().out
    assert call(train, *given, "study=with", "trainer.profile=true") == 0
    without, profiled = (tmp_path / "runs" / of / "proposed/seed0" for of in ("without", "with"))
    shown = capfd.readouterr().out
    table = (profiled / "profile.md").read_text().strip()
    assert table in shown
    assert "| · L_out + L_cla (eq. 7) " in table
    assert not (without / "profile.json").exists()
    assert_same_training(final(without), final(profiled))
    # A finished run is left alone, whether or not it was profiled.
    assert call(train, *given, "study=without", "trainer.profile=true") == 0
    assert not (without / "profile.json").exists()


@pytest.mark.integration
def test_on_two_ranks_the_first_one_profiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(pack, "data=phantom", "data.count=60", "data.size=32") == 0
    options = (*SMALL, *NETS, *TWO, "trainer.batch_size=4", "trainer.max_epochs=1")
    started(tmp_path, *options, "study=without")
    output = started(tmp_path, *options, "study=with", "trainer.profile=3").output
    without, profiled = (tmp_path / "runs" / of / "proposed/seed0" for of in ("without", "with"))
    assert output.count("part of a training step") == 1
    (stage,) = json.loads((profiled / "profile.json").read_text())["stages"]
    assert (stage["steps"], stage["cells"]) == (3, 2)
    assert stage["device"] == "the CPU (1 thread), rank 0 of 2"
    assert {group: parts for group, parts in named(stage).items() if group in ALL} == ALL
    assert sum(part["share"] for part in stage["parts"]) == pytest.approx(1)
    assert_same_training(final(without), final(profiled))


@pytest.mark.gpu
def test_on_a_gpu_the_times_are_the_devices(tmp_path):
    profiler = StepProfiler(task := tiny.task(), RunFolder(tmp_path), steps=3, cells=6)

    def busy(*_):
        torch.cuda._sleep(200_000_000)

    task.generator.register_forward_hook(busy)
    trainer = L.Trainer(
        accelerator="gpu", devices=1, max_epochs=1, logger=False, profiler=profiler,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, DataLoader([tiny.batch(seed=s) for s in range(8)], batch_size=None))
    profiler.finish()
    (stage,) = json.loads((tmp_path / "profile.json").read_text())["stages"]
    assert stage["device"] == torch.cuda.get_device_name()
    shares = {f"{p['group']}: {p['part']}": p["share"] for p in stage["parts"]}
    assert shares["generator: G(x)"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)


READ, MASK, SCORES = "data/read", "generator/G(x)", "discriminator/D"
UPDATE, REST = "generator/optimizer", "around/the rest"
STEPS = [
    {READ: 0.001, MASK: 0.006, SCORES: 0.002, UPDATE: 0.001},
    {READ: 0.001, MASK: 0.012, SCORES: 0.002, UPDATE: 0.003, REST: 0.002},
]
PROFILE = StepProfile(["discriminator", "generator"], STEPS, cells=3, device="a CPU", left_out=5)


def test_shares_are_of_the_time_of_all_steps_and_add_up_to_1():
    assert PROFILE.share([MASK]) == pytest.approx(18 / 30)
    assert PROFILE.share([MASK, UPDATE]) == pytest.approx(22 / 30)
    assert PROFILE.share([REST]) == pytest.approx(2 / 30)
    assert sum(map(PROFILE.share, PROFILE.groups.values())) == pytest.approx(1)


def test_a_group_stands_together_where_it_ends():
    assert list(PROFILE.groups.items()) == [
        ("data", [READ]),
        ("discriminator", [SCORES]),
        ("generator", [MASK, UPDATE]),
        ("around", [REST]),
    ]


def test_means_medians_and_quartiles_by_hand():
    names = ("mean", "median", "low", "high")

    def of(*values):
        steps = [{MASK: value} for value in values]
        return StepProfile(["generator"], steps, cells=3, device="a CPU").seconds()

    assert of(1.0, 2.0, 3.0, 4.0, 10.0) == dict(zip(names, (4.0, 3.0, 2.0, 4.0), strict=True))
    assert of(2.0) == dict.fromkeys(names, 2.0)
    step, rest = PROFILE.seconds(), PROFILE.seconds([REST])
    assert [*step.values()] == pytest.approx([0.015, 0.015, 0.0125, 0.0175])
    # A step without the part took no time for it.
    assert [*rest.values()] == pytest.approx([0.001, 0.001, 0.0005, 0.0015])


def test_the_table():
    assert PROFILE.table.splitlines() == [
        "2 steps of 3 cells on a CPU, 5 before them left out: 200 cells a second."
        " Trained: discriminator, generator.",
        "",
        "| part of a training step |   share | mean, ms | quartiles, ms |",
        "| ----------------------- | ------: | -------: | ------------: |",
        "| **data**                |   6.7 % |     1.00 |     1.00–1.00 |",
        "| · read                  |   6.7 % |     1.00 |     1.00–1.00 |",
        "| **discriminator**       |  13.3 % |     2.00 |     2.00–2.00 |",
        "| · D                     |  13.3 % |     2.00 |     2.00–2.00 |",
        "| **generator**           |  73.3 % |     11.0 |     9.00–13.0 |",
        "| · G(x)                  |  60.0 % |     9.00 |     7.50–10.5 |",
        "| · optimizer             |  13.3 % |     2.00 |     1.50–2.50 |",
        "| **around**              |   6.7 % |     1.00 |     0.50–1.50 |",
        "| · the rest              |   6.7 % |     1.00 |     0.50–1.50 |",
        "| **the whole step**      | 100.0 % |     15.0 |     12.5–17.5 |",
    ]


def test_containers_for_json():
    found = PROFILE.as_dict()
    assert (found["steps"], found["steps_left_out"]) == (2, 5)
    assert found["seconds"]["mean"] == pytest.approx(0.015)
    assert [part["part"] for part in found["parts"]] == [
        "read", "D", "G(x)", "optimizer", "the rest",
    ]  # fmt: skip
    assert found["parts"][2]["group"] == "generator"
    assert found["parts"][2]["share"] == pytest.approx(0.6)
    assert found["parts"][2]["seconds"] == pytest.approx(
        {"mean": 0.009, "median": 0.009, "low": 0.0075, "high": 0.0105}
    )


def test_a_part_lasts_from_the_end_of_the_one_before(monkeypatch):
    # Each reading of the clock comes after one second more than the one before.
    clock = iter(itertools.accumulate(itertools.count()))
    monkeypatch.setattr("hep2gan.training.profiler.time.perf_counter", lambda: float(next(clock)))
    step = StepTimeline(torch.device("cpu"))
    step.end_span("data/read")
    with step.part("generator/G(x)"), step.part("classifier/within another"):
        pass
    with step.part("generator/G(x)"):
        pass
    step.end_span("around the networks/the rest")
    assert step.seconds() == {
        "data/read": 1, "generator/G(x)": 3 + 5, "around the networks/the rest": 2 + 4 + 6,
    }  # fmt: skip
