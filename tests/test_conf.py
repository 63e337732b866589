"""The default configuration is the paper's; every file composes and builds."""

import pytest
import torch

from hep2gan.cli.app import config_folder
from hep2gan.cli.local import run_settings
from hep2gan.config import parse_config
from hep2gan.data.transforms.augmentation import Augmentation
from hep2gan.reports.results import TABLE_I
from hep2gan.runs.folder import config_diff
from hep2gan.training.build import build_task
from tests.helpers.configs import composed, parsed

FILES = sorted(p.relative_to(config_folder()) for p in config_folder().glob("*/**/*.yaml"))
OWN = [p for p in FILES if p.parts[0] != "hydra"]
# Files that begin with _ are what others have in common; finding cells is no part of a training.
GROUPS = [p for p in OWN if not p.stem.startswith("_") and p.parts[0] != "cells"]


# What the other groups say is not in the networks, the losses or the optimizers.
BUILT = {
    "generator", "discriminator", "classifier", "optimizer", "loss", "loss/adversarial",
    "loss/pixel", "method", "normalisation", "scale",
}  # fmt: skip


def parsed_offline(*overrides):
    """Parse a composition that asks for no weights."""
    values = composed("train", *overrides)
    for part in (values, values["generator"], values["classifier"]):
        if "pretrained" in part:
            part["pretrained"] = False
    return parse_config(run_settings(values))


# Section III-A and equations 3 and 7, copied from the paper by hand.
PAPER = {
    "generator.encoder": "tu-xception65",
    "generator.pretrained": True,
    "classifier.backbone": "resnet50.tv_in1k",
    "classifier.pretrained": True,
    "optimizer.generator._target_": "torch.optim.SGD",
    "optimizer.generator.lr": 0.0001,
    "optimizer.generator.momentum": 0.9,
    "optimizer.generator.weight_decay": 1e-4,
    "optimizer.discriminator._target_": "torch.optim.SGD",
    "optimizer.discriminator.lr": 0.0001,
    "optimizer.discriminator.momentum": 0.9,
    "optimizer.discriminator.weight_decay": 1e-4,
    "optimizer.classifier._target_": "torch.optim.Adam",
    "optimizer.classifier.lr": 0.001,
    "optimizer.classifier.betas": [0.5, 0.999],
    "optimizer.classifier.eps": 1e-8,
    "optimizer.schedule.classifier": {"step_size": 50, "gamma": 0.1},
    "optimizer.schedule.generator": None,
    "optimizer.schedule.discriminator": None,
    "trainer.batch_size": 16,
    "trainer.max_epochs": 200,
    "loss.adversarial._target_": "hep2gan.losses.adversarial.AdversarialLoss",
    "loss.adversarial.mode": "vanilla",
    "loss.pixel._target_": "hep2gan.losses.segmentation.L1Loss",
    "loss.alpha": 0.5,
    "loss.beta": 10.0,
    "loss.gaussian_mixture.enabled": True,
    "loss.gaussian_mixture.weight": 1.0,
    "loss.gaussian_mixture.gamma": 0.01,
    "loss.gaussian_mixture.covariance": "identity",
    "loss.gaussian_mixture.margin": 0.0,
    "split.kind": "random",
    "split.test_fraction": 0.1,
    "split.validation_fraction": 0.0,
    "augmentation.horizontal_flip": 0.5,
    "augmentation.vertical_flip": 0.5,
    "augmentation.rotation": 0.0,
    "augmentation.blur": [0.0, 0.0],
    "augmentation.noise": 0.0,
    "data._target_": "hep2gan.data.readers.icpr2016.Icpr2016Source",
    "data.name": "icpr2016",
    "data.size": 128,
    "model.guidance": {
        "source": "generated",
        "hard": False,
        "gradient": 0.0,
        "margin": 0.145,
    },
    "model.segment": True,
    "model.classify": True,
    "model.baseline": None,
    "training.two_stage": False,
    "training.sampling": "all",
    "training.ema": None,
    "evaluation.tta": 1,
}


def test_the_default_configuration_is_the_paper():
    config = composed()
    for key, value in PAPER.items():
        node = config
        for part in key.split("."):
            node = node[part]
        assert node == value, key
        assert type(node) is type(value), key


def test_the_optimizers_built_are_the_papers():
    config = parsed("data=phantom", "scale=laptop", "optimizer=paper")
    task = build_task(config, classes="abcdef", size=64)
    optimizers, schedulers = task.configure_optimizers()
    d, g, c = optimizers
    for sgd in (d, g):
        assert isinstance(sgd, torch.optim.SGD)
        group = sgd.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-4, 0.9, 1e-4)
        assert not group["nesterov"]
    assert isinstance(c, torch.optim.Adam)
    assert [s.optimizer for s in schedulers] == [c]


@pytest.mark.parametrize("file", GROUPS, ids=str)
def test_every_file_composes_and_its_networks_build(file):
    group, option = file.parent.as_posix(), file.stem
    if group == "cells":  # of hep2gan-predict
        composed("predict", "run=a", "inputs=[b]", f"cells={option}")
        return
    small = () if group in ("generator", "classifier", "discriminator") else ("scale=laptop",)
    if group == "scale" and option == "paper":
        small = ("generator=compact", "classifier=compact")
    choice = (f"{group}={option}",) if (group, option) != ("scale", "laptop") else ()
    config = parsed_offline("data.root=x", *small, *choice)
    if group not in BUILT or config.model.baseline:
        return
    with torch.device("meta"):
        task = build_task(config, classes="abcdef", size=64, train_counts=[9] * 6)
    assert task.networks


@pytest.mark.parametrize("name", ["pack", "evaluate", "predict", "report", "export"])
def test_commands_compose(name):
    given = {
        "evaluate": ["run=a"],
        "export": ["run=a"],
        "predict": ["run=a", "inputs=[b]"],
        "report": ["runs=[a]"],
    }
    assert composed(name, *given.get(name, []))


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_what_finds_cells_is_a_group_of_the_commands_for_fields(command):
    given = ["inputs=[b]"] if command == "predict" else []
    for file in config_folder().glob("cells/*.yaml"):
        found = composed(command, "run=a", *given, f"cells={file.stem}")
        assert found["cells"]["_target_"].startswith("hep2gan.data.fields."), file
    assert "\n    cells  " in (config_folder() / f"hydra/help/{command}.yaml").read_text()


def test_every_group_is_explained_in_the_help():
    text = (config_folder() / "hydra/help/train.yaml").read_text()
    for group in {p.parts[0] for p in GROUPS}:
        assert f"\n    {group} " in text, group


def test_every_augmentation_lists_all_options():
    options = {"_target_", *Augmentation.model_fields}
    for file in config_folder().glob("augmentation/*.yaml"):
        found = composed("train", f"augmentation={file.stem}")["augmentation"]
        assert found.keys() == options, file


def test_every_file_says_what_it_is():
    for file in OWN:
        lines = (config_folder() / file).read_text().splitlines()
        assert any(line.startswith("# ") and "@package" not in line for line in lines[:2]), file


def test_methods_are_read_in_a_few_lines():
    for file in config_folder().glob("method/*.yaml"):
        assert len(file.read_text().splitlines()) <= 9, file


def test_methods_differ_where_the_table_says():
    def of(name):
        config = composed("train", f"method={name}")
        mixture = config["loss"]["gaussian_mixture"]["enabled"]
        return config["model"]["guidance"]["source"], mixture, config["classifier"]["pretrained"]

    assert of("proposed") == ("generated", True, True)
    assert of("without_gm") == ("generated", False, True)
    assert of("resnet50_t") == ("none", False, True)
    assert of("resnet50") == ("none", False, False)
    assert of("vgg16") == ("none", False, False)
    assert of("resnet50_t_gm") == ("none", True, True)


@pytest.mark.parametrize(
    ("scale", "method", "target", "backbone"),
    [
        ("paper", "vgg16", "TimmClassifier", "vgg16.tv_in1k"),
        ("laptop", "vgg16", "TimmClassifier", "vgg11"),
        ("paper", "gao", "GaoNet", None),
        ("laptop", "gao", "GaoNet", None),
        ("paper", "resnet50", "TimmClassifier", "resnet50.tv_in1k"),
        ("laptop", "resnet50", "TimmClassifier", "resnet10t"),
    ],
)
def test_methods_choose_the_network_of_the_scale(scale, method, target, backbone):
    classifier = composed("train", f"scale={scale}", f"method={method}")["classifier"]
    assert classifier["_target_"].rpartition(".")[2] == target
    assert classifier.get("backbone") == backbone


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("without_gm", {"loss.gaussian_mixture.enabled"}),
        (
            "without_adversarial",
            {f"loss.adversarial{key}" for key in ("._target_", ".mode", ".label_smoothing")},
        ),
        ("bce_dice", {"loss.pixel._target_"}),
        ("end_to_end", {"model.guidance.gradient"}),
        ("attention_pooling", {"classifier._target_", "classifier.options.output_stride"}),
        ("other_mask", {"model.guidance.source"}),
        ("ellipse_mask", {"model.segment", "model.guidance.source"}),
        ("no_mask", {"model.segment", "model.guidance.source"}),
        ("cross_fitted_mask", {"model.guidance.source"}),
        ("two_stage", {"training.two_stage"}),
        ("resnet50_t_gm", {"model.segment", "model.guidance.source"}),
        (
            "robust",
            {
                "model.segment",
                "model.guidance.source",
                "loss.gaussian_mixture.enabled",
                "training.ema",
            }
            | {f"augmentation.{key}" for key in ("gain", "jitter", "quarter_turns")}
            | {"evaluation.tta"},
        ),
    ],
)
@pytest.mark.parametrize("scale", ["paper", "laptop"])
def test_an_ablation_changes_nothing_but_its_name_and_what_it_says(method, changes, scale):
    proposed, other = (
        composed("train", f"scale={scale}", f"method={m}") for m in ("proposed", method)
    )
    found = {key for key, _ in config_diff(proposed, other)}
    assert found == changes | {"name", "run_dir"}


def test_vgg_alone_departs_from_the_papers_learning_rate():
    rates = {
        file.stem: composed("train", f"method={file.stem}")["optimizer"]["classifier"]["lr"]
        for file in config_folder().glob("method/*.yaml")
    }
    assert {name for name, rate in rates.items() if rate != 1e-3} == {"vgg16"}
    assert rates["vgg16"] == 1e-4


def test_every_row_of_table_i_is_a_method():
    assert {file.stem for file in config_folder().glob("method/*.yaml")} >= TABLE_I.keys()


def test_methods_print_what_their_row_scored():
    for name, row in TABLE_I.items():
        if (accuracy := row.metrics.get("test/accuracy")) is not None:
            text = (config_folder() / f"method/{name}.yaml").read_text()
            assert f"{100 * accuracy:.2f} % accuracy" in text, name
