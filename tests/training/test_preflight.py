"""What is looked at before a training: each fault injected, all of them told in one list."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wandb
from PIL import Image

from hep2gan.cli import pack, train
from hep2gan.cli.local import run_settings
from hep2gan.config import parse_sound_part
from hep2gan.data.prepare import pack_store
from hep2gan.data.splits import SplitSettings, make_split
from hep2gan.data.store.pack import pack_cells
from hep2gan.errors import Hep2ganError
from hep2gan.models import pretrained
from hep2gan.runs.checkpoints import list_checkpoints
from hep2gan.runs.folder import RunFolder
from hep2gan.training import disk_space, preflight
from hep2gan.training.disk_space import checkpoint_bytes
from hep2gan.training.preflight import (
    check_split,
    check_store,
    check_weights,
    run_preflight,
)
from hep2gan.training.preflight_report import Note, PreflightReport
from hep2gan.training.setup import RunSetup
from tests.helpers.commands import call, inside_copy
from tests.helpers.configs import composed, parsed
from tests.helpers.made_store import made_store
from tests.helpers.offline import without_wandb_settings
from tests.helpers.raw_sets import cells, class_folders
from tests.helpers.started import NETS, SMALL, TWO
from tests.helpers.started import train as started

RUN = "runs/default/proposed/seed0"
MANIFEST = (
    "data._target_=hep2gan.data.readers.manifest.ManifestSource",
    "data.root=raw",
    *(f"~data.{key}" for key in ("count", "seed", "lab", "duplicate_specimen", "spread")),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory, packed_store):
    """A folder with a packed store."""
    with inside_copy(tmp_path_factory, packed_store) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _inside(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


def told(*overrides):
    """What the doctor says of a configuration: {check: [(state, text)]}."""
    values = composed("train", *SMALL, *NETS, *overrides)
    config, invalid = parse_sound_part(run_settings(values), values["trusted"])
    found = {}
    for check, state, text in run_preflight(config, RunFolder.from_config(values), invalid).results:
        found.setdefault(check, []).append((state, text))
    return found


def problems(*overrides):
    return [text for r in told(*overrides).values() for state, text in r if state == "problem"]


def test_switches_that_do_not_fit_stand_in_the_list(place):
    found = problems("trainer.compile=reduce-overhead", "trainer.sync_batchnorm=true")
    assert len(found) == 2
    assert "CUDA graphs need a GPU" in found[0]
    assert "trainer.sync_batchnorm" in found[1]


def test_a_sound_configuration_is_looked_at_from_all_sides(place):
    found = told("study=sound")
    assert list(found) == [
        "software", "settings", "devices", "machine", "callbacks", "logger", "run folder", "data",
        "split", "batches", "networks", "disk",
    ]  # fmt: skip
    assert {state for results in found.values() for state, _ in results} == {"ok"}
    assert f"torch {torch.__version__.partition('+')[0]}" in found["software"][0][1]
    assert found["devices"] == [("ok", "1 process on the CPU")]
    assert [text for _, text in found["callbacks"]] == ["CollapseMonitor", "ThroughputMonitor"]
    assert "60 cells of 32 px in 6 classes" in found["data"][0][1]
    assert not (place / "runs/sound").exists()


def test_a_root_that_the_store_is_not_of_is_told(tmp_path):
    raw = class_folders(tmp_path / "mine", "{name}/{n:03d}")
    packed = [f"data.store={tmp_path / 'store'}", "data.size=32", "data=folders"]
    values = parsed(*packed, f"data.root={raw}")
    pack_store(values.source, 1)
    setups = {
        name: RunSetup(parsed(*packed, f"data.root={tmp_path / name}"), RunFolder(tmp_path / "run"))
        for name in ("mine", "other")
    }
    told = {name: [str(f) for f in check_store(setup)] for name, setup in setups.items()}
    assert not any("data.root is" in text for text in told["mine"])
    (note,) = [text for text in told["other"] if "data.root is" in text]
    assert f"was packed from {raw}" in note


def test_early_stopping_needs_cells_to_choose_the_epoch_on(place):
    wanted = "callbacks=[default,early_stopping]"
    (found,) = problems(wanted, "study=early")
    assert "callbacks.early_stopping waits for the validation part, and there is none" in found
    assert problems(wanted, "study=early", "split.validation_fraction=0.1") == []
    assert problems(wanted, "study=early", "callbacks.early_stopping=null") == []


def test_of_intensities_the_doctor_says_what_hides_them(place):
    found = told("target=intensity", "study=bright", "split.kind=specimen")
    ((state, text),) = [one for one in found["settings"] if one[0] != "ok"]
    assert state == "note"
    assert text.startswith("normalisation=min_max treats each image by itself and so hides")
    assert "60 cells of 32 px in 2 classes" in found["data"][0][1]
    store = RunSetup(parsed(*SMALL, *NETS, "target=intensity", trusted=["tests"]), None).store
    split = make_split(store, SplitSettings(kind="specimen", test_fraction=0.2))
    patterns = store.pattern_names(np.arange(60))
    absent = sorted(set(patterns) - set(patterns[split.test]))
    told_of = [text for state, text in found["split"] if state == "note"]
    assert told_of == [f"the test part has no cell of the pattern {', '.join(absent)}"]
    found = told("target=intensity", "study=bright", "normalisation=none")
    assert {state for state, _ in found["settings"]} == {"ok"}


def test_all_problems_stand_in_one_list(place, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    wrong = ("trainer.batch_size=49", "trainer.eval_batch_size=100", "trainer.devices=2")
    more = ("+logger.wandb=paper", "loss.pixel=l3", "runs=/proc/nowhere", "split.kind=one")
    found = problems(
        *wrong, *more, "generator._target_=os.system", "training.two_stage=3", "study=wrong"
    )
    parts = (
        "split.kind is 'one'", "loss.pixel is 'l3'", "training.two_stage is 3",
        "logger.wandb is 'paper'", "os.system", "/proc cannot be written", "not divisible by 2",
    )  # fmt: skip
    assert all(part in text for part, text in zip(parts, found, strict=True)), found


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["trainer.max_epochs=0"], "trainer.max_epochs is 0"),
        (["seed=null"], "seed is null: it must be a whole number from 0"),
        (["training.two_stage=true", "method=resnet50"], "two_stage=true, and the method has no"),
        (["method=cross_fitted_mask", "trainer.devices=2"], "source=cross_fitted on 2 devices"),
        (["trainer.accelerator=tpu"], "accelerator is 'tpu'"),
        (["trainer.batch_size=49"], "training part has 48 cells, the batch size is 49"),
        (["trainer.devices=2", "trainer.batch_size=2"], "needs 2 cells on each"),
        (["trainer.devices=5", "trainer.batch_size=10"], "test part has 12 cells, 4 batches"),
        (["data.size=64", "data.store=stores/phantom_60_0_lab0_32"], "of 32 px, data.size is 64"),
        ([*MANIFEST, "data.store=stores/none"], "no store at stores/none.*run hep2"),
        (["split.kind=given"], "have no given part"),
        (["trainer.nonfinite=ignore"], "trainer.nonfinite is 'ignore'"),
        (["model.guidance.source=masks"], "guidance.source is 'masks'"),
        (["generator._target_=os.system"], "os.system"),
        (["runs=/proc/nowhere"], "/proc cannot be written.*choose another place.*0.00 GB free"),
    ],
)  # fmt: skip
def test_each_fault_is_told(overrides, what):
    found = "\n".join(problems("study=faults", *overrides))
    assert re.search(what, found, re.S), found
    assert found.count("\n") == what.count("GB free")


def test_what_could_not_be_checked_is_said(place):
    found = told("study=skipped", "split.kind=one", "optimizer.classifier.lr=-1")
    skipped = {name: text for name, [(state, text), *_] in found.items() if state == "skipped"}
    assert skipped == {
        "optimizers": "not checked, since optimizer is wrong",
        "split": "not checked, since split is wrong",
        "networks": "not checked, since optimizer is wrong",
        "disk": "not checked, since the size of the networks is not known",
    }
    assert len(problems("study=skipped", "split.kind=one", "optimizer.classifier.lr=-1")) == 2


@pytest.mark.parametrize("pretrained", ["true", "false"])
def test_a_misspelt_backbone_stands_beside_other_problems(place, pretrained):
    backbone = (
        "classifier._target_=hep2gan.models.classifier.TimmClassifier",
        "classifier.backbone=resnet1Ot",
        f"classifier.pretrained={pretrained}",
    )
    found = problems("study=backbone", "trainer.sync_batchnorm=true", "split.folds=1", *backbone)
    assert len(found) == 3, found
    assert any("classifier.backbone is 'resnet1Ot': timm knows no such model" in f for f in found)
    assert any("split.folds is 1" in text for text in found)
    assert any("trainer.sync_batchnorm is true on the CPU" in text for text in found)


@pytest.mark.integration
def test_keys_without_effect_are_noted_by_doctor_and_start(place, capsys):
    words = (*SMALL, *NETS, "study=idle", "method=resnet50", "loss.beta=5", "trainer.max_epochs=1")
    assert call(train, *words, "doctor=true") == 0
    assert (
        "note     settings   loss.beta has no effect: no generator is trained\n"
        in capsys.readouterr().out
    )
    assert call(train, *words) == 0
    assert "loss.beta has no effect: no generator is trained\n" in capsys.readouterr().out
    log = Path("runs/idle/resnet50/seed0/train.log").read_text()
    assert "3 of 16" not in log
    assert "epoch 1/1" in log


@pytest.mark.parametrize(
    "words", [[], ["trainer.batch_size=50"], ["seed=x"], ["hydra.job.chdir=true"], ["method=gao"]]
)
def test_the_doctor_leaves_nothing_behind(place, words):
    before = sorted(place.rglob("*"))
    call(train, *SMALL, *NETS, "study=nothing", "doctor=true", *words)
    assert sorted(place.rglob("*")) == before


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    def away(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(pretrained, "get_session", lambda: SimpleNamespace(head=away))
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_, **__: None)
    (tmp_path / "empty.pth").touch()
    files = [None, str(tmp_path / "no.pth"), str(tmp_path / "empty.pth")]
    rules = ["not in the cache.*no route", "no.pth does not exist", "empty.pth is empty"]
    for file, rule in zip(files, rules, strict=True):
        weights = [f"{name}.weights={file or 'null'}" for name in ("generator", "classifier")]
        ours = parsed("data=phantom", "data.count=60", "data.size=32", *weights)
        report = PreflightReport()
        report.add("weights", check_weights(RunSetup(ours, RunFolder(tmp_path / "run"))))
        assert len(report.problems) == 2
        with pytest.raises(
            Hep2ganError, match=rf"(?s)2 problems.*{rule}.*generator.*{rule}.*class"
        ):
            report.require("it")


def test_wandb_without_key_or_server(tmp_path, monkeypatch):
    without_wandb_settings(monkeypatch, tmp_path)
    online = ("logger=wandb", "logger.mode=online", "study=online")
    assert "that needs a key" in problems(*online)[0]
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()
    (found,) = problems(*online)
    assert "127.0.0.1:9 cannot be reached" in found
    assert "0" * 40 not in found
    assert problems("logger=wandb", "logger.mode=offline", "study=online") == []
    wandb.teardown()


def test_classes_that_a_part_lacks():
    # Class A to train on, B in the test alone, C nowhere.
    label, part = np.repeat([0, 1], 4), np.repeat([0, 2], 4)
    store = made_store(label, part=part, classes=("A", "B", "C"))
    config = parsed("data.root=x", "loss.gaussian_mixture.priors=empirical")
    setup = RunSetup(config, RunFolder(Path("none")))
    setup.store, setup.split = store, make_split(store, SplitSettings(kind="given"))
    found = [str(finding) for finding in check_split(setup)]
    assert "training part has no cell of B, other parts have" in found[0]
    assert any("store has no cell of C" in text for text in found)
    assert any("C has no cells: empirical priors" in text for text in found)
    assert any("test part has no cell of A" in text for text in found)


def test_masks_that_do_not_look_right_are_noted(tmp_path):
    raw = cells(tmp_path / "raw", 4)
    for cell in raw.cells[:2]:
        with Image.open(cell.mask) as mask:
            Image.new("L", mask.size, 255).save(cell.mask)
    setup = RunSetup(parsed("data.root=raw"), RunFolder(Path("none")))
    setup.store = pack_cells(raw, tmp_path / "store", size=32, keep_implausible=True)
    notes = [str(finding) for finding in check_store(setup) if isinstance(finding, Note)]
    assert notes == ["2 masks kept although each covers its whole crop: 00001, 00002"]


def test_the_command_prints_a_list_and_starts_nothing(place, capsys):
    options = ("study=command", "doctor=true")
    assert call(train, *SMALL, *NETS, *options) == 0
    shown = capsys.readouterr().out
    assert "ok       networks   discriminator" in shown
    assert call(train, *SMALL, *NETS, *options, "trainer.batch_size=50", "loss.pixel=l3") == 2
    shown = capsys.readouterr().out
    assert shown.count("problem ") == 2
    assert not (place / "runs/command/proposed/seed0/config.yaml").exists()


def test_a_start_stops_with_the_same_list(place, capsys):
    options = ("study=started", "trainer.batch_size=50", "loss.pixel=l3")
    assert call(train, *SMALL, *NETS, *options) == 2
    error = capsys.readouterr().err
    assert "2 problems prevent the start of runs/started/proposed/seed0" in error
    assert "at most 48" in error
    assert "loss.pixel" in error
    assert not (place / "runs/started/proposed/seed0/config.yaml").exists()


@pytest.mark.integration
def test_a_run_says_where_it_stands_and_how_large_its_checkpoints_are(place):
    assert call(train, *SMALL, *NETS, "trainer.max_epochs=1", "study=stands") == 0
    options = ("trainer.max_epochs=1", "study=stands")
    assert told(*options)["run folder"] == [("ok", "runs/stands/proposed/seed0: finished")]
    assert "loss.beta: 10.0 there, 5.0 here" in problems(*options, "loss.beta=5")[0]
    config = parsed(*SMALL, *NETS, *options, trusted=["tests.integration.nets"])
    run = RunFolder(place / "runs/stands/proposed/seed0")
    parts = RunSetup(config, run, dry_run=True).task.optimized_modules
    said = checkpoint_bytes(parts, config.optimizer)
    tensors = [
        tensor.numel() * 4
        for part in parts.values()
        for tensor in (*part.parameters(), *part.buffers())
    ]
    state = torch.load(list_checkpoints(run.checkpoints)[0], weights_only=True)
    held = [v for o in state["optimizer_states"] for s in o["state"].values() for v in s.values()]
    real = sum(t.numel() * 4 for t in held if torch.is_tensor(t) and t.ndim)
    assert said == sum(tensors) + real


def test_drawn_cells_are_not_drawn_to_look(place):
    found = told("data.count=77", "study=undrawn")
    assert found["data"][0][0] == "note"
    assert not (place / "stores/phantom_77_0_lab0_32").exists()


@pytest.mark.integration
def test_a_store_that_changed_under_a_run(place):
    assert call(train, *SMALL, *NETS, "trainer.max_epochs=1", "study=moved") == 0
    shutil.copytree("stores/phantom_60_0_lab0_32", "stores/copy")
    other = ("data.seed=1", "data.store=stores/other")
    assert call(pack, "data=phantom", "data.count=60", "data.size=32", *other) == 0
    options = ("trainer.max_epochs=1", "study=moved")
    assert problems(*options, "data.store=stores/copy") == []
    (found,) = problems(*options, "data.store=stores/other")
    assert "made for the store with fingerprint" in found
    with Path("stores/copy/image.npy").open("r+b") as file:
        file.truncate(1000)
    (found,) = problems(*options, "data.store=stores/copy")
    assert "stores/copy is damaged" in found


@pytest.mark.integration
def test_ranks_and_sweeps_are_looked_at_too(place):
    two = (*SMALL, *NETS, *TWO, "study=two")
    looked = started(place, *two, "doctor=true")
    assert "2 processes on the CPU" in looked.output
    wrong = ("trainer.batch_size=50", "loss.pixel=l3")
    begun = started(place, *two, *wrong, check=False)
    assert begun.returncode == 2
    assert "2 problems prevent the start" in begun.output
    sweep = ("-m", "trainer.batch_size=16,50", "study=swept", "doctor=true")
    swept = started(place, *SMALL, *NETS, *sweep, check=False)
    assert swept.returncode != 0
    assert "2 jobs checked: 1 can start, 1 cannot; nothing was trained" in swept.output
    assert "batch size of at most 48" in swept.output
    assert not (place / "runs/swept").exists()


@pytest.mark.integration
def test_curves_that_a_run_cannot_go_on_with_are_told(place):
    options = ("study=curves", "trainer.max_epochs=2")
    assert call(train, *SMALL, *NETS, *options) == 0
    run = place / "runs/curves/proposed/seed0"
    (run / "DONE").unlink()
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    assert problems(*options) == []
    (run / "metrics.csv").write_text("".join(lines[:3]))
    (found,) = problems(*options)
    assert "metrics.csv is damaged (the rows of 2 epochs are missing, first 0)" in found
    (run / "metrics.csv").unlink()
    assert problems(*options) == []


@pytest.fixture(scope="module")
def bare(place):
    """Overrides for a store of the same cells without masks."""
    words = ("data=phantom", "data.count=60", "data.size=32", "data.name=bare", "data.masks=false")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert call(pack, *words) == 0
    return words[-2:]


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("proposed", "is trained to segment"),
        ("segmentation", "is trained to segment"),
        ("ground_truth", "classifies with true masks"),
        ("attention_pooling", "is trained to segment"),
    ],
)
def test_methods_that_need_masks_are_refused_before_anything_is_written(place, bare, method, needs):
    (found,) = problems(*bare, f"method={method}")
    assert f"bare_60_0_lab0_32 has no masks, and method {method} {needs}" in found
    assert "set method=resnet50_t (or resnet50, vgg16, gao, robust)" in found
    assert "masks=only" in found
    assert call(train, *SMALL, *NETS, *bare, f"method={method}") == 2
    left = (place / f"runs/default/{method}").rglob("*")
    assert {path.name for path in left if path.is_file()} <= {"train.log"}


@pytest.mark.parametrize(
    "method", [*preflight.WITHOUT_MASKS, "resnet50_t_gm", "intensity", "prasath"]
)
def test_methods_without_masks_are_not_refused(bare, method):
    config = parsed(*SMALL, *bare, f"method={method}")
    assert not config.model.needs_masks
    assert not [text for text in problems(*bare, f"method={method}") if "masks" in text]


def test_cells_that_are_still_to_be_generated_are_asked_about_too():
    words = ("data.name=later", "data.masks=false")
    (found,) = problems(*words)
    assert "later_60_0_lab0_32 has no masks" in found
    assert problems("data.name=later") == []


def test_a_store_with_masks_is_none_without(place):
    (found,) = problems("data.masks=false")
    assert "holds masks, data.masks is false" in found
