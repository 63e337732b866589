"""Configurations of strangers run no code and read no secrets: each tries to leave a marker."""

import json

import pytest
import torch
import yaml

from hep2gan.cli import train
from hep2gan.cli.app import run
from hep2gan.cli.config_safety import check_external_configs
from hep2gan.cli.local import run_settings
from hep2gan.config import parse_config, target_errors
from hep2gan.errors import Hep2ganError
from hep2gan.inference.load import load_run
from hep2gan.runs.checkpoints import TrainingPosition
from hep2gan.runs.finished import read_finished_run
from hep2gan.runs.folder import RunFolder
from tests.helpers.commands import call
from tests.helpers.configs import composed

TARGETS = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "subprocess.check_call",
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "builtins.__import__",
    "pathlib.Path.touch",
    "runpy.run_path",
    "shutil.copyfile",
    "importlib.import_module",
    "pickle.loads",
    "torch.load",
    "torch.hub.load",
    "torch.save",
    "hydra.utils.get_class",
    "hydra.utils.call",
    "lightning.pytorch.cli.instantiate_module",
    "torch.optim.sgd.os.system",
    "torch.optim.SGD.__init__.__globals__",
    "torch.optim.SGD ",
    "hep2gan.models.generator.smp.DeepLabV3Plus",
    "hep2gan.models.classifier.TimmClassifier.forward.__globals__",
    "HEP2GAN.models.discriminator.PatchGAN",
    "mylab",
    "mylab.nets2.Net",
    "",
    7,
    None,
    ["os.system"],
    {"_target_": "os.system"},
]
PLACES = {
    "generator": ("generator",),
    "discriminator": ("discriminator",),
    "classifier": ("classifier",),
    "optimizer": ("optimizer", "generator"),
    "loss": ("loss",),
    "an argument": ("generator", "atrous_rates"),
    "a list": ("augmentation", "scale"),
    "a key of its own": ("extra",),
}


def marked(target, marker):
    """What Hydra's instantiate would call with the marker, by position and by name."""
    path = str(marker)
    return {"_target_": target, "self": path, "path": path, "args": ["touch", path], "file": path}


def planted(place, bad):
    config = run_settings(composed("train", "data=phantom", "scale=laptop"))
    inner = config
    for key in PLACES[place][:-1]:
        inner = inner[key]
    inner[PLACES[place][-1]] = [1.0, [{"a": bad}]] if place == "a list" else bad
    return config


@pytest.mark.parametrize("place", PLACES)
def test_no_target_is_built_wherever_it_stands(tmp_path, place):
    for target in TARGETS:
        config = planted(place, marked(target, tmp_path / "marker"))
        with pytest.raises(Hep2ganError, match=r"_target_ is .*Fix: "):
            parse_config(config, ["mylab.nets"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_recursive_", "_convert_", "_call_", "__"])
def test_no_other_special_key(key):
    ((place, error),) = target_errors({"a": [{"_target_": "torch.optim.SGD", key: 1}]})
    assert place == f"a[0].{key}"
    assert key in str(error)


def test_trusted_is_taken_from_the_command_line_alone(tmp_path):
    config = planted("generator", marked("os.system", tmp_path / "marker"))
    folder = run_folder(tmp_path, config | {"trusted": ["os", "subprocess", "builtins"]})
    with pytest.raises(Hep2ganError, match=r"_target_ is 'os\.system'"):
        load_run(folder)


def run_folder(place, config):
    folder = place / "run"
    path = TrainingPosition(1, 0).path(folder / "checkpoints")
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {}}, path)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    store = {"path": "x", "size": 64, "classes": ["a", "b"], "target": "pattern"}
    (folder / "store.json").write_text(json.dumps(store))
    for name in ("metrics.json", "split.json"):
        (folder / name).write_text("{}")
    (folder / "DONE").touch()
    return folder


HOSTILE = [
    "x: !!python/object/apply:os.system ['touch {marker}']",
    "x: !!python/object/new:subprocess.Popen [['touch', '{marker}']]",
    "!!python/object/apply:pathlib.Path.touch [{marker}]",
    "x: !!python/name:os.system",
    "x: !!python/module:os",
    "x: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch {marker}']",
    "%TAG ! tag:yaml.org,2002:python/object/apply:\n---\nx: !os.system ['touch {marker}']",
    "x: !custom {{a: 1}}",
    "x: ${{oc.env:HEP2GAN_SECRET}}",
    "x: ${{oc.decode:'1'}}",
    "x: ${{oc.create:{{a: 1}}}}",
    "x: ${{hydra:runtime.cwd}}",
    "x: ${{y}}\ny: ${{x}}",
    "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "x: " + "[" * 200 + "]" * 200,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_run_configurations(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HEP2GAN_SECRET", "s3cret")
    folder = run_folder(tmp_path, {"seed": 0})
    (folder / "config.yaml").write_text(text.format(marker=tmp_path / "marker"))
    for read in (read_finished_run, load_run, lambda path: RunFolder(path).config()):
        with pytest.raises(Hep2ganError) as caught:
            read(folder)
        assert "config.yaml" in str(caught.value)
        assert "Fix: " in str(caught.value)
        assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "marker").exists()


def test_a_hundred_million_aliases_take_no_memory(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(Hep2ganError, match="line 1: an anchor"):
        RunFolder(tmp_path).config()


CALLBACK = "hydra: {callbacks: {x: {_target_: pathlib.Path.touch, self: MARKER}}}\n"
FROM_OUTSIDE = {
    "callback": "# @package _global_\nname: evil\n" + CALLBACK,
    "log handler": (
        "# @package _global_\nname: evil\n"
        "hydra: {job_logging: {handlers: {file: {(): os.system, command: touch MARKER}}}}\n"
    ),
    "launcher": "# @package _global_\nhydra: {launcher: {_target_: os.system}}\nname: evil\n",
    "package": "# @package hydra.callbacks\nx: {_target_: os.system}\n",
    "defaults": "# @package _global_\ndefaults:\n  - /evil@hydra.callbacks: x\nname: evil\n",
    "override": "# @package _global_\ndefaults:\n  - override /hydra/launcher: x\nname: evil\n",
    "environment": "# @package _global_\nname: ${oc.env:HEP2GAN_SECRET}\n",
    "nested resolver": "# @package _global_\nname: a\nstudy: 'x${oc.decode:${oc.env:USER}}'\n",
    "python": "# @package _global_\nname: !!python/object/apply:os.system ['touch MARKER']\n",
    "trusted": "# @package _global_\ntrusted: [os]\ngenerator: {_target_: os.system}\nname: a\n",
    "damaged": "# @package _global_\nname: [\n",
}


@pytest.mark.parametrize("flag", ["--config-dir", "-cd", "--config-d", "=", "hydra.searchpath"])
@pytest.mark.parametrize("kind", FROM_OUTSIDE)
def test_a_method_from_outside(tmp_path, monkeypatch, capsys, kind, flag):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEP2GAN_SECRET", "s3cret")
    path = tmp_path / "theirs" / "method" / "evil.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(FROM_OUTSIDE[kind].replace("MARKER", str(tmp_path / "marker")))
    folder = str(tmp_path / "theirs")
    named = {
        "=": [f"--config-dir={folder}"],
        "hydra.searchpath": [f"hydra.searchpath=[file://{folder}]"],
    }.get(flag, [flag, folder])
    assert call(train, *named, "method=evil", "data=phantom", "--cfg", "job") == 2
    assert call(train, *named, "method=evil", "data=phantom", "seed=x") == 2
    said = "".join(capsys.readouterr())
    assert "evil.yaml" in said
    assert "Fix: " in said
    assert "s3cret" not in said
    assert not (tmp_path / "marker").exists()


@pytest.mark.filterwarnings("ignore:Callback NoneType")
def test_the_callback_would_have_left_its_marker(tmp_path, monkeypatch):
    """Without the check, Hydra follows the callback before anything of ours is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hep2gan.cli.app.check_external_configs", lambda arguments: None)
    path = tmp_path / "theirs" / "method" / "evil.yaml"
    path.parent.mkdir(parents=True)
    marker = tmp_path / "marker"
    path.write_text(FROM_OUTSIDE["callback"].replace("MARKER", str(marker)))
    monkeypatch.setattr(
        "sys.argv", ["x", "--config-dir", str(path.parents[1]), "method=evil", "data=phantom"]
    )
    run(lambda config: None, "train")
    assert marker.exists()


def test_a_method_from_outside_that_is_only_a_method(tmp_path):
    path = tmp_path / "method" / "theirs.yaml"
    path.parent.mkdir()
    path.write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: pix2pix\n"
        "name: theirs\nloss: {beta: 20.0}\nstudy: ${name}_x\n"
    )
    check_external_configs(["--config-dir", str(tmp_path), "method=theirs"])


def test_pickled_jobs_are_not_rerun(tmp_path, capsys):
    for words in (["--experimental-rerun", "x.pickle"], ["--experimental-rerun=x.pickle"]):
        assert call(train, *words) == 2
        assert "unpickles" in capsys.readouterr().err
