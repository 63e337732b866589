"""Exports as safetensors: equal to their run to the bit; nothing in them runs or names a place."""

import filecmp
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

import hep2gan
from hep2gan.cli import export, predict
from hep2gan.data.readers.image import ImageReading
from hep2gan.errors import Hep2ganError
from hep2gan.inference.configuration import parse_shared, shared_configuration
from hep2gan.inference.exported import open_export
from hep2gan.inference.load import load_export, load_run
from hep2gan.inference.open import open_model
from hep2gan.inference.weights import write_weights
from tests.helpers.commands import call, inside_copy
from tests.helpers.configs import parsed
from tests.helpers.exports import change_description
from tests.helpers.hub import running_hub, use_hub

RUN = "runs/default/proposed/seed0"
FOLDER = Path(RUN, "weights")
RAW = "stores/synthetic_96_0_lab0"


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained_run):
    """A folder with a trained run, and its weights as safetensors."""
    with inside_copy(tmp_path_factory, trained_run) as folder:
        assert call(export, RUN, "format=safetensors") == 0
        yield folder


@pytest.fixture
def inside(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def copy(inside, tmp_path):
    """A copy of the export, to be damaged."""
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_weights(folder, change):
    """Change tensors of an export whose author seals it again."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    change_description(folder)


def change_configuration(folder, key, value):
    found = json.loads((folder / "model.json").read_text())["configuration"]
    *groups, last = key.split(".")
    part = found
    for group in groups:
        part = part[group]
    part[last] = value
    change_description(folder, configuration=found)


def opened(folder):
    return load_export(open_export(folder))


def test_predictions_are_those_of_the_run_to_the_bit(inside, capsys):
    files = [f"{RAW}/000{number}.png" for number in range(10, 30)]
    for name, run in (("of_run", RUN), ("of_weights", str(FOLDER))):
        assert call(predict, run, *files, f"output={name}", "accelerator=cpu") == 0
    assert (inside / "of_run/predictions.csv").read_text().count("\n") == 21
    compared = filecmp.dircmp("of_run", "of_weights")
    for part in (compared, *compared.subdirs.values()):
        assert not part.left_only + part.right_only
        assert filecmp.cmpfiles(part.left, part.right, part.common_files, shallow=False)[1:] == (
            [],
            [],
        )
    assert set(compared.subdirs) == {"masks", "overlays"}
    cells = np.random.default_rng(3).integers(0, 256, (5, 64, 64), np.uint8)
    levels = np.tile(np.float32([0, 200]), (5, 1))
    due, found = (open_model(name).backend(cells, levels) for name in (RUN, str(FOLDER)))
    for one, other in zip(due, found, strict=True):
        assert np.array_equal(one, other)


def test_the_folder_holds_what_predicts_and_no_more(inside):
    assert {file.name for file in FOLDER.iterdir()} == {
        "model.safetensors",
        "model.json",
        "README.md",
    }
    assert (FOLDER / "model.safetensors").stat().st_mode & 0o044 == 0o044
    names = {name.split(".")[0] for name in load_file(FOLDER / "model.safetensors")}
    assert names == {"generator", "classifier", "classification_loss"}
    found = json.loads((FOLDER / "model.json").read_text())
    assert found["check"]["differences"] == {"mask": 0, "probabilities": 0, "distances": 0}
    assert set(found["configuration"]) == {
        *("name", "target", "task", "model", "normalisation", "evaluation"),
        *("generator", "classifier", "loss"),
    }
    for file in FOLDER.iterdir():
        content = file.read_bytes()
        for place in (inside, Path.home(), Path(RUN), Path("stores")):
            assert str(place).encode() not in content, file
    card = (FOLDER / "README.md").read_text()
    head = card.split("---\n")[1]
    assert "library_name: hep2gan\n" in head
    assert "pipeline_tag: image-segmentation\n" in head
    assert "equal to the bit. Any difference would have been refused." in card
    assert 'hep2gan.load_run("THIS_FOLDER")' in card


def test_crops_and_reading_go_with_it(copy):
    due = open_model(RUN)
    found = open_model(str(copy))
    assert (found.crops, found.reading) == (due.crops, due.reading)
    assert (found.size, found.classes) == (due.size, due.classes)
    change_description(copy, white_level=4095, channel="DNA", plane=2)
    assert open_model(str(copy)).reading == ImageReading(4095, "DNA", 2)


def test_python_opens_it_as_a_run(inside):
    run, found = (hep2gan.load_run(name, accelerator="cpu") for name in (RUN, FOLDER))
    assert found.metrics == run.metrics
    assert found.classes == run.classes
    assert found.finished
    assert found.config["generator"]["encoder"] == run.config["generator"]["encoder"]
    due, cells = (each.predict([f"{RAW}/00001.png", f"{RAW}/00002.png"]) for each in (run, found))
    assert [cell.probabilities for cell in cells] == [cell.probabilities for cell in due]
    with pytest.raises(Hep2ganError, match="is no run folder"):
        found.report()
    with pytest.raises(Hep2ganError, match=r"is an export.*leave out checkpoint"):
        hep2gan.load_run(FOLDER, checkpoint="x.ckpt").predict(f"{RAW}/00001.png")


@pytest.mark.integration
def test_what_the_command_pushes_is_predicted_by_name(inside, tmp_path, monkeypatch, capsys):
    files = [f"{RAW}/0000{number}.png" for number in range(1, 5)]
    assert call(predict, RUN, *files, "output=by_run", "accelerator=cpu") == 0
    output = tmp_path / "pushed"
    words = ("format=safetensors", "push_to_hub=lab/hep2", f"output={output}")
    with running_hub() as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
        assert call(export, RUN, *words) == 2
        assert "there is no token for the hub" in capsys.readouterr().err
        assert not output.exists()
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_lab")
        assert call(export, RUN, *words, "message=four cells, one try") == 0
        there = hub.repositories["lab/hep2"]
        assert f"pushed as hf://lab/hep2@{there.head}, private\n" in capsys.readouterr().out
        assert there.messages[-1] == "four cells, one try"
        assert b"hep2gan-predict hf://lab/hep2 IMAGES" in there.files["README.md"]
        assert call(predict, "hf://lab/hep2", *files, "output=by_name", "accelerator=cpu") == 0
        assert f"model hf://lab/hep2@{there.head}\n" in capsys.readouterr().out
        model = hep2gan.load_run(f"hf://lab/hep2@{there.head}", accelerator="cpu")
        assert repr(model) == f"<run hf://lab/hep2@{there.head}>"
        assert model.predict(files[0])[0].label in model.classes
    tables = [Path(name, "predictions.csv").read_text() for name in ("by_run", "by_name")]
    assert tables[0] == tables[1]
    for file in (*output.iterdir(), *(tmp_path / "home").rglob("*")):
        assert file.is_dir() or b"hf_of_the_lab" not in file.read_bytes()


# ---------------------------------------------------------------- configuration

SECRETS = ["+logger.entity=a_person", "+logger.project=b_project", "stores=/home/c/stores"]
SECRETS += ["+generator.weights=/home/d/w.pth", "+logger.tags=[e_tag]", "data.root=/home/f"]


def test_nothing_of_the_machine_or_the_person_goes_out():
    config = parsed("data=phantom", "scale=laptop", *SECRETS)
    shared = shared_configuration(config)
    text = json.dumps(shared)
    assert not [word for word in ("home", "person", "b_project", "e_tag", "stores") if word in text]
    again = parse_shared(shared)
    assert shared_configuration(again) == shared
    assert again.generator.arguments["encoder"] == config.generator.arguments["encoder"]
    assert (again.normalisation, again.model) == (config.normalisation, config.model)


@pytest.mark.parametrize("path", ["/data/codes.npy", "~/codes.npy", "C:\\codes.npy", "\\\\nas\\a"])
def test_a_path_of_this_machine_is_refused(path):
    config = parsed("data=phantom", "scale=laptop")
    odd = config.classifier.model_copy(update={"options": {"codes": path}})
    with pytest.raises(Hep2ganError, match=r"classifier.options.codes is .*keep what it holds"):
        shared_configuration(config.model_copy(update={"classifier": odd}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("generator._target_", "os.system", r"_target_ is 'os.system'"),
        ("task._target_", "mylab.Task", r"_target_ is 'mylab.Task'"),
        ("classifier._args_", ["x"], r"nothing reads the key classifier._args_"),
        ("optimizer", {}, "optimizer is given: an export holds what builds its networks"),
        ("loss.adversarial", {}, r"loss\.adversarial is given"),
        ("generator.encodr", "x", "encodr"),
        ("evaluation.tta", 3, "evaluation.tta"),
        ("generator.encoder", "tu-nothing", "timm knows no such"),
    ],
)
def test_a_foreign_configuration_is_refused(copy, key, value, message):
    change_configuration(copy, key, value)
    with pytest.raises(Hep2ganError, match=f"(?s)the configuration in .*{message}.*Fix: "):
        opened(copy)


def test_own_classes_are_trusted_by_the_user_alone(copy):
    change_configuration(copy, "generator._target_", "tests.integration.nets.Missing")
    change_description(copy, trusted=["tests"])
    with pytest.raises(Hep2ganError, match=r"add trusted=\[PACKAGE\]"):
        opened(copy)
    with pytest.raises(Hep2ganError, match=r"no class|cannot be imported|no Missing|has no"):
        load_export(open_export(copy), ["tests.integration.nets"])


# ---------------------------------------------------------------- damage


def test_any_change_of_the_weights_is_seen(copy):
    file = copy / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Hep2ganError, match=r"is not the file that it describes.*write it again"):
        open_export(copy)
    file.unlink()
    with pytest.raises(Hep2ganError, match=r"cannot be used .*model.safetensors"):
        open_export(copy)


def pickled(weights):
    return pickle.dumps(weights)


def cut_off(weights):
    return save(weights)[:-100]


def long_header(weights):
    return (2**62).to_bytes(8, "little") + save(weights)[8:]


def overlapping(weights):
    header = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


@pytest.mark.parametrize("damage", [pickled, cut_off, long_header, overlapping])
def test_what_is_no_safetensors_is_refused(copy, damage):
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").write_bytes(damage(weights))
    change_description(copy)
    with pytest.raises(
        Hep2ganError, match=r"is no whole file of safetensors .*Fix: write it again"
    ):
        opened(copy)


def test_weights_that_do_not_fit_are_refused(copy):
    name = "classifier.output.bias"
    rows = load_file(copy / "model.safetensors")
    name = next(key for key in rows if key.startswith("classifier") and key.endswith("bias"))

    def shorten(weights):
        weights[name] = weights[name][:-1].clone()

    change_weights(copy, shorten)
    with pytest.raises(Hep2ganError, match=rf"1 differences, .*{name} has shape .*Fix: write"):
        opened(copy)
    change_weights(copy, lambda weights: weights.pop(name))
    with pytest.raises(Hep2ganError, match=f"{name} is missing"):
        opened(copy)
    change_weights(copy, lambda w: w.update({name: rows[name], "extra": torch.zeros(1)}))
    with pytest.raises(Hep2ganError, match="extra is unknown"):
        opened(copy)
    change_weights(copy, lambda weights: weights.pop("extra"))
    assert opened(copy)

    def spoil(weights):
        weights[name][0] = torch.nan

    change_weights(copy, spoil)
    with pytest.raises(Hep2ganError, match=f"{name} in .* NaN or infinite.*Fix: write it again"):
        opened(copy)


def test_a_size_that_asks_for_terabytes_is_refused_without_them(copy):
    change_configuration(copy, "classifier.feature_dim", 10**11)
    with pytest.raises(Hep2ganError, match="does not fit the networks"):
        opened(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "../model.safetensors"},
        {"weights": ["model.safetensors"]},
        {"classes": ["a", "a"]},
        {"size": 10**9},
        {"configuration": []},
        {"test_metrics": {"test/dice": "1"}},
        {"crops": {}},
    ],
)
def test_descriptions_from_elsewhere(copy, change):
    found = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(found | change))
    with pytest.raises(Hep2ganError, match=r"cannot be used .*left as it was written"):
        open_export(copy)


# ---------------------------------------------------------------- writing


def test_networks_of_nan_are_not_written(tmp_path):
    with pytest.raises(Hep2ganError, match="b holds numbers that are NaN"):
        write_weights({"a": torch.ones(2), "b": torch.tensor([1, torch.inf])}, tmp_path / "w")
    assert not list(tmp_path.iterdir())


@pytest.mark.integration
def test_only_an_export_of_the_format_is_replaced(inside, tmp_path, capsys):
    (tmp_path / "README.md").write_text("of my project")
    assert call(export, RUN, "format=safetensors", f"output={tmp_path}") == 2
    assert "lacks model.json: only an export in safetensors is replaced" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "of my project"
    assert call(export, RUN, f"output={FOLDER}") == 2
    assert "model.safetensors, which does not belong to an export in onnx" in (
        capsys.readouterr().err
    )
    assert open_export(FOLDER)


def test_keys_of_a_push_need_a_push(inside, capsys):
    assert call(export, RUN, "private=false") == 2
    assert "private is given, push_to_hub is not" in capsys.readouterr().err


@pytest.mark.integration
def test_an_export_that_differs_is_not_kept(inside, tmp_path, monkeypatch):
    run = load_run(Path(RUN))
    from hep2gan.inference import export as module

    def another(weights, file):
        weights = dict(weights)
        name = next(key for key in weights if key.endswith("running_mean"))
        weights[name] = weights[name] + 1e-3
        write_weights(weights, file)

    monkeypatch.setattr(module, "write_weights", another)
    with pytest.raises(Hep2ganError, match=r"differ: .*must be equal to the bit"):
        module.export_run(run, tmp_path / "new", "safetensors")
    assert not list(tmp_path.iterdir())
