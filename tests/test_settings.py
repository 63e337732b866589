"""Settings classes and components: what is refused, and in which words."""

import math
from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from hep2gan.errors import Hep2ganError
from hep2gan.settings import (
    Component,
    Interval,
    Name,
    PositiveInt,
    Settings,
    WholeOption,
    argument_help,
    component_errors,
    describe,
    errors_of,
    fields_of,
    in_words,
    parse,
)


class Inner(Settings):
    """A group of keys."""

    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """how fast"""
    mode: Literal["a", "b", 3] = "a"
    """which way"""

    def conflict(self):
        if self.mode == "b" and self.rate > 0.5:
            return Hep2ganError(f"rate is {self.rate} with mode b", "b is slow", "set rate=0.5")
        return None


class Outer(Settings):
    """A configuration."""

    name: Name = Field(examples=["mine"])
    size: Annotated[int, Field(ge=32, le=1024, multiple_of=16)] = 128
    count: PositiveInt | None = None
    scale: Interval = (1.0, 1.0)
    flag: bool = True
    inner: Inner = Inner()
    margin: Annotated[float | list[float], in_words("a number, or two")] = 0.0


def lines(values, kind=Outer):
    return {key: str(error) for key, error in errors_of(kind, values).items()}


def test_sound_values_are_parsed_and_frozen():
    found = parse(Outer, {"name": 5, "scale": [1, 2], "inner": {"rate": 0.5}, "margin": [0.1, 0.3]})
    assert (found.name, found.scale, found.inner.rate) == ("5", (1.0, 2.0), 0.5)
    with pytest.raises(Exception, match="frozen"):
        found.size = 32


@pytest.mark.parametrize(
    ("key", "value", "rule", "fix"),
    [
        ("name", "", "a non-empty string", "name=mine"),
        ("size", 100, "a whole number from 32 to 1024 and a multiple of 16", "size=128"),
        ("size", "128", "a whole number", "size=128"),
        ("size", True, "a whole number", "size=128"),
        ("count", 0, "a whole number, 1 or more, or null", "count=null"),
        ("scale", [1], "two numbers [a,b]", "scale=[1.0,1.0]"),
        ("scale", [1, math.nan], "two numbers", "scale=[1.0,1.0]"),
        ("flag", 1, "true or false", "flag=true"),
        ("inner", None, "a group of keys", "inner={}"),
        ("margin", "x", "a number, or two", "margin=0.0"),
    ],
)
def test_a_wrong_value_is_told_with_rule_and_fix(key, value, rule, fix):
    found = lines({"name": "x"} | {key: value})
    assert list(found) == [key]
    assert rule in found[key]
    assert f"Fix: set {fix}" in found[key]


def test_keys_inside_groups_have_dotted_names():
    found = lines({"name": "x", "inner": {"rate": 1.0, "mode": "c"}})
    assert found["inner.rate"].startswith("inner.rate is 1.0: it must be a finite number above 0")
    assert "one of a, b, 3" in found["inner.mode"]


def test_values_that_do_not_fit_together_are_told_as_the_class_tells_them():
    found = lines({"name": "x", "inner": {"rate": 0.6, "mode": "b"}})
    assert found == {"inner": "rate is 0.6 with mode b: b is slow. Fix: set rate=0.5."}


def test_what_is_not_given_and_has_no_default_is_told():
    assert "name is not given" in lines({})["name"]
    with pytest.raises(Hep2ganError, match="name is not given"):
        parse(Outer, {})


@pytest.mark.parametrize(
    ("values", "key", "nearest"),
    [
        ({"siez": 64}, "siez", "size=…"),
        ({"inner": {"raet": 0.1}}, "inner.raet", "inner.rate=…"),
        ({"rate": 0.1}, "rate", "inner.rate=…"),
        ({"zzz": 1}, "zzz", "leave zzz out"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(values, key, nearest):
    found = lines({"name": "x"} | values)
    assert list(found) == [key]
    assert "nothing reads" in found[key]
    assert nearest in found[key]


class Network:
    """A network of the user's own.

    Args:
        width: filters of the first
            layer.
        depth: layers, 1 or more.
    """

    def __init__(self, width: int, depth: PositiveInt = 3, ratio=0.5, *, image_size: int = 0):
        self.given = (width, depth, ratio, image_size)


class Anything:
    def __init__(self, width: int = 1, **options):
        self.given = width, options


def component(**arguments):
    return Component.model_validate({"_target_": f"{__name__}.Network"} | arguments)


def test_the_arguments_of_a_component_are_those_of_its_constructor():
    assert component_errors(component(width=1), "generator", ["image_size"]) == {}
    found = component_errors(component(width=1.5, depth=0, wdith=3), "generator", ["image_size"])
    assert list(found) == ["generator.width", "generator.depth", "generator.wdith"]
    assert "use generator.width=…" in str(found["generator.wdith"])


def test_what_the_program_provides_is_no_key():
    found = component_errors(component(width=1, image_size=64), "generator", ["image_size"])
    assert list(found) == ["generator.image_size"]


def test_a_component_is_built_with_what_it_takes_of_what_is_provided():
    assert component(width=2).build(image_size=64, num_classes=6).given == (2, 3, 0.5, 64)
    anything = Component.model_validate({"_target_": f"{__name__}.Anything", "a": 1})
    assert component_errors(anything, "x") == {}
    assert anything.build(b=2).given == (1, {"a": 1, "b": 2})


def test_a_class_that_is_not_there_is_told():
    with pytest.raises(Hep2ganError, match=r"tests\.nowhere\.Net cannot be imported"):
        Component(_target_="tests.nowhere.Net").load()


def test_help_comes_from_the_docstring():
    assert argument_help(Network) == {
        "width": "filters of the first layer.",
        "depth": "layers, 1 or more.",
    }
    assert dict(fields_of(Outer))["inner.rate"].description == "how fast"


def test_each_field_is_described():
    assert {key: describe(field) for key, field in fields_of(Inner)} == {
        "rate": "a finite number above 0 and below 1",
        "mode": "one of a, b, 3",
    }


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[float, Field(ge=0, lt=1)], "a finite number, 0 or more and below 1"),
        (Annotated[float, Field(gt=0, le=0.5)], "a finite number above 0 and at most 0.5"),
        (Literal["auto"] | bool, "auto, or true or false"),
    ],
)
def test_rules_are_told_in_words(annotation, words):
    assert describe(FieldInfo.from_annotation(annotation)) == words


class Choice(Settings):
    """Numbers to choose from."""

    views: Annotated[Literal[1, 8], WholeOption] = 1


@pytest.mark.parametrize("value", [True, 8.0, "8", 2, None])
def test_a_choice_of_numbers_takes_nothing_that_only_equals_one(value):
    assert "one of 1, 8" in lines({"views": value}, Choice)["views"]
    assert lines({"views": 8}, Choice) == {}


class Chosen(Settings):
    """Parts by a name of the user's choice."""

    parts: dict[str, Component | None] = Field(default_factory=dict)
    kind: Literal["a", "b"]


def test_a_wrong_part_is_told_by_the_name_that_the_user_chose():
    found = lines({"parts": {"mine": "abc", "none": None}, "kind": "a"}, Chosen)
    assert list(found) == ["parts.mine"]
    assert found["parts.mine"].startswith("parts.mine is 'abc': it must be a group of keys")


def test_the_fix_of_a_choice_without_default_is_its_first_option():
    assert "Fix: set kind=a" in lines({"kind": "c"}, Chosen)["kind"]
