"""What a new run takes from another run, tensor by tensor."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from hep2gan.cli import train
from hep2gan.errors import Hep2ganError
from hep2gan.runs.folder import RunFolder
from hep2gan.training.build import build_task
from hep2gan.training.initial_weights import InitialWeights, SourceRun
from tests.helpers.commands import call, inside_copy, power_cut_after_an_epoch
from tests.helpers.configs import parsed
from tests.helpers.started import NETS, RESTLESS, SMALL, assert_same_training, final

COMPACT = ("data=phantom", "scale=laptop")
MIXTURE = "classification_loss.gaussian_mixture"


def build(classes, *options, size=64):
    torch.manual_seed(7)
    return build_task(parsed(*COMPACT, *options), classes=classes, size=size, load_weights=())


def source(folder, classes, *options, size=64, **more):
    """A run folder with a checkpoint of networks that were never trained; its weights."""
    torch.manual_seed(1)
    config = parsed(*COMPACT, *options)
    task = build_task(config, classes=classes, size=size, load_weights=())
    run = RunFolder(folder)
    run.save_config(config.to_plain())
    run.store_file.write_text(
        json.dumps(
            {
                "classes": classes,
                "size": size,
                "path": "gone",
                "target": "pattern",
            }
        )
    )
    run.checkpoints.mkdir()
    state = {name: tensor + 1 for name, tensor in task.state_dict().items()}
    torch.save({"state_dict": state, **more}, run.checkpoints / "epoch0002.ckpt")
    run.done_file.touch()
    return state


def plan(folder, classes, *options, size=64):
    return InitialWeights.plan(
        SourceRun.open(str(folder)), parsed(*COMPACT, *options), classes, size
    )


def filled(folder, classes, *options, size=64):
    """The weights of a new run: before, and after the source's are taken."""
    task = build(classes, *options, size=size)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    plan(folder, classes, *options, size=size).fill(task)
    return before, task.state_dict()


def test_all_weights_are_taken_also_at_another_size(tmp_path):
    state = source(tmp_path, ["a", "b"], size=64)
    found = plan(tmp_path, ["a", "b"], size=128)
    assert not found.new
    assert found.networks == {"generator", "discriminator", "classifier"}
    before, after = filled(tmp_path, ["a", "b"], size=128)
    for name in found.taken:
        assert torch.equal(after[name], state[name]), name
        assert not torch.equal(before[name], state[name]), name
    # What is no weight of the method is built from the settings of this run.
    assert {name for name in after if name not in found.taken} == {
        name for name in after if torch.equal(before[name], after[name])
    }


def test_rows_of_classes_go_by_their_names(tmp_path):
    covariance = "loss.gaussian_mixture.covariance=diagonal"
    state = source(tmp_path, ["Golgi", "Rods", "Speckled"], covariance)
    before, after = filled(tmp_path, ["speckled", "new", "golgi"], covariance)
    names = (
        *("classifier.output.weight", "classifier.output.bias"),
        *(f"{MIXTURE}.means", f"{MIXTURE}.free_log_variance"),
    )
    for name in names:
        assert torch.equal(after[name][0], state[name][2]), name
        assert torch.equal(after[name][1], before[name][1]), name
        assert torch.equal(after[name][2], state[name][0]), name
    table = plan(tmp_path, ["speckled", "new", "golgi"], covariance).table()
    assert "output layer    2 of 2 tensors taken; classes speckled, golgi" in table
    assert "mixture         2 of 2 tensors taken; classes speckled, golgi" in table


def test_other_classes_leave_the_output_layer_new(tmp_path):
    source(tmp_path, ["a", "b"])
    before, after = filled(tmp_path, ["x", "y"])
    for name in ("classifier.output.weight", f"{MIXTURE}.means"):
        assert torch.equal(before[name], after[name])
    table = plan(tmp_path, ["x", "y"]).table()
    assert "output layer    0 of 2 tensors taken; new: 2 tensors (the source has other cl" in table


def test_priors_are_those_of_the_cells(tmp_path):
    empirical = "loss.gaussian_mixture.priors=empirical"
    source(tmp_path, ["a", "b"], empirical)
    assert f"{MIXTURE}.log_prior" not in plan(tmp_path, ["a", "b"], empirical).taken
    before, after = filled(tmp_path, ["a", "b"])
    assert torch.equal(before[f"{MIXTURE}.log_prior"], after[f"{MIXTURE}.log_prior"])


FIRST = "classifier.backbone.conv1.0.weight"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_convolution_is_fitted_to_the_mask(tmp_path, channels):
    images, unguided = f"classifier.image_channels={channels}", "model.guidance.source=none"
    state = source(tmp_path / "without", ["a", "b"], images, unguided)
    _, after = filled(tmp_path / "without", ["a", "b"], images)
    assert torch.equal(after[FIRST][:, :channels], state[FIRST])
    assert not after[FIRST][:, channels:].any()
    state = source(tmp_path / "with", ["a", "b"], images)
    _, after = filled(tmp_path / "with", ["a", "b"], images, unguided)
    assert torch.equal(after[FIRST], state[FIRST][:, :channels])
    table = plan(tmp_path / "with", ["a", "b"], images, unguided).table()
    assert "the first convolution fitted to the channel of the mask" in table


def test_other_channels_of_the_image_leave_the_first_convolution_new(tmp_path):
    source(tmp_path, ["a", "b"], "classifier.image_channels=3")
    found = plan(tmp_path, ["a", "b"])
    assert found.new.keys() == {FIRST}
    there, here = (
        tuple(build("ab", f"classifier.image_channels={n}").state_dict()[FIRST].shape)
        for n in (3, 1)
    )
    assert f"new: {FIRST} (shape {there} there, {here} here)" in found.table()


def test_a_part_that_the_source_has_not_is_said(tmp_path):
    source(tmp_path, ["a", "b"], "method=resnet50")
    found = plan(tmp_path, ["a", "b"])
    assert found.networks == {"classifier"}
    table = found.table()
    count = sum(name.startswith("discriminator.") for name in found.new)
    words = (
        f"discriminator   0 of {count} tensors taken; new: {count} tensors (the source has none)"
    )
    assert words in table
    assert "mixture         0 of 1 tensor taken; new" in table


def test_a_part_that_this_run_has_not_is_said(tmp_path):
    source(tmp_path, ["a", "b"])
    found = plan(tmp_path, ["a", "b"], "method=resnet50")
    assert found.networks == {"classifier"}
    assert "generator       not used: this run has none (" in found.table()


def test_another_architecture_is_not_half_taken(tmp_path):
    source(tmp_path, ["a", "b"])
    found = plan(tmp_path, ["a", "b"], "classifier=vgg_laptop")
    assert found.networks == {"generator", "discriminator"}
    # Its output layer and means belong to features that this network does not compute.
    assert not any(name.startswith(("classifier", MIXTURE)) for name in found.taken)
    only = ("method=resnet50", "classifier=vgg_laptop")
    with pytest.raises(Hep2ganError, match=r"nothing can be taken from .*epoch0002.ckpt") as caught:
        plan(tmp_path, ["a", "b"], *only)
    assert "choose generator and classifier as in" in caught.value.fix
    assert plan(tmp_path, ["a", "b"], "method=resnet50").taken


def test_layers_of_the_source_that_have_no_place_are_said(tmp_path):
    state = source(tmp_path, ["a", "b"])
    torch.save(
        {"state_dict": state | {"generator.more": torch.ones(2)}},
        tmp_path / "checkpoints/epoch0002.ckpt",
    )
    assert "; 1 more of the source not used" in plan(tmp_path, ["a", "b"]).table()


def test_the_average_that_the_source_was_evaluated_with_is_taken(tmp_path):
    state = source(
        tmp_path, ["a", "b"], "training.ema=0.9", trained_weights={}, average_statistics=[]
    )
    _, after = filled(tmp_path, ["a", "b"])
    assert torch.equal(after[FIRST], state[FIRST])


def test_best_counts_unless_a_checkpoint_is_named(tmp_path):
    state = source(tmp_path, ["a", "b"])
    best = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": best}, tmp_path / "checkpoints/best.ckpt")
    assert SourceRun.open(str(tmp_path)).checkpoint.name == "best.ckpt"
    found = SourceRun.open(str(tmp_path / "checkpoints/epoch0002.ckpt"))
    assert torch.equal(found.state[FIRST], state[FIRST])


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(Hep2ganError, match=r"init_from=.*none does not exist"):
        SourceRun.open(str(tmp_path / "none"))
    with pytest.raises(Hep2ganError, match="is no run folder"):
        SourceRun.open(str(tmp_path))
    run = RunFolder(tmp_path / "forest")
    run.save_config(parsed("data=phantom", "method=prasath").to_plain())
    with pytest.raises(Hep2ganError, match="is a forest on texture features"):
        SourceRun.open(str(run.path))
    source(tmp_path / "run", ["a", "b"])
    file = tmp_path / "run/checkpoints/epoch0002.ckpt"
    torch.save({"state_dict": {}, "code": Path("x")}, file)
    with pytest.raises(Hep2ganError, match="holds no checkpoint"):
        SourceRun.open(str(tmp_path / "run"))
    with pytest.raises(Hep2ganError, match=r"cannot be loaded \(it names pathlib"):
        SourceRun.open(str(file))


def test_two_sources_for_one_network_are_refused(tmp_path):
    source(tmp_path, ["a", "b"])
    weights = "generator.weights=mine.pth"
    with pytest.raises(Hep2ganError, match="gives weights to the generator too") as caught:
        plan(tmp_path, ["a", "b"], weights)
    assert caught.value.fix == "leave generator.weights or init_from out"
    assert plan(tmp_path, ["a", "b"])
    # The generator is not of the source: a file may be.
    source(tmp_path / "other", ["a", "b"], "method=resnet50")
    assert plan(tmp_path / "other", ["a", "b"], weights).networks == {"classifier"}


def test_other_normalisation_and_an_unfinished_source_are_noted(tmp_path):
    source(tmp_path, ["a", "b"])
    assert plan(tmp_path, ["a", "b"]).notes() == []
    (tmp_path / "DONE").unlink()
    notes = plan(tmp_path, ["a", "b"], "normalisation=z_score").notes()
    assert any("normalisation" in note and "the source's" in note for note in notes)
    assert f"init_from={tmp_path} is not finished" in notes


# ---------------------------------------------------------------- runs

OPTIONS = (*SMALL, *NETS, *RESTLESS, "trainer.max_epochs=2")
FIRST_RUN, TUNED = Path("runs/default/proposed/seed0"), Path("runs/tuned/proposed/seed0")
FROM = (f"init_from={FIRST_RUN}", "study=tuned")


@pytest.fixture(scope="module")
def place(tmp_path_factory, packed_store):
    """A folder with a trained run."""
    with inside_copy(tmp_path_factory, packed_store) as folder:
        assert call(train, *OPTIONS) == 0
        yield folder


@pytest.fixture
def here(place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.usefixtures("here")
@pytest.mark.integration
def test_a_run_begins_with_the_weights_and_resumes_without_the_source(monkeypatch, capsys):
    # With rates of 0 the weights of the end are those of the beginning.
    still = [f"optimizer.{name}.lr=0" for name in ("generator", "discriminator", "classifier")]
    assert call(train, *OPTIONS, *FROM, *still, "name=still") == 0
    shown = capsys.readouterr().out
    assert f"Weights from {FIRST_RUN}/checkpoints/epoch0002.ckpt:" in shown
    taken = final(Path("runs/tuned/still/seed0"))["state_dict"]
    for name, tensor in final(FIRST_RUN)["state_dict"].items():
        if not name.partition(".")[2].startswith("network.1."):  # running statistics
            assert torch.equal(taken[name], tensor), name

    assert call(train, *OPTIONS, *FROM, "name=whole") == 0
    with power_cut_after_an_epoch(monkeypatch):
        call(train, *OPTIONS, *FROM)
    record = json.loads((TUNED / "provenance.json").read_text())["training"]["init_from"]
    assert record["run"] == str(FIRST_RUN.resolve())
    assert (record["checkpoint"], len(record["sha256"])) == ("epoch0002.ckpt", 64)
    assert "generator.network.0.weight" in record["taken"]
    FIRST_RUN.rename("moved")
    capsys.readouterr()
    assert call(train, *OPTIONS, *FROM) == 0
    assert "Weights from" not in capsys.readouterr().out
    assert_same_training(final(TUNED), final(Path("runs/tuned/whole/seed0")))
    assert json.loads((TUNED / "provenance.json").read_text())["training"]["init_from"] == record
    assert call(train, *OPTIONS, *FROM, "name=gone") == 2
    assert f"init_from={FIRST_RUN} does not exist" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_the_doctor_says_what_would_be_taken(monkeypatch, capsys):
    assert call(train, *OPTIONS, *FROM, "doctor=true") == 0
    shown = capsys.readouterr().out
    assert f"Weights from {FIRST_RUN}/checkpoints/epoch0002.ckpt:" in shown
    assert not TUNED.exists()
    assert call(train, *OPTIONS, "study=tuned", "init_from=nothing", "doctor=true") == 2
    assert "init_from=nothing does not exist" in capsys.readouterr().out
    # A path below the home folder, and one with signs that Hydra's grammar does not take.
    monkeypatch.setenv("HOME", str(Path.cwd()))
    shutil.copytree(FIRST_RUN, "my run (1)")
    assert call(train, *OPTIONS, "study=tuned", "init_from=~/my run (1)", "doctor=true") == 0
    assert "my run (1)/checkpoints/epoch0002.ckpt" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_the_checkpoint_as_a_file_of_weights_names_the_way(capsys):
    file = f"{FIRST_RUN}/checkpoints/epoch0002.ckpt"
    words = ("data=phantom", "data.count=60", "scale=laptop", "data.size=32", "study=tuned")
    assert call(train, *words, f"classifier.weights={file}", "trainer.accelerator=cpu") == 2
    assert f"set init_from={file}" in capsys.readouterr().err
    assert call(train, *OPTIONS, "study=tuned", f"init_from={file}", "doctor=true") == 0
