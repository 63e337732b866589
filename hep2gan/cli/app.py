"""The command line that all commands share: Hydra, positional arguments, readable errors."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hep2gan.cli.config_safety import check_external_configs
from hep2gan.cli.errors import FULL_ERROR, readable_errors
from hep2gan.cli.terminal import prepare_output
from hep2gan.errors import Hep2ganError
from hep2gan.io import share_machine

if TYPE_CHECKING:
    from omegaconf import DictConfig


_FLAGS_WITH_VALUE = frozenset(
    {"--cfg", "-c", "--package", "-p", "--info", "-i"}
    | {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
)

_COMPLETION = frozenset({"-sc", "--shell-completion"})


def config_folder() -> Path:
    """Folder of the YAML files: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def plugin_folder() -> Path:
    """Where the sweeps' launchers lie as Hydra plugins."""
    return Path(__file__).resolve().parent / "launch" / "plugins"


def quote_override(value: str) -> str:
    """Quote a value so that Hydra's grammar leaves it as it is."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def name_positionals(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Turn positional arguments into overrides.

    Args:
        arguments: of the command line.
        names: keys of the positional arguments; one with * takes all the rest, as a list.

    Raises:
        Hep2ganError: there are more positional arguments than names.

    >>> name_positionals(["runs/a", "x.png", "y.png", "white_level=4095"], ("run", "inputs*"))
    ['white_level=4095', "run='runs/a'", "inputs=['x.png','y.png']"]
    """
    positional: list[str] = []
    flags: list[str] = []
    overrides: list[str] = []
    previous = ""
    for argument in arguments:
        is_override = "=" in argument and not _exists(argument)
        if argument[:1] == "-" or previous in _FLAGS_WITH_VALUE:
            flags.append(argument)
        elif is_override or argument[:1] in "~+":
            overrides.append(argument)
        else:
            positional.append(argument)
        previous = argument
    # Flags first: Hydra refuses overrides on both sides of one, `data=phantom -m seed=0,1`.
    return flags + overrides + _to_overrides(positional, names)


def _exists(argument: str) -> bool:
    # Overrides may be longer than any file name, which the system refuses to look up.
    with suppress(OSError, ValueError):
        return Path(argument).exists()
    return False


def _to_overrides(positional: list[str], names: tuple[str, ...]) -> list[str]:
    overrides: list[str] = []
    for name in names:
        if not positional:
            break
        if name.endswith("*"):
            values = ",".join(quote_override(value) for value in positional)
            overrides.append(f"{name[:-1]}=[{values}]")
            positional = []
        else:
            overrides.append(f"{name}={quote_override(positional.pop(0))}")
    if positional:
        raise Hep2ganError(
            f"argument {positional[0]!r} is not understood",
            "options are written KEY=VALUE",
            "see --help",
        )
    return overrides


def run(
    task: Callable[[dict[str, Any]], object], name: str, positionals: tuple[str, ...] = ()
) -> None:
    """Run `task` with the configuration that Hydra composes from the command line.

    Errors that a user can correct are printed without a traceback, with exit status 2, see
    `readable_errors`.

    Args:
        task: called with the resolved configuration. It imports torch itself, so that --help and
            completion answer at once.
        name: of the configuration in conf/.
        positionals: see `name_positionals`.
    """
    prepare_output()
    share_machine()
    prepare_hydra()
    with readable_errors(config_folder() / f"{name}.yaml"):
        if not _COMPLETION & set(sys.argv):
            check_external_configs(sys.argv[1:])
            sys.argv[1:] = name_positionals(sys.argv[1:], positionals)
        with _full_errors():
            error = _run_in_hydra(task, name)
        if error is not None:
            raise error


def prepare_hydra() -> None:
    """Let Hydra find the launchers of sweeps, and speed it up; call before it composes anything."""
    # Hydra looks for plugins in the namespace hydra_plugins on the search path, nowhere else.
    if (plugins := str(plugin_folder())) not in sys.path:
        sys.path.append(plugins)
        if "hydra.core.plugins" in sys.modules:
            _register_plugins()
    _share_schemas()
    _list_groups_once()


def _register_plugins() -> None:
    """Register plugins with a Hydra that has looked for them before: it looks once a process."""
    from importlib import import_module

    from hydra.core.plugins import Plugins

    module = import_module("hydra_plugins.hep2gan")
    for plugin in (module.ProcessLauncher, module.SlurmSweep, module.OptunaSweep):
        Plugins.instance().register(plugin)


def _list_groups_once() -> None:
    """Spare Hydra's help from walking through all groups of configurations twice."""
    from hydra._internal.hydra import Hydra

    Hydra.list_all_config_groups = cache(Hydra.list_all_config_groups)  # type: ignore[method-assign]


def _run_in_hydra(task: Callable[[dict[str, Any]], object], name: str) -> Exception | None:
    """Run `task` and return its error, before which Hydra would print all overrides."""
    import hydra

    errors: list[Exception] = []

    @wraps(task)
    def catch(config: "DictConfig") -> None:
        try:
            task(resolve_config(config))
        except Exception as error:
            errors.append(error)

    hydra.main(str(config_folder()), name, version_base="1.3")(catch)()
    return errors[0] if errors else None


def _share_schemas() -> None:
    """Keep Hydra from copying its ConfigStore for each group it lists, half a second in all.

    Safe, since Hydra copies what it loads from the store once more.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    vars(store)["__deepcopy__"] = lambda _: store


@contextmanager
def _full_errors() -> Iterator[None]:
    """Let exceptions pass through Hydra, which otherwise prints and swallows them."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        del os.environ[FULL_ERROR]
        if before is not None:
            os.environ[FULL_ERROR] = before


def resolve_config(config: "DictConfig") -> dict[str, Any]:
    """Plain containers with every interpolation resolved.

    Raises Hep2ganError for a key that must be given and is not.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    missing = [str(key) for key, value in plain.items() if value == "???"]
    if missing:
        raise Hep2ganError(f"{missing[0]} is not given", "it has no default", "see --help")
    return {str(key): value for key, value in plain.items()}
