"""Which models a command names: runs, exports, and folders whose finished runs are meant."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hep2gan.errors import Hep2ganError
from hep2gan.inference.exported import DESCRIPTION, HUB
from hep2gan.runs.finished import find_runs
from hep2gan.runs.folder import RunFolder

_DEPTH = 2
"""Folders between a study and its runs, so that the folder of all studies is none."""


class Members(NamedTuple):
    """The models that are to predict together.

    Attributes:
        names: Runs and exports, each once, in the order in which they are named.
        left_out: Folders of runs that are not finished, among those of a folder of runs.
    """

    names: list[str]
    left_out: list[str]


def count_models(words: Sequence[str]) -> int:
    """Count the leading words that name models rather than images.

    The first does in any case. The last does only if it is itself a run or an export: of a folder
    with runs in it, it may be the images that are meant.

    Args:
        words: Positional arguments.

    Returns:
        1 or more; 0 of no words.
    """
    for at, word in enumerate(words):
        last = at == len(words) - 1
        if at and not (_is_model(word) or (not last and _holds_runs(Path(word)))):
            return at
    return len(words)


def list_members(named: Sequence[str]) -> Members:
    """List the models that are named; the folder of a method or a study is its finished runs.

    Args:
        named: Folders of runs and exports, of methods or of studies; or hf://USER/NAME.

    Returns:
        The members.

    Raises:
        Hep2ganError: A folder is none of these, or none of its runs is finished.
    """
    if not named:
        raise Hep2ganError(
            "run is an empty list", "it names what is to predict", "name a run folder, or several"
        )
    names: dict[str, str] = {}
    left_out: list[str] = []
    for word in named:
        folder = Path(word).expanduser()
        if _is_model(word) or not _holds_runs(folder):
            found = [word if is_export(word) else str(folder)]
        else:
            done, rest = find_runs(folder)
            found, left_out = list(map(str, done)), left_out + list(map(str, rest))
        for name in found:
            if not is_export(name):
                RunFolder.open(Path(name))
            names.setdefault(name if name.startswith(HUB) else str(Path(name).resolve()), name)
    return Members(list(names.values()), left_out)


def is_export(name: str) -> bool:
    """Tell whether a name is that of an export: a folder, or hf:// and its name at the hub.

    Args:
        name: The name.
    """
    # An export writes its description last.
    return name.startswith(HUB) or (Path(name) / DESCRIPTION).is_file()


def require_one_for_checkpoint(members: Members, checkpoint: str | None) -> None:
    """Check that a checkpoint is not given to several models.

    Args:
        members: The models.
        checkpoint: The file, or None.

    Raises:
        Hep2ganError: It is, and there are several.
    """
    if checkpoint and len(members.names) > 1:
        raise Hep2ganError(
            f"checkpoint is given, and {len(members.names)} runs predict together",
            "a checkpoint belongs to one run",
            "leave checkpoint out, or name its run alone",
        )


def _is_model(word: str) -> bool:
    return RunFolder(Path(word)).config_file.is_file() or is_export(word)


def _holds_runs(folder: Path) -> bool:
    return any(True for _ in _configs_below(folder))


def _configs_below(folder: Path) -> Iterator[Path]:
    for depth in range(1, _DEPTH + 1):
        for config in folder.glob("/".join(["*"] * depth + ["config.yaml"])):
            # Others have files of that name too.
            if any((config.parent / name).exists() for name in ("store.json", "train.log")):
                yield config
