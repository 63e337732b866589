"""Typed settings: their base class, components named by class, and errors in plain words.

A settings class is frozen and strict: it rejects unknown keys and values of another type. A
component is a class that a configuration names by `_target_`. Its keys are the arguments of its
constructor: the annotations give type and bounds, for instance `Annotated[int, Field(ge=1)]`, and
the docstring gives the help.
"""

import difflib
import inspect
import math
import re
import typing
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from hep2gan.errors import Hep2ganError, raise_all

Chosen = TypeVar("Chosen", bound="Settings")


class Settings(BaseModel):
    """Base class of all settings: frozen, and strict about keys and types.

    The help of a key is the text of its argument under `Args:` in the docstring of the class, or
    the string below the field.

    Args:
        **values: A value for each field; fields with a default may be left out.

    Raises:
        Hep2ganError: If anything is wrong; lists every error.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,
    )

    def __init__(self, **values: Any) -> None:
        """Validate the values; pydantic's ValidationError becomes a Hep2ganError."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise_all(list(_translate(error, type(self), values, "").values()))
            raise

    # Only for calls of the class: nested groups are parsed without it, so that all errors of a
    # configuration are collected.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Take the help of each key without a string below it from the docstring of the class."""
        helps = argument_help(cls)
        for name, field in cls.model_fields.items():
            field.description = field.description or helps.get(name)

    def conflict(self) -> Hep2ganError | None:
        """Check fields that are valid one by one against each other.

        Returns:
            What is wrong, or None.
        """
        return None

    @model_validator(mode="after")
    def _refuse_conflict(self) -> Self:
        if (error := self.conflict()) is not None:
            raise PydanticCustomError("conflict", "fields do not fit", {"error": error})
        return self


class Component(BaseModel):
    """A class that a configuration names by `_target_`; all other keys are arguments of the class.

    Args:
        target: Dotted path of the class; its key in a configuration is `_target_`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    target: str = Field(alias="_target_")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that the configuration gives."""
        return dict(self.model_extra or {})

    def load(self) -> type[Any]:
        """Import the class. Call this only after `target_errors` has accepted the component.

        Returns:
            The class.

        Raises:
            Hep2ganError: If it cannot be imported.
        """
        return import_class(self.target)

    def build(self, **provided: Any) -> Any:
        """Call the class with the arguments of the configuration.

        Args:
            **provided: Arguments that the program adds; those that the class does not accept are
                left out.

        Returns:
            The instance.
        """
        target = self.load()
        if not _takes_any_keyword(target):
            accepted = _parameters(target)
            provided = {name: value for name, value in provided.items() if name in accepted}
        return target(**self.call_arguments() | provided)

    def call_arguments(self) -> dict[str, Any]:
        """Return the arguments; lists become tuples where the default of the class is a tuple.

        Returns:
            Keyword arguments for the class.
        """
        accepted = _parameters(self.load())
        return {
            name: tuple(value)
            if isinstance(value, list)
            and isinstance(getattr(accepted.get(name), "default", None), tuple)
            else value
            for name, value in self.arguments.items()
        }


def import_class(path: str) -> type[Any]:
    """Import a class by its dotted path.

    Args:
        path: The dotted path, such as "torch.optim.SGD".

    Returns:
        The class.

    Raises:
        Hep2ganError: If there is no such module or name, or it is not a class.
    """
    module, _, name = path.rpartition(".")
    fix = "check its spelling, and that its package is installed or on PYTHONPATH"
    rule = "_target_ is the dotted path of a class"
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Hep2ganError(f"{path} cannot be imported ({error})", rule, fix) from error
    if not inspect.isclass(found):
        raise Hep2ganError(f"{path} is not a class", rule, fix)
    return found


# ---------------------------------------------------------------- common types


def in_words(words: str) -> Any:
    """Describe the valid values of a field whose type and bounds do not describe them.

    Args:
        words: Completes "it must be …".

    Returns:
        Metadata for `Annotated`.
    """
    return Field(json_schema_extra={"rule": words})


def to_tuple(value: Any) -> Any:
    """Convert a list, which is what YAML has for sequences, to a tuple.

    Args:
        value: Any value.

    Returns:
        A tuple for a list; any other value unchanged.
    """
    return tuple(value) if isinstance(value, list) else value


def _to_whole(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("not a whole number")
    return value


def _to_text(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and math.isfinite(value) else value


Text = Annotated[str, Field(pattern=r"\S"), in_words("a non-empty string")]
Texts = Annotated[list[Text], in_words("a list of strings")]
Name = Annotated[Text, BeforeValidator(_to_text)]
"""A text; a number is accepted too, since YAML reads a name such as 5 as one."""
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""32 bits: Lightning also seeds numpy's legacy generator, which accepts no more."""
PositiveInt = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
WholeOption = BeforeValidator(_to_whole)
"""For a Literal of numbers, which would accept true for 1 and 8.0 for 8."""
Interval = Annotated[tuple[float, float], BeforeValidator(to_tuple), in_words("two numbers [a,b]")]


# ---------------------------------------------------------------- parsing


def parse(kind: type[Chosen], values: Any, where: str = "") -> Chosen:
    """Parse plain containers into a settings object.

    Args:
        kind: The settings class.
        values: A mapping of its keys.
        where: Dotted key of `values`; empty for a whole configuration.

    Returns:
        The settings object.

    Raises:
        Hep2ganError: If anything is wrong; lists every error with its rule and fix.
    """
    raise_all(list(errors_of(kind, values, where).values()))
    return kind.model_validate(values)


def errors_of(kind: type[BaseModel], values: Any, where: str = "") -> dict[str, Hep2ganError]:
    """Find everything that is wrong with values for a settings class.

    Args:
        kind: The settings class.
        values: A mapping of its keys.
        where: Dotted key of `values`; empty for a whole configuration.

    Returns:
        The errors by dotted key; empty if `values` can be parsed.
    """
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return _translate(error, kind, values, where)
    return {}


def _translate(
    error: ValidationError, kind: type[BaseModel], values: Any, where: str
) -> dict[str, Hep2ganError]:
    found: dict[str, Hep2ganError] = {}
    for problem in error.errors(include_url=False):
        place = _locate(kind, problem["loc"])
        key = ".".join(filter(None, (where, *place.path)))
        if problem["type"] == "conflict":
            found[key] = problem["ctx"]["error"]
            continue
        missing = problem["type"] == "missing" and len(problem["loc"]) == len(place.path)
        found.setdefault(key, _refusal(kind, values, place, key, missing=missing))
    return found


class _Place(NamedTuple):
    """A place in a configuration.

    Attributes:
        path: Keys that lead to a field.
        field: The field; None below the last key that is one.
    """

    path: tuple[str, ...]
    field: FieldInfo | None


def _locate(kind: type[BaseModel], location: tuple[int | str, ...]) -> _Place:
    """Find the field of an error of pydantic, whose location also names union members."""
    path: tuple[str, ...] = ()
    field: FieldInfo | None = None
    model: type[BaseModel] | None = kind
    free = False
    for part in location:
        if model is None:
            break
        if free:  # A key of the user's choice, such as that of a callback.
            path, free = (*path, str(part)), False
            continue
        fields = {item.alias or name: item for name, item in model.model_fields.items()}
        field = fields.get(str(part))
        path += (str(part),)
        if field is None:
            break
        model = _model_in(field.annotation)
        free = get_origin(field.annotation) in (dict, Mapping)
    return _Place(path, field)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the settings class in an annotation such as `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = [m for arg in get_args(annotation) if (m := _model_in(arg)) is not None]
    return models[0] if models else None


def _refusal(
    kind: type[BaseModel], values: Any, place: _Place, key: str, *, missing: bool
) -> Hep2ganError:
    if place.field is None:
        known = [name for name, _ in fields_of(kind)]
        return unknown_key(key, known, key.removesuffix(".".join(place.path)))
    example = format_value(_example(place.field))
    if missing:
        return Hep2ganError(f"{key} is not given", "it has no default", f"add {key}={example}")
    value = value_at(values, place.path)
    text = "null" if value is None else repr(value)[:80]
    fact, words = f"{key} is {text}", f"it must be {describe(place.field)}"
    is_open = get_origin(place.field.annotation) in (dict, Mapping)
    if _model_in(place.field.annotation) is Component and not is_open:
        fix = f"choose {key.replace('.', '/')}=NAME, or set {key}._target_=CLASS"
        return Hep2ganError(fact, words, fix)
    # The default is not what the command line composes: scale=laptop has other numbers.
    return Hep2ganError(fact, words, f"set {key}={example}, for example")


def value_at(values: Any, path: Iterable[str]) -> Any:
    """Look up a value in plain containers.

    Args:
        values: Nested mappings.
        path: Keys that lead to the value, outermost first.

    Returns:
        The value, or None if there is no such key.
    """
    for part in path:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def unknown_key(key: str, known: Collection[str], prefix: str = "") -> Hep2ganError:
    """Make the error for an unknown key, with the most similar known key.

    Args:
        key: The dotted key as it was given.
        known: Known dotted keys, without `prefix`.
        prefix: What precedes each key of `known`, with its dot.

    Returns:
        The error.
    """
    full = [prefix + name for name in known]
    last = {name.rpartition(".")[2]: name for name in full}
    near = difflib.get_close_matches(key, full, 1, 0.8) or [
        last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, 1, 0.7)
    ]
    meant = f"use {near[0]}=…, or leave {key} out" if near else f"leave {key} out"
    return Hep2ganError(f"nothing reads the key {key}", "a key must be one of --cfg job", meant)


def fields_of(kind: type[BaseModel], where: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Iterate over the fields of a settings class and of the classes nested in it.

    Args:
        kind: The settings class.
        where: Prefix of the keys, with its dot.

    Yields:
        The dotted key and its field; each group before its keys.
    """
    for name, field in kind.model_fields.items():
        key = f"{where}{field.alias or name}"
        yield key, field
        model = _model_in(field.annotation)
        if model is not None and issubclass(model, Settings):
            yield from fields_of(model, f"{key}.")


# ---------------------------------------------------------------- rules in words


def describe(field: FieldInfo) -> str:
    """Describe the valid values of a field in words that complete "it must be …".

    Args:
        field: The field.

    Returns:
        The words.
    """
    return _describe(field.annotation, list(field.metadata), field.json_schema_extra)


def _describe(annotation: Any, metadata: list[Any], extra: Any) -> str:
    if isinstance(extra, Mapping) and "rule" in extra:
        words = str(extra["rule"])
        return f"{words}, or null" if type(None) in get_args(annotation) else words
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        info = FieldInfo.from_annotation(annotation)
        return _describe(info.annotation, [*info.metadata, *metadata], info.json_schema_extra)
    if origin is Literal:
        choices = ", ".join(format_value(option) for option in arguments)
        return f"one of {choices}" if len(arguments) > 1 else choices
    if origin in (Union, UnionType):
        options = [a for a in arguments if a is not type(None)]
        words = ", or ".join(_describe(option, metadata, None) for option in options)
        return f"{words}, or null" if len(options) < len(arguments) else words
    if annotation in (int, float):
        return _describe_number(annotation, metadata)
    if _model_in(annotation) is not None or origin in (dict, Mapping):
        return "a group of keys"
    return {bool: "true or false", str: "a string", list: "a list"}.get(origin or annotation, "set")


def _describe_number(kind: type, metadata: list[Any]) -> str:
    bounds = {
        name: getattr(item, name)
        for item in metadata
        for name in ("ge", "gt", "le", "lt", "multiple_of")
        if getattr(item, name, None) is not None
    }
    noun = "a whole number" if kind is int else "a finite number"
    parts = []
    if "ge" in bounds and "le" in bounds:
        parts.append(f" from {bounds['ge']:g} to {bounds['le']}")
    else:
        parts += [f", {bounds['ge']} or more"] if "ge" in bounds else []
        parts += [f" above {bounds['gt']}"] if "gt" in bounds else []
        parts += [f" at most {bounds['le']}"] if "le" in bounds else []
    parts += [f" below {bounds['lt']}"] if "lt" in bounds else []
    parts += [f" a multiple of {bounds['multiple_of']}"] if "multiple_of" in bounds else []
    return noun + " and".join(parts)


def _example(field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    if field.is_required() and get_origin(field.annotation) is Literal:
        return get_args(field.annotation)[0]
    return (
        "VALUE"
        if field.is_required()
        else field.get_default(call_default_factory=True, validated_data={})
    )


def format_value(value: Any) -> str:
    """Format a value as it is written on the command line: null, true, [1,2].

    Args:
        value: The value.

    Returns:
        The text.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(format_value, value)) + "]"
    return "{}" if isinstance(value, Mapping | BaseModel) else str(value)


# ---------------------------------------------------------------- components


def component_errors(
    component: Component,
    where: str,
    provided: Collection[str] = (),
    types: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Hep2ganError]:
    """Find what is wrong with the arguments of a component.

    Args:
        component: A component whose `_target_` may be imported.
        where: Dotted key of the component.
        provided: Names of arguments that the program provides, and that no configuration may give.
        types: Types of arguments by name, in place of the annotations of the class.

    Returns:
        The errors by dotted key.

    Raises:
        Hep2ganError: If the class cannot be imported.
    """
    kind = arguments_of(component.load(), provided, types)
    return errors_of(kind, component.arguments, where)


def arguments_of(
    target: type[Any],
    provided: Collection[str] = (),
    types: Mapping[str, Any] = MappingProxyType({}),
) -> type[Settings]:
    """Make a settings class of the arguments of a class.

    Args:
        target: A class; its annotations give types and bounds, its docstring gives the help.
        provided: Names of arguments that are left out.
        types: Types of arguments by name, in place of the annotations.

    Returns:
        The settings class; `target` itself if it is one.
    """
    if issubclass(target, Settings):
        return target
    hashable = typing.cast(Hashable, target)  # A class, which mypy does not see.
    return _arguments_of(hashable, frozenset(provided), tuple(types.items()))


@cache  # A configuration names the same classes again and again, and pydantic takes its time.
def _arguments_of(
    target: Any, provided: frozenset[str], types: tuple[tuple[str, Any], ...]
) -> type[Settings]:
    helps = argument_help(target)
    fields: dict[str, Any] = {}
    for name, parameter in _parameters(target).items():
        if name in provided:
            continue
        required = parameter.default is inspect.Parameter.empty
        default = ... if required else parameter.default
        kind = dict(types).get(name) or _annotation(target, name)
        fields[name] = (kind, Field(default, description=helps.get(name)))
    extra: Literal["allow", "forbid"] = "allow" if _takes_any_keyword(target) else "forbid"
    config = ConfigDict(extra=extra, use_attribute_docstrings=False)  # There is no source to read.
    base = type("Arguments", (Settings,), {"model_config": config})
    return create_model(target.__name__, __base__=base, **fields)


def argument_help(target: type[Any]) -> dict[str, str]:
    """Read the texts of the arguments from the `Args:` section of a Google-style docstring.

    Args:
        target: A class with a docstring.

    Returns:
        Each text on one line, by name of the argument.
    """
    text = inspect.getdoc(target) or ""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text + "\n", re.M)
    if section is None:
        return {}
    entries = re.findall(r"^ {4}(\w+): ?(.*(?:\n(?: {5,}.*)?)*)", section[1], re.M)
    return {name: " ".join(words.split()) for name, words in entries}


def _parameters(target: type[Any]) -> dict[str, inspect.Parameter]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(target).parameters
    return {name: item for name, item in found.items() if item.kind not in kinds}


def _takes_any_keyword(target: type[Any]) -> bool:
    parameters = inspect.signature(target).parameters.values()
    return any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters)


def _annotation(target: type[Any], name: str) -> Any:
    """Return the annotation of an argument; Any if there is none that pydantic can check."""
    try:
        hints = typing.get_type_hints(target.__init__, include_extras=True)
        if name not in hints:  # Named tuples and settings classes annotate the class.
            hints = typing.get_type_hints(target, include_extras=True)
        TypeAdapter(hints[name])
    except Exception:  # A library's annotations may need anything.
        return Any
    return hints[name]
