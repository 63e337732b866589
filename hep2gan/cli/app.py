"""The command line that all commands share: Hydra, positional arguments, readable errors."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from hep2gan.cli.command_line import check_words, is_sweep, show_first_job
from hep2gan.cli.config_safety import check_external_configs
from hep2gan.cli.errors import FULL_ERROR, options_by_group, readable_errors
from hep2gan.cli.fast_hydra import speed_up_hydra
from hep2gan.cli.terminal import prepare_output
from hep2gan.errors import Hep2ganError
from hep2gan.io import share_machine

if TYPE_CHECKING:
    from omegaconf import DictConfig

T = TypeVar("T")

_FLAGS_WITH_VALUE = frozenset(
    {"--cfg", "-c", "--package", "-p", "--info", "-i"}
    | {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
)

TEXT_KEYS = frozenset(
    {"data.root", "data.store", "data.name", "stores", "runs", "run_dir", "study", "name"}
    | {"run", "inputs", "checkpoint", "store", "output", "title", "question", "reference", "as"}
    | {"labels", "specimens", "push_to_hub", "message"}
    | {"generator.weights", "classifier.weights", "init_from"}
)
"""Keys of paths and other free texts, whose values are taken as they are."""
_NO_TEXT = re.compile(r"""|null|\?{3}|'.*'|".*"|.*\$\{.*""", re.DOTALL)
_SWEEP = re.compile(r"(choice|glob|range|shuffle|sort)\(")
_MOVED = {
    "hydra.job.chdir": "paths are relative to the folder of the start; leave it out",
    "hydra.run.dir": "set run_dir=FOLDER, or runs=FOLDER",
    "hydra.sweep.dir": "set runs=FOLDER and study=NAME",
    "hydra.sweep.subdir": "set name=NAME",
}
"""Hydra's own keys of where it works and writes, and what to do instead."""

_COMPLETION = frozenset({"-sc", "--shell-completion"})


def config_folder() -> Path:
    """Folder of the YAML files: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def quote_override(value: str) -> str:
    """Quote a value so that Hydra's grammar takes it literally.

    Args:
        value: Any text.

    Returns:
        The text in single quotes, with the quotes in it escaped.
    """
    # Backslashes mean themselves except before a quote.
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"'{escaped}'"


def quote_text(override: str, multirun: bool = False) -> str:
    """Quote the value of an override whose key is one of `TEXT_KEYS`, and expand a leading ~.

    Left as they are: other overrides, values in quotes, lists, null and interpolations.

    Args:
        override: `KEY=VALUE`.
        multirun: Whether a comma separates the values of a sweep.

    Returns:
        The override for Hydra.

    Raises:
        Hep2ganError: With `multirun`, a file or folder has a comma in its name.

    >>> quote_text("data.root=HEp-2 (2016), new")
    "data.root='HEp-2 (2016), new'"
    """
    key, separator, value = override.partition("=")
    is_list = key in ("inputs", "run", "runs") and value[:1] == "[" and not _exists(value)
    if not separator or key.lstrip("+") not in TEXT_KEYS or _NO_TEXT.fullmatch(value) or is_list:
        return override
    if multirun and _SWEEP.match(value):
        return override
    if multirun and "," in value and _exists(_expand(value)):
        raise Hep2ganError(
            f"{override}, but with -m a comma separates the values of a sweep",
            "",
            f"""write {key}="{quote_override(value)}", or rename it""",
        )
    values = value.split(",") if multirun else [value]
    return f"{key}=" + ",".join(_quote_path(each) for each in values)


def _refuse_moving(overrides: list[str]) -> None:
    """Refuse Hydra's own keys by which paths and logs would not be where the run says."""
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in _MOVED and value.casefold() not in ("false", "null"):
            raise Hep2ganError(f"{override} is not supported", "", _MOVED[key])


def name_positionals(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Turn positional arguments into overrides.

    Args:
        arguments: The arguments of the command line, without the program's name.
        names: Keys of the positional arguments; a key that ends in * takes all the remaining ones,
            as a list, one that ends in + the first and those after it that are models too.

    Returns:
        The flags, then the overrides, then the positional arguments as overrides.

    Raises:
        Hep2ganError: There are more positional arguments than names.

    Overrides of texts are quoted, see `quote_text`.

    >>> name_positionals(["runs/a", "x.png", "y.png", "white_level=4095"], ("run", "inputs*"))
    ['white_level=4095', "run='runs/a'", "inputs=['x.png','y.png']"]
    """
    positional: list[str] = []
    flags: list[str] = []
    overrides: list[str] = []
    previous = ""
    for argument in arguments:
        is_override = "=" in argument or argument[:1] in ("~", "+")
        if argument[:1] == "-" or previous in _FLAGS_WITH_VALUE:
            flags.append(argument)
        elif is_override and argument[:2] != "~/" and not _exists(argument):
            overrides.append(argument)
        else:
            positional.append(argument)
        previous = argument
    _refuse_moving(overrides)
    multirun = bool({"-m", "--multirun", "hydra.mode=MULTIRUN"} & {*flags, *overrides})
    overrides = [quote_text(override, multirun) for override in overrides]
    # Flags first: Hydra refuses overrides on both sides of one, `data=phantom -m seed=0,1`.
    return flags + overrides + _to_overrides(positional, names)


def _exists(argument: str) -> bool:
    # Not Path.exists, which raises for an override that is longer than any file name.
    return os.path.exists(argument)  # noqa: PTH110


def _quote_path(path: str) -> str:
    return quote_override(_expand(path))


def _expand(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111, Path raises for users that do not exist


def _to_overrides(positional: list[str], names: tuple[str, ...]) -> list[str]:
    overrides: list[str] = []
    for name in names:
        if not positional:
            break
        if name.endswith("*"):
            values = ",".join(map(_quote_path, positional))
            overrides.append(f"{name[:-1]}=[{values}]")
            positional = []
        elif name.endswith("+") and (count := _count_models(positional)) > 1:
            values = ",".join(map(_quote_path, positional[:count]))
            overrides.append(f"{name[:-1]}=[{values}]")
            del positional[:count]
        else:
            overrides.append(f"{name.rstrip('+')}={_quote_path(positional.pop(0))}")
    if positional:
        raise Hep2ganError(
            f"argument {positional[0]!r} is not understood",
            "options are written KEY=VALUE",
            "see --help",
        )
    return overrides


def _count_models(positional: list[str]) -> int:
    if len(positional) < 2 or not (
        positional[1].startswith("hf://") or Path(_expand(positional[1])).is_dir()
    ):
        return 1  # without importing anything
    from hep2gan.inference.members import count_models

    return count_models(list(map(_expand, positional)))


def run(
    task: Callable[[dict[str, Any]], object], name: str, positionals: tuple[str, ...] = ()
) -> None:
    """Run `task` with the configuration that Hydra composes from the command line.

    Errors that a user can correct are printed without a traceback, with exit status 2, see
    `readable_errors`.

    Args:
        task: Called with the resolved configuration. It imports torch itself, so that --help and
            completion need not wait for it.
        name: Name of the configuration file in conf/, without its suffix.
        positionals: Keys of the positional arguments, see `name_positionals`.
    """
    prepare_output()
    share_machine()
    with readable_errors(config_folder() / f"{name}.yaml"):
        execute(task, name, positionals)


def execute(
    task: Callable[[dict[str, Any]], T], name: str, positionals: tuple[str, ...] = ()
) -> T | None:
    """Do what `run` does, but let errors pass.

    Args:
        task: As in `run`.
        name: As in `run`.
        positionals: As in `run`.

    Returns:
        What `task` returns; None where Hydra shows a page instead.
    """
    prepare_hydra()
    if not _COMPLETION & set(sys.argv):
        check_external_configs(sys.argv[1:])
        check_words(sys.argv[1:], name, lambda: set(options_by_group(config_folder())))
        sys.argv[1:] = show_first_job(name_positionals(sys.argv[1:], positionals))
    return _run_in_hydra(task, name, positionals)


def prepare_hydra() -> None:
    """Let Hydra find the launchers of sweeps, and speed it up; call before it composes anything."""
    # Hydra looks for plugins in the namespace hydra_plugins on the search path, nowhere else.
    if (plugins := str(Path(__file__).resolve().parent / "sweeps" / "plugins")) not in sys.path:
        sys.path.append(plugins)
        if "hydra.core.plugins" in sys.modules:
            _register_plugins()
    speed_up_hydra()
    _register_resolvers()


def _register_resolvers() -> None:
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("image_size", image_size, replace=True)


def image_size(run: str) -> int:
    """Return the side of a run's images in pixels.

    Args:
        run: The run's folder.

    Returns:
        The side; that of a new store where the run cannot be read.
    """
    from hep2gan.data.readers.source import PackSettings
    from hep2gan.runs.folder import RunFolder

    try:
        return RunFolder(Path(run)).store_info().size
    except (Hep2ganError, OSError):  # The command opens the run again, and refuses it.
        return PackSettings().size


def _register_plugins() -> None:
    """Register plugins with a Hydra that has looked for them before: it looks once a process."""
    from hydra.core.plugins import Plugins
    from hydra_plugins import hep2gan

    for plugin in (hep2gan.ProcessLauncher, hep2gan.SlurmSweep, hep2gan.OptunaSweep):
        Plugins.instance().register(plugin)


def _run_in_hydra(
    task: Callable[[dict[str, Any]], T], name: str, positionals: tuple[str, ...]
) -> T | None:
    """Run `task`; keep its error from Hydra, which would print all overrides before it."""
    import hydra
    from hydra.core.utils import env_override

    results: list[T] = []
    errors: list[Exception] = []

    @wraps(task)
    def catch(config: "DictConfig") -> None:
        try:
            results.append(task(resolve_config(config, name, positionals)))
        except Exception as error:
            errors.append(error)

    # Exceptions pass through Hydra, which otherwise prints and swallows them.
    with env_override({FULL_ERROR: "1"}), _no_trace_of_doctor():
        hydra.main(str(config_folder()), name, version_base="1.3")(catch)()
    if errors:
        raise errors[0]
    return results[0] if results else None


@contextmanager
def _no_trace_of_doctor() -> Iterator[None]:
    """Let a sweep that only looks keep Hydra's record of it elsewhere, for as long as it takes."""
    if not (is_sweep(sys.argv[1:]) and "doctor=true" in map(str.lower, sys.argv[1:])):
        yield
        return
    with TemporaryDirectory() as folder:
        sys.argv.append(f"hydra.sweep.dir={quote_override(folder)}")
        yield


def resolve_config(
    config: "DictConfig", command: str = "train", positionals: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Convert a composed configuration to plain containers with every interpolation resolved.

    Args:
        config: The configuration of a command, without Hydra's own group.
        command: The command's name without hep2gan-.
        positionals: Keys of its positional arguments, see `name_positionals`.

    Returns:
        Dictionaries, lists and scalars.

    Raises:
        Hep2ganError: A key that has no default is not given.
    """
    from omegaconf import OmegaConf

    _register_resolvers()
    # First, since others may be made of them.
    if missing := [str(key) for key in config if OmegaConf.is_missing(config, key)]:
        raise _not_given(missing[0], config, command, positionals)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _not_given(
    key: str, config: "DictConfig", command: str, positionals: tuple[str, ...]
) -> Hep2ganError:
    """Explain a missing key; a positional argument is called what the usage calls it."""
    names = [name.rstrip("*+") for name in positionals]
    words = {name: name.removesuffix("s").upper() for name in names}
    if key not in words:
        return Hep2ganError(f"{key} is not given", "it has no default", f"add {key}=…, see --help")
    usage = " ".join(
        [f"hep2gan-{command}", *words.values(), *["..."] * positionals[-1].endswith("*")]
    )
    first, word = next(iter(words.items()))
    taken = "" if key == first else f", and {config[first]} is taken as the {word}"
    return Hep2ganError(
        f"no {words[key]} is given", f"the usage is {usage}{taken}", "add it, see --help"
    )
