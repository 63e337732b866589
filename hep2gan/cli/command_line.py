"""What a command line asks for, before Hydra reads it: sweeps, pages to show, options at once."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence

from hep2gan.errors import Hep2ganError

_RUNNABLE = {"hydra/launcher": ("processes", "slurm"), "hydra/sweeper": ("optuna",)}
"""What starts the jobs of a sweep in processes of their own; Hydra lists others too."""
_OF_SWEEPS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper")
_HYDRA_GROUPS = ("hydra.launcher", "hydra.sweeper", "hydra.sweeper.sampler")
_ADD_UP = ("logger", "callbacks")
"""Groups of which a run can have several options."""
_MULTIRUN, _SHOWS, _HYDRA_HELP = ("-m", "--multirun"), ("--cfg", "--info", "--help"), "--hydra-help"
_IN_ADDRESS = re.compile(r"(/[^\s:/@]*):[^\s/@]+@")
_SHORT = {"-c": "--cfg", "-i": "--info", "-h": "--help"}


def is_flag(argument: str, *flags: str) -> bool:
    """Tell whether an argument is one of some flags; argparse takes any beginning of a long one.

    Args:
        argument: A word of the command line.
        flags: Flags, with their dashes.

    Returns:
        True for each of the flags, alone or with a value behind =.

    >>> is_flag("--multi", "-m", "--multirun"), is_flag("-m", "-m"), is_flag("--", "--cfg")
    (True, True, False)
    """
    name = _SHORT.get(argument, argument).partition("=")[0]
    return any(flag == name or (len(name) > 2 and flag.startswith(name)) for flag in flags)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Tell whether the arguments ask for a sweep.

    Args:
        arguments: Those of the command line.

    Returns:
        True with -m.
    """
    return any(is_flag(argument, *_MULTIRUN) for argument in arguments)


def this_command() -> str:
    """Write the command line of hep2gan-train as it was given, for a shell.

    Returns:
        The command line without passwords.
    """
    return redact_passwords(shlex.join(["hep2gan-train", *sys.argv[1:]]))


def redact_passwords(text: str) -> str:
    """Replace the password in each address of a text by ***.

    Args:
        text: Any text, such as a log message.

    Returns:
        The text without passwords.

    >>> redact_passwords("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return _IN_ADDRESS.sub(r"\1:***@", text)


def check_words(arguments: Sequence[str], command: str, groups: Callable[[], set[str]]) -> None:
    """Check what Hydra would take and the command would not obey.

    Args:
        arguments: Those of the command line.
        command: Its name without hep2gan-.
        groups: Returns the groups of configurations.

    Raises:
        Hep2ganError: A sweep's options without a sweep, a sweep of anything but trainings, a
            launcher or sweeper that cannot start trainings, a group set as a key, several options
            that overwrite each other.
    """
    swept = is_sweep(arguments) or "hydra.mode=MULTIRUN" in arguments
    if swept and command != "train":
        raise Hep2ganError(
            f"hep2gan-{command} was called with -m",
            "a sweep is of trainings",
            f"leave -m out, and call hep2gan-{command} once for each",
        )
    for word in arguments:
        key, _, value = word.lstrip("+").partition("=")
        if key == "fast_dev_run" and swept and value.casefold() not in ("false", "0"):
            raise Hep2ganError(
                f"{word} with -m",
                "it tries one run and keeps nothing that a sweep could count",
                "leave -m out, or check every job with doctor=true",
            )
        if key in _RUNNABLE and value not in _RUNNABLE[key]:
            raise Hep2ganError(
                f"{word} cannot start trainings",
                "each job of a sweep is a process of its own",
                f"use {' or '.join(f'{key}={name}' for name in _RUNNABLE[key])}, or leave it out",
            )
        if key.startswith(_OF_SWEEPS) and not swept and not _shows(arguments):
            raise Hep2ganError(
                f"{word} without -m", "it is about the jobs of a sweep", "add -m, or leave it out"
            )
        if key in _HYDRA_GROUPS:
            raise Hep2ganError(
                f"{word} sets a group of Hydra to a word",
                "the options of a group are chosen by /, single keys are set by .",
                f"use {word.replace('.', '/', key.count('.'))}",
            )
        if value[:1] == "[" and "," in value and key not in _ADD_UP and key in groups():
            options = value.strip("[] ").replace(" ", "")
            raise Hep2ganError(
                f"{word} names several options",
                f"they would overwrite each other, and a run has one {key}",
                f"choose one, or train each of them with -m {key}={options}",
            )


def _shows(arguments: Sequence[str]) -> bool:
    return any(is_flag(argument, *_SHOWS, _HYDRA_HELP) for argument in arguments)


def show_first_job(arguments: Sequence[str]) -> list[str]:
    """Reduce a sweep to its first job where a page is asked for: Hydra shows one configuration.

    Args:
        arguments: Those of the command line.

    Returns:
        The arguments of the first job; the same arguments where a command is to run.
    """
    if any(is_flag(argument, _HYDRA_HELP) for argument in arguments):
        return [_HYDRA_HELP]
    return list(_firsts(arguments)) if _shows(arguments) else list(arguments)


def _firsts(arguments: Sequence[str]) -> Iterator[str]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for argument in arguments:
        if argument[:1] == "-" or "=" not in argument:
            if not is_flag(argument, *_MULTIRUN):
                yield argument
            continue
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:  # Told with the page.
            yield argument
            continue
        if override.is_discrete_sweep():
            yield f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        elif not override.is_sweep_override():
            yield argument
