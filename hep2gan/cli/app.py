"""The command line that all commands share: Hydra, positional arguments, readable errors."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hep2gan.cli.config_safety import check_external_configs
from hep2gan.errors import Hep2ganError, from_os_error

if TYPE_CHECKING:
    from omegaconf import DictConfig


_FLAGS_WITH_VALUE = frozenset(
    {"--cfg", "-c", "--package", "-p", "--info", "-i"}
    | {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
)

_COMPLETION = frozenset({"-sc", "--shell-completion"})
_ANSWERS = _COMPLETION | {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i"}


def config_folder() -> Path:
    """Folder of the YAML files: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def plugin_folder() -> Path:
    """Where the sweeps' launchers lie as Hydra plugins."""
    return Path(__file__).resolve().parent / "launch" / "plugins"


def quote_override(value: str) -> str:
    """A value in Hydra's quotes, so that any path survives its grammar."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def name_positionals(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """Turn positional arguments into overrides named `names`; the last one takes all the rest.

    >>> with_positionals(["runs/a", "x.png", "y.png", "white_level=4095"], ("run", "inputs*"))
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
    # Hydra takes overrides in one piece only: `data=phantom -m seed=0,1` would be an error.
    return flags + overrides + _named(positional, names)


def _exists(argument: str) -> bool:
    # Overrides may be longer than the name of any file, which the system refuses to look for.
    with suppress(OSError, ValueError):
        return Path(argument).exists()
    return False


def _named(positional: list[str], names: tuple[str, ...]) -> list[str]:
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


def run(task: Callable[["DictConfig"], Any], name: str, positionals: tuple[str, ...] = ()) -> None:
    """Run `task` with the configuration `name` as Hydra composes it from the command line.

    Errors of the user's making are printed without a traceback, with exit status 2; with
    HYDRA_FULL_ERROR=1 in the environment, with it. `task` imports torch itself, so that --help
    and completion answer at once.
    """
    if _ANSWERS & set(sys.argv):
        gc.disable()  # The process ends with its answer.
    prepare_hydra()
    with readable_errors(name):
        if not _COMPLETION & set(sys.argv):
            check_external_configs(sys.argv[1:])
            sys.argv[1:] = name_positionals(sys.argv[1:], positionals)
        with _raising():
            caught = _run_in_hydra(task, name)
        if caught is not None:
            raise caught


def prepare_hydra() -> None:
    """Let Hydra find the launchers of sweeps, and spare it work; before it composes anything."""
    # Hydra looks for plugins in the namespace hydra_plugins on the search path, nowhere else.
    if (plugins := str(plugin_folder())) not in sys.path:
        sys.path.append(plugins)
        if "hydra.core.plugins" in sys.modules:
            _register_plugins()
    _share_schemas()


def _register_plugins() -> None:
    """Tell a Hydra that may have looked for plugins before: it looks once a process."""
    from importlib import import_module

    from hydra.core.plugins import Plugins

    own = import_module("hydra_plugins.hep2gan")
    for plugin in (own.ProcessLauncher, own.SlurmSweep, own.OptunaSweep):
        Plugins.instance().register(plugin)


@contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Print errors of the user's making as `run` says, and end with status 2; 130 after Ctrl-C.

    name: of the configuration that the command line is about.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (Hep2ganError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get(_FULL) == "1":
            raise
        from hep2gan.cli.errors import explain_error

        _refuse(str(error) if isinstance(error, Hep2ganError) else explain_error(error, name))
    except Exception as error:
        told = from_os_error(error)
        if told is None or os.environ.get(_FULL) == "1":
            raise
        _refuse(str(told))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def _run_in_hydra(task: Callable[["DictConfig"], Any], name: str) -> Exception | None:
    """Run `task`, and return its error: before one that it sees, Hydra prints all overrides."""
    import hydra

    caught: list[Exception] = []

    @wraps(task)
    def catching(config: "DictConfig") -> None:
        try:
            task(config)
        except Exception as error:
            caught.append(error)

    hydra.main(str(config_folder()), name, version_base="1.3")(catching)()
    return caught[0] if caught else None


def _share_schemas() -> None:
    """Spare Hydra copies of its ConfigStore: one for each group it lists, half a second in all.

    Safe, since what is loaded from the store is copied once more when it is handed out.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    vars(store)["__deepcopy__"] = lambda _: store


def _refuse(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


_FULL = "HYDRA_FULL_ERROR"


@contextmanager
def _raising() -> Iterator[None]:
    """Let exceptions through Hydra, which otherwise prints and swallows them."""
    before = os.environ.get(_FULL)
    os.environ[_FULL] = "1"
    try:
        yield
    finally:
        del os.environ[_FULL]
        if before is not None:
            os.environ[_FULL] = before


def resolve_config(config: "DictConfig") -> dict[str, Any]:
    """Plain containers with every interpolation resolved; values not given stay '???'."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    missing = [str(key) for key, value in plain.items() if value == "???"]
    if missing:
        raise Hep2ganError(f"{missing[0]} is not given", "it has no default", "see --help")
    return {str(key): value for key, value in plain.items()}
