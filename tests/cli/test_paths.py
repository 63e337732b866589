"""Paths and texts on the command line are taken as they are, without the grammar of Hydra."""

import csv
import re
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hep2gan.cli import evaluate, export, pack, predict, report, settings, train
from hep2gan.cli.app import TEXT_KEYS, name_positionals, quote_override, quote_text, run
from hep2gan.config import TrainConfig
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError
from hep2gan.settings import fields_of
from tests.helpers.commands import call
from tests.helpers.raw_sets import write_csv, write_pair
from tests.helpers.started import NETS, SMALL

NAMES = [
    *("HEp-2 (2016)", "a, b", "x=1", "50% dilution", "set #2", "数据 集", "it's mine", "brack[et]"),
    *("plus+minus", "back\\slash", "back\\", "dollar$HOME", "brace{1}", "semi;colon", "at@lab"),
    *(
        "tilde~x",
        "col:on",
        'quote"d',
        "it\\'s",
        "Zellen_ä",
        "Zellen_a\u0308",
        "[1,2]",
        "choice(a,b)",
    ),
    *("null ", "true", "5", "~nobody", "-x", " blank", "{a: 1}", "a,b", "(", "'", "?"),
]


def composed(name, *arguments):
    found = []
    before, sys.argv = sys.argv, ["hep2gan", *arguments]
    try:
        run(found.append, name)
    finally:
        sys.argv = before
    return found[0]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_out_as_it_went_in(name):
    for path in (f"d/{name}", name if name[0] not in "-~" else f"./{name}"):
        override = name_positionals([f"data.root={path}"], ())[0]
        assert OverridesParser.create().parse_override(override).value() == path
        positional = name_positionals([path + ".png"] if "=" not in path else [], ("run",))
        if positional:
            assert OverridesParser.create().parse_override(positional[0]).value() == path + ".png"


def test_each_command_takes_such_a_path_for_each_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "d/HEp-2 (2016), [x]={1} it's #5"
    config = composed("pack", f"data.root={odd}", f"stores={odd}", "data.name=neu (1)")
    assert (config["data"]["root"], config["stores"]) == (odd, odd)
    assert config["data"]["store"] == f"{odd}/neu (1)_128"
    config = composed("predict", f"run={odd}", f"inputs={odd}", f"output={odd}", "checkpoint=a=1.b")
    assert [config[key] for key in ("run", "inputs", "output")] == [odd] * 3
    assert config["checkpoint"] == "a=1.b"
    config = composed("predict", "run=r", "inputs=[a,b]", "checkpoint=null")
    assert (config["inputs"], config["checkpoint"]) == (["a", "b"], None)
    # The run folder is made when a training is composed.
    config = composed("train", f"runs={odd}", "study=a (b)", f"generator.weights={odd}")
    assert config["run_dir"] == f"{odd}/a (b)/proposed/seed0"
    assert config["generator"]["weights"] == odd


def test_the_list_of_texts_is_complete():
    """Every key that the documentation of the settings calls a file or a folder is on it."""
    kinds = [settings.PackSettings, settings.EvaluateSettings, settings.PredictSettings]
    kinds += [settings.ExportSettings, settings.ReportSettings, TrainConfig]
    helps = [(key, field.description or "") for kind in kinds for key, field in fields_of(kind)]
    paths = {key for key, text in helps if {"folder", "folders", "file"} & _words(text)}
    assert paths - {"files"} <= TEXT_KEYS
    assert {"run", "runs", "inputs", "output", "checkpoint", "run_dir", "stores"} <= paths
    inside = {f"data.{key}" for key in ("root", "store", "name")} | {
        f"{network}.weights" for network in ("generator", "classifier")
    }
    assert inside <= TEXT_KEYS
    assert TEXT_KEYS - inside <= {key for key, _ in helps}


def _words(text):
    return set(re.findall(r"\w+", text.lower()))


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert quote_text("data.root=~/x") == f"data.root='{tmp_path}/x'"
    assert name_positionals(["~/x", "~/y"], ("run", "inputs*")) == [
        f"run='{tmp_path}/x'",
        f"inputs=['{tmp_path}/y']",
    ]
    assert name_positionals(["~training.ema", "+a=1"], ("run",)) == ["~training.ema", "+a=1"]


@pytest.mark.parametrize(
    "override",
    [
        *(
            "data.root=null",
            "data.root='a b'",
            'data.root="a"',
            "data.store=${stores}/x",
            "seed=0,1",
        ),
        *("runs=[a,b]", "data=phantom", "data.root=", "loss.beta=5", "trusted=[a.b]"),
    ],
)
def test_what_is_no_text_is_left_as_it_is(override):
    assert quote_text(override) == override


def test_a_comma_under_multirun_is_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert quote_text("data.root=a b,c (d)", multirun=True) == "data.root='a b','c (d)'"
    assert quote_text("study=choice(a,b)", multirun=True) == "study=choice(a,b)"
    assert name_positionals(["-m", "data.root=a,b"], ()) == ["-m", "data.root='a','b'"]
    Path("a,b").mkdir()
    with pytest.raises(Hep2ganError, match="a comma separates the values of a sweep") as caught:
        name_positionals(["-m", "data.root=a,b"], ())
    # As a shell hands over what the fix says.
    fixed = caught.value.fix.partition(", or")[0].removeprefix("write ").replace('"', "")
    parsed = OverridesParser.create().parse_override(quote_text(fixed, multirun=True))
    assert (parsed.is_sweep_override(), parsed.value()) == (False, "a,b")


def test_quotes_survive_the_grammar():
    for text in ("C:\\data\\", "\\", "a\\'b", "a\\\\'b'", '"', "'"):
        parsed = OverridesParser.create().parse_override(f"k={quote_override(text)}")
        assert parsed.value() == text


def test_other_keys_say_how_a_text_is_quoted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(train, "logger.project=HEp-2 (neu)") == 2
    said = capsys.readouterr().err
    assert """quote the value twice: logger.project='"HEp-2 (neu)"'""" in said
    assert "hydra.cc" not in said
    config = composed("train", "logger=wandb", '''logger.project="HEp-2 (neu)"''')
    assert config["logger"]["project"] == "HEp-2 (neu)"


@pytest.mark.parametrize(
    ("override", "fix"),
    [
        ("hydra.job.chdir=true", "relative to the folder of the start"),
        ("++hydra.job.chdir=True", "leave it out"),
        ("hydra.run.dir=x", "set run_dir=FOLDER"),
        ("hydra.sweep.dir=x", "set runs=FOLDER"),
        ("hydra.sweep.subdir=x", "set name=NAME"),
    ],
)
@pytest.mark.parametrize("command", [train, pack, predict])
def test_hydra_may_not_move_what_paths_are_relative_to(command, override, fix, capsys, tmp_path):
    assert call(command, override) == 2
    said = capsys.readouterr().err
    assert override in said
    assert fix in said
    assert name_positionals(["hydra.job.chdir=false"], ()) == ["hydra.job.chdir=false"]


@pytest.mark.parametrize("name", ["HEp-2 (2016)", "it's 50%, #2 [x]={1}", "数据\\"])
def test_a_set_in_such_a_folder_is_packed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    root = Path("d") / name
    write_pair(root, 1)
    write_pair(root, 2)
    rows = [[f"{n:05d}.png", f"{n:05d}_Mask.png", "ab"[n - 1]] for n in (1, 2)]
    write_csv(root / "manifest.csv", [["image", "mask", "label"], *rows])
    options = (
        "data=manifest",
        f"data.root={root}",
        "data.size=32",
        f"stores={root}/out",
        "workers=1",
    )
    assert call(pack, *options) == 0
    assert len(Store.open(root / "out" / "manifest_32")) == 2


@pytest.mark.integration
def test_every_command_works_in_such_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    odd = "Zellen (neu), 50% #1 [x]={1} it's ä"
    places = (f"runs={odd}/runs", f"stores={odd}/stores", f"study={odd.replace('/', '')}")
    assert call(train, *SMALL, *NETS, *places, "trainer.max_epochs=1") == 0
    done = Path(odd) / "runs" / odd / "proposed" / "seed0"
    assert (done / "DONE").is_file()
    cells = next((Path(odd) / "stores").glob("synthetic_*"))
    assert call(predict, str(done), str(cells), f"output={odd}/out", NETS[0]) == 0
    with (Path(odd) / "out" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 60
    assert call(evaluate, str(done), "figures=false", NETS[0]) == 0
    assert call(report, str(done), f"output={odd}/page.html", "files=false") == 0
    assert (Path(odd) / "page.html").is_file()
    assert call(export, f"run={done}", f"output={odd}/export", NETS[0]) == 0
    capsys.readouterr()
    assert call(predict, f"{odd}/export", str(cells), f"output={odd}/by_onnx") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"60 of 60 images done, see {odd}/by_onnx/predictions.csv\n")
    assert said.endswith("\nnot predicted: 60 masks\n")
