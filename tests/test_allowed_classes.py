"""A configuration may not run code of its choosing."""

import pytest
import torch

from hep2gan.config import check_targets, import_class
from hep2gan.errors import Hep2ganError
from hep2gan.training.build import build_task
from tests.helpers.configs import composed


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        "torch.optim.sgd.os.system",
        "hep2gan.models.generator.smp.DeepLabV3Plus",
        "hep2gan.models.pretrained.get_session",
        ["os.system"],
        None,
    ],
)
def test_other_targets_are_refused_wherever_they_stand(target):
    for config in ({"_target_": target}, {"a": [{"b": {"_target_": target}}]}):
        with pytest.raises(Hep2ganError, match="_target_"):
            check_targets(config)


def test_the_refusal_names_the_place():
    with pytest.raises(Hep2ganError, match=r"a\[0\]\.b\._target_ is 'os\.system'.*trusted"):
        check_targets({"a": [{"b": {"_target_": "os.system"}}]})


def test_hydras_other_special_keys_are_refused():
    with pytest.raises(Hep2ganError, match="_args_"):
        check_targets({"_target_": "torch.optim.SGD", "_args_": [1]})


def test_trusted_packages_are_whole_names():
    check_targets({"_target_": "mylab.networks.Net"}, trusted=["mylab.networks"])
    with pytest.raises(Hep2ganError):
        check_targets({"_target_": "mylab.networks2.Net"}, trusted=["mylab.networks"])


def test_building_checks_before_it_imports(tmp_path):
    config = composed("train", "scale=laptop")
    config["generator"] = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "x")}
    with pytest.raises(Hep2ganError, match=r"generator\._target_"):
        build_task(config, classes="abcdef", size=64)
    assert not (tmp_path / "x").exists()


def test_options_left_from_another_network_are_named():
    config = composed("train", "scale=laptop")
    config["discriminator"]["encoder"] = "x"
    with pytest.raises(Hep2ganError, match=r"discriminator cannot be built .*'encoder'"):
        build_task(config, classes="abcdef", size=64)


def test_classes_are_imported_by_their_path():
    assert import_class("torch.optim.SGD") is torch.optim.SGD
    for path, reason in (
        ("torch.optim.Sgd", "cannot be imported"),
        ("nosuchpackage.Net", "cannot be imported"),
        ("", "cannot be imported"),
        ("torch.optim", "is no class"),
        ("torch.load", "is no class"),
    ):
        with pytest.raises(Hep2ganError, match=reason):
            import_class(path)
