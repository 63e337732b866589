"""Every key of every command, and of every class that may be named: help, words, nonsense."""

import math
from typing import Any

import pytest

from hep2gan.cli import settings as command_settings
from hep2gan.config import ALLOWED_CLASSES, PROVIDED, TrainConfig, config_errors
from hep2gan.settings import (
    Settings,
    argument_help,
    arguments_of,
    describe,
    errors_of,
    fields_of,
    import_class,
)
from tests.helpers.configs import composed

ELSEWHERE = ("hep2gan.training.", "torch.optim.")
"""The task is built by the program, callbacks have tests of their own, torch's classes are torch's.
"""
CLASSES = sorted(name for name in ALLOWED_CLASSES if not name.startswith(ELSEWHERE))
COMMANDS = [
    kind
    for kind in vars(command_settings).values()
    if isinstance(kind, type) and issubclass(kind, Settings) and kind is not Settings
]
NUMBERS_AS_NAMES = {"name", "study", "title", "question", "reference"}
"""YAML reads a name such as -1 as a number."""
BELOW_ZERO = {"cellprob_threshold", "crop_change"}
"""Numbers that may be negative."""


def provided(target):
    """What the program gives to it, of what it takes."""
    group = "generator" if "generator" in target else "classifier"
    return PROVIDED[group] if target.startswith("hep2gan.models.") else ()


KINDS = {kind.__name__: kind for kind in (TrainConfig, *COMMANDS)}
KINDS |= {name: arguments_of(import_class(name), provided(name)) for name in CLASSES}
FIELDS = [
    pytest.param(kind, key, field, id=f"{name.rpartition('.')[2]}-{key}")
    for name, kind in KINDS.items()
    for key, field in fields_of(kind)
]


def refusals(kind, key, value):
    """Errors of this key and of those below it, when it alone is given."""
    for part in reversed(key.split(".")):
        value = {part: value}
    errors = errors_of(kind, value)
    return {at: error for at, error in errors.items() if f"{at}.".startswith(f"{key}.")}


def takes(key, field, value):
    """Whether the words that tell the rule let the value pass."""
    words = describe(field)
    if isinstance(value, str):
        return "a string" in words or "a non-empty string" in words or "the name of a file" in words
    if isinstance(value, list):
        return "a list" in words
    if isinstance(value, dict):
        return "a group of keys" in words
    return value == -1 and key in NUMBERS_AS_NAMES | BELOW_ZERO


def test_each_command_has_its_class():
    named = {kind.__name__ for kind in COMMANDS}
    assert {"PackSettings", "EvaluateSettings", "PredictSettings", "ExportSettings"} <= named
    assert {"ReportSettings", "StartOptions"} <= named
    assert len(CLASSES) == 20


@pytest.mark.parametrize(("kind", "key", "field"), FIELDS)
def test_each_key_has_a_help_a_type_and_a_rule_in_words(kind, key, field):
    assert field.description
    assert field.annotation is not Any
    assert "set" not in describe(field).replace(",", "").split()


@pytest.mark.parametrize("value", [-1, math.nan, "abc", [], {}], ids=repr)
@pytest.mark.parametrize(("kind", "key", "field"), FIELDS)
def test_nonsense_is_refused_by_name_and_with_a_fix(kind, key, field, value):
    errors = refusals(kind, key, value)
    if takes(key, field, value):
        assert key not in errors  # A group may lack keys of its own.
        return
    assert list(errors) == [key]
    assert str(errors[key]).startswith(f"{key} is ")
    assert describe(field) in errors[key].rule
    assert errors[key].fix.startswith((f"set {key}=", f"choose {key.replace('.', '/')}=NAME"))


@pytest.mark.parametrize("target", CLASSES)
def test_classes_take_no_keys_but_their_own(target):
    assert list(refusals(KINDS[target], "nonsense", 1)) == ["nonsense"]


@pytest.mark.parametrize("name", sorted(ALLOWED_CLASSES - set(CLASSES)))
def test_what_the_program_does_not_check_can_be_imported(name):
    assert callable(import_class(name))


def test_help_is_written_for_arguments_that_are_there():
    """A renamed argument must not leave its help behind."""
    for name in CLASSES:
        target = import_class(name)
        known = {key for key, _ in fields_of(arguments_of(target))}
        assert argument_help(target).keys() <= known, name


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ("abc", "callbacks.mine", "it must be a group of keys"),
        ({}, "callbacks.mine._target_", "is not given"),
        ({"_target_": 5}, "callbacks.mine._target_", "it must be a string"),
    ],
)
def test_a_wrong_callback_is_told_by_its_name(value, key, words):
    errors = errors_of(TrainConfig, {"callbacks": {"mine": value, "none": None}})
    told = {at: str(error) for at, error in errors.items() if at.startswith("callbacks")}
    assert list(told) == [key]
    assert words in told[key]


# ---------------------------------------------------------------- the configuration's own files


@pytest.mark.parametrize("scale", ["paper", "laptop"])
def test_the_shipped_configuration_is_sound(scale):
    config = composed("train", f"scale={scale}", "data.root=x")
    values = {
        key: value
        for key, value in config.items()
        if key not in command_settings.StartOptions.model_fields
    }
    assert config_errors(values) == {}
