"""A configuration may not run code of its choosing."""

import pytest
import torch

from hep2gan.config import config_errors, parse_config, parse_source, target_errors
from hep2gan.errors import Hep2ganError
from hep2gan.settings import Component, import_class
from tests.helpers.configs import composed


def values(*overrides):
    """The configuration of a training, without what is said to one start."""
    config = composed("train", "scale=laptop", *overrides)
    return {key: value for key, value in config.items() if key not in ("trusted", "doctor")}


def refused(config, trusted=()):
    return {key: str(error) for key, error in target_errors(config, trusted)}


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
    assert list(refused({"_target_": target})) == ["_target_"]
    assert list(refused({"a": [{"b": {"_target_": target}}]})) == ["a[0].b._target_"]


def test_the_refusal_names_place_and_fix():
    told = refused({"a": [{"b": {"_target_": "os.system"}}]})["a[0].b._target_"]
    assert told.startswith("a[0].b._target_ is 'os.system': ")
    assert "Fix: " in told
    assert "trusted=" in told


def test_hydras_other_special_keys_are_refused():
    for key in ("_args_", "_partial_", "_recursive_", "_convert_"):
        assert list(refused({"_target_": "torch.optim.SGD", key: [1]})) == [key]


def test_trusted_packages_are_whole_names():
    assert refused({"_target_": "mylab.networks.Net"}, ["mylab.networks"]) == {}
    assert refused({"_target_": "mylab.networks2.Net"}, ["mylab.networks"])
    assert refused({"_target_": "mylab.networks"}, ["mylab.networks"])


def test_parsing_checks_before_it_imports(tmp_path, monkeypatch):
    (tmp_path / "outsider.py").write_text("import pathlib\npathlib.Path(__file__).unlink()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for group in ("generator", "data", "task"):
        config = values() | {group: {"_target_": "outsider.Net"}}
        assert f"{group}._target_" in config_errors(config)
        with pytest.raises(Hep2ganError, match=rf"{group}\._target_"):
            parse_config(config)
    config = values()
    config["optimizer"]["generator"] = {"_target_": "outsider.Net"}
    config["callbacks"] = {"mine": {"_target_": "outsider.Net"}}
    config["loss"]["pixel"] = {"_target_": "outsider.Net"}
    assert {"optimizer.generator._target_", "callbacks.mine._target_", "loss.pixel._target_"} <= (
        config_errors(config).keys()
    )
    assert (tmp_path / "outsider.py").exists()
    # It is imported, and gone, where its package is trusted.
    config_errors(config, ["outsider"])
    assert not (tmp_path / "outsider.py").exists()


def test_options_left_from_another_network_are_named():
    config = values()
    config["discriminator"]["encoder"] = "x"
    told = config_errors(config)["discriminator.encoder"]
    assert "nothing reads the key discriminator.encoder" in str(told)
    assert "leave discriminator.encoder out" in told.fix


def test_classes_are_imported_by_their_path():
    assert import_class("torch.optim.SGD") is torch.optim.SGD
    for path, reason in (
        ("torch.optim.Sgd", "cannot be imported"),
        ("nosuchpackage.Net", "cannot be imported"),
        ("", "cannot be imported"),
        ("torch.optim", "is not a class"),
        ("torch.load", "is not a class"),
    ):
        with pytest.raises(Hep2ganError, match=reason):
            import_class(path)


def test_a_pack_takes_the_classes_of_data_sets_alone():
    with pytest.raises(Hep2ganError, match=r"data\._target_ is .*GaoNet.*subclass of DataSource"):
        parse_source(Component.model_validate({"_target_": "hep2gan.models.gao.GaoNet"}))
