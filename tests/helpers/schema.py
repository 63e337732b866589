"""What the schema says to one argument of a component, or to one key of a settings class."""

from hep2gan.config import PROVIDED
from hep2gan.settings import Component, component_errors, errors_of


def refusal_of_argument(target, where, key, value):
    """Give the only error, which is about that key; fails if there is none or another."""
    component = Component.model_validate({"_target_": target, key: value})
    errors = component_errors(component, where, PROVIDED.get(where, ()))
    assert list(errors) == [f"{where}.{key}"], errors
    return told(errors[f"{where}.{key}"], f"{where}.{key} is ")


def refusal_of_setting(kind, key, value):
    """Give the only error, which is about that key; fails if there is none or another."""
    errors = errors_of(kind, {key: value})
    assert list(errors) == [key], errors
    return told(errors[key], f"{key} is ")


def told(error, beginning):
    assert str(error).startswith(beginning)
    assert error.fix
    return error.rule
