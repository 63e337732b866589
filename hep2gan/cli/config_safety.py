"""Check external configurations (--config-dir and the like) before Hydra follows them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hep2gan.errors import Hep2ganError

# Argparse takes any beginning of a long flag, and a value joined to a short one.
_FOLDER = re.compile(r"(--config-[dp]\w*|-cd|-cp)=?(.*)", re.DOTALL)
_PICKLE = "--experimental"
_PACKAGE = re.compile(r"^\s*#\s*@package\b.*hydra", re.MULTILINE)
_KEY = re.compile(r"(^|[@/.])hydra\b|^(trusted|tables|run_dir|runs|stores)\b")
_RESOLVER = re.compile(r"\$\{[^}]*:")
_RULE = (
    "an external configuration sets neither hydra, trusted, tables nor where things are written,"
    " and reads no environment"
)
_FIX = "read the files of that folder, and give such settings on the command line"


def check_external_configs(arguments: Sequence[str]) -> None:
    """Refuse external configurations that could run code or read the environment.

    Hydra builds whatever a configuration sets under `hydra` (callbacks, launchers, log handlers)
    before this package is asked, and resolvers such as `oc.env` would write secrets into the run's
    files. A method, a data set or a network from elsewhere needs neither. Its `_target_`s must be
    on the list of allowed classes, which such a file may not extend by `trusted`. Overrides on the
    command line are the user's own and are not checked.

    Args:
        arguments: The arguments of the command line. All YAML files in the folders that they name
            are checked.

    Raises:
        Hep2ganError: A file is dangerous or cannot be read, or an argument would unpickle a file.
    """
    for argument in arguments:
        if argument.startswith(_PICKLE):
            raise Hep2ganError(
                f"{argument} is not supported",
                "it unpickles a file, which can run any code",
                "start the run again with its command line, or resume its run folder",
            )
    for folder in _folders(arguments):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".yaml", ".yml") and (reason := _find_danger(path, folder)):
                raise Hep2ganError(f"{path} {reason}", _RULE, _FIX)


def _folders(arguments: Sequence[str]) -> Iterator[Path]:
    for index, argument in enumerate(arguments):
        if flag := _FOLDER.fullmatch(argument):
            yield Path(flag.group(2) or next(iter(arguments[index + 1 :]), ""))
        elif argument.lstrip("+").startswith("hydra.searchpath"):
            yield from map(Path, re.findall(r"file://([^'\",\]]*)", argument))


def _find_danger(path: Path, folder: Path) -> str:
    import yaml

    if "hydra" in path.relative_to(folder).parts:
        return "is in a group of Hydra's own"
    try:
        text = path.read_text(encoding="utf-8")
        # Hydra's loader has types of its own; a file that needs them is refused here.
        tree = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        return f"cannot be read ({' '.join(str(error).split())[:300]})"
    if _PACKAGE.search(text):
        return "is of a package of Hydra's own"
    return next(_dangers(tree), "")


def _dangers(tree: Any, depth: int = 0) -> Iterator[str]:
    if depth > 32:
        yield "is nested more than 32 levels deep"
        return
    if isinstance(tree, dict):
        for key, value in tree.items():
            if _KEY.search(str(key).removeprefix("override ")):
                yield f"sets {key}"
            if key in ("name", "study") and re.search(r"[/\\]|^\.\.?$", str(value)):
                yield f"would put runs elsewhere, {key}={value}"
            yield from _dangers(key, depth + 1)
            yield from _dangers(value, depth + 1)
    elif isinstance(tree, list):
        for member in tree:
            yield from _dangers(member, depth + 1)
    elif isinstance(tree, str) and _RESOLVER.search(tree):
        yield f"holds the resolver {tree[:80]}"
    elif isinstance(tree, str) and re.search(r"@hydra\b|^/?hydra/", tree):
        yield f"refers to {tree[:80]}"
