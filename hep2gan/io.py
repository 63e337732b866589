"""Files and the terminal: safe readers, locks, atomic writes, the progress bar."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from filelock import BaseFileLock, FileLock, Timeout

from hep2gan.errors import Hep2ganError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

MAX_JSON = 16 * 1024 * 1024
"""Bytes of a JSON file. The largest of ours, a store's manifest, has some kilobytes."""
MAX_YAML = 64 * 1024
"""Bytes of a configuration; a run's has some 5,000. PyYAML reads some 100 kB a second."""
LOCK_HOURS: float = 6
"""That one process may write what another waits for."""
MAX_DEPTH = 32
"""Levels of a configuration; ours have four."""


def read_limited(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`; raises ValueError, saying why, else."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is no ordinary file")
        if (size := status.st_size) > max_bytes:
            raise ValueError(f"{path.name} has {size:,} bytes, at most {max_bytes:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object. Raises ValueError, saying why, for whatever else the file holds."""
    content = read_limited(path, MAX_JSON)
    try:
        value = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no names and values")
    return value


def read_safe_yaml(path: Path) -> str:
    """The text of a configuration that any YAML loader can parse safely.

    Refused are tags, which name Python's types; anchors and aliases, by which a few lines expand to
    gigabytes; interpolations, which read the environment; and deep nesting. A run's own
    configuration is resolved and has none of them. Raises ValueError, saying why.
    """
    try:
        text = read_limited(path, MAX_YAML).decode("utf-8")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if reason := _find_forbidden(event, depth):
                raise ValueError(f"{path.name}, line {event.start_mark.line + 1}: {reason}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is damaged ({' '.join(str(error).split())})") from error
    return text


def _find_forbidden(event: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep"
    if getattr(event, "anchor", None):
        return f"an anchor or alias '{event.anchor}'"
    if getattr(event, "tag", None):
        return f"a type of its own, '{event.tag}'"
    if "${" in getattr(event, "value", ""):
        return f"an interpolation, '{event.value[:60]}'"
    return ""


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]
    """As OmegaConf reads YAML: a number needs no point before its exponent, a key occurs once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            problem = "a key occurs twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return mapping


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str) -> dict[str, Any]:
    """Plain containers from the text of a configuration, see `read_safe_yaml`.

    Raises ValueError, saying why, for whatever else the text holds.
    """
    try:
        found = yaml.load(text, _YamlLoader)
    except (yaml.YAMLError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise ValueError("it holds no names and values")
    return {str(key): value for key, value in found.items()}


class _YamlDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes what Python or YAML 1.1 would take for a number or a truth value; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> Any:
        style = "'" if text.lower() in ("y", "n") or _is_number(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_YamlDumper.add_representer(str, _YamlDumper.represent_text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_yaml(config: Mapping[str, Any]) -> str:
    """The text of a configuration of plain containers, in the order of its keys."""
    return str(yaml.dump(dict(config), Dumper=_YamlDumper, allow_unicode=True, sort_keys=False))


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available_cores() -> int:
    """Processors this process may use: its affinity, and its container's share of their time."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return min(len(os.sched_getaffinity(0)), _container_cores(Path("/sys/fs/cgroup/cpu.max")))


def _container_cores(file: Path) -> int:
    """Processors' worth of time that a container gets, rounded up; very many without a limit."""
    with suppress(OSError, ValueError):
        quota, period = file.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    return sys.maxsize


def share_machine() -> None:
    """Let threads that wait sleep, rather than take the cores of others; call before torch loads.

    What the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextmanager
def atomic_open(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` if the block succeeds.

    It lies beside `path`, since a move is atomic only within a file system; its name holds the
    process id, since several ranks may write the same file at once.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with with_path_in_errors(path):
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def with_path_in_errors(path: Path) -> Iterator[None]:
    """Add the path to errors of writing, which the system names only when it opens a file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes, completely or not at all."""
    with atomic_open(path) as file:
        # File names that are no UTF-8 go back to the bytes that they have on the disk.
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        file.write(content)


@contextmanager
def atomic_folder(destination: Path, *, sync: bool = True) -> Iterator[Path]:
    """Give an empty folder that takes the place of `destination` if the block succeeds.

    What an earlier, killed process left behind is removed. Call under `file_lock`.

    Args:
        destination: Folder to be replaced or created; its parent exists.
        sync: Force every file to the disk first, which takes milliseconds for each.
    """
    staged = destination.with_name(f".{destination.name}.partial")
    former = destination.with_name(f".{destination.name}.former")
    if former.exists() and not destination.exists():
        former.rename(destination)
    for leftover in (staged, former):
        if leftover.exists():
            shutil.rmtree(leftover)
    staged.mkdir()
    try:
        yield staged
        for path in (*staged.iterdir(), staged) if sync else ():
            _fsync(path)
        _swap_folders(staged, destination, former)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _swap_folders(staged: Path, destination: Path, former: Path) -> None:
    if destination.exists():
        destination.rename(former)
    try:
        staged.rename(destination)
    except OSError:
        if former.exists():
            former.rename(destination)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _fsync(path: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_replaceable(
    destination: Path, is_own: Callable[[str], object], marker: str, kind: str
) -> None:
    """Raise Hep2ganError where `destination` holds anything that is not ours to replace.

    Args:
        destination: Folder to be replaced; a missing or an empty one is replaceable.
        is_own: Whether a file of this name belongs to such a folder: true, or a match.
        marker: File that such a folder holds.
        kind: What such a folder is, for the message: "a store".
    """
    if not destination.exists():
        return
    fix = "choose another destination, or move it away"
    if not destination.is_dir():
        raise Hep2ganError(f"{destination} is a file", f"{kind} is a folder", fix)
    names = sorted(path.name for path in destination.iterdir())
    foreign = [name for name in names if not is_own(name)]
    if foreign or (names and marker not in names):
        problem = (
            f"holds {foreign[0]}, which is no part of {kind}" if foreign else f"lacks {marker}"
        )
        raise Hep2ganError(f"{destination} {problem}", f"only {kind} is replaced by {kind}", fix)


@contextmanager
def file_lock(destination: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep other processes away from `destination` while the block runs.

    The lock is a file beside it, removed afterwards. The system frees the lock of a process however
    that ends, so a file that a killed process left keeps nobody out. Yields whether there is a lock
    at all: some network file systems have none.

    Args:
        destination: what is about to be written; its folder must exist.
        wait: whether to wait for another process that holds the lock.

    Raises:
        Timeout: another process holds the lock, and `wait` is False.
        Hep2ganError: another process has held it for `LOCK_HOURS`.
        OSError: the lock file cannot be opened.
    """
    path = destination.with_name(f".{destination.name}.lock")
    lock, has_locks = FileLock(path, fallback_to_soft=False), True
    try:
        _acquire(lock, wait)
    except OSError as error:
        # Only the opening of a file names it; anything else means that it cannot be locked.
        if error.filename is not None or isinstance(error, Timeout):
            raise
        log.debug("%s: this file system has no locks (%s)", path, error)
        has_locks = False
    try:
        yield has_locks
    finally:
        # Removed before it is released: whoever waits then sees that it has lost its name.
        with suppress(OSError):
            path.unlink()
        lock.release()


def _acquire(lock: BaseFileLock, wait: bool) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if not wait:
            raise
        log.info("%s: waiting for another process", lock.lock_file)
        try:
            lock.acquire(timeout=LOCK_HOURS * 3600)
        except Timeout as error:
            raise Hep2ganError(
                f"another process has held {lock.lock_file} for {LOCK_HOURS} hours",
                "the system frees the lock of a process that ends: this one stands still",
                f"end it (`fuser {lock.lock_file}` names it), and give the same command again",
            ) from error


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Yield a function (done, total) that moves the bar; quiet when output is no terminal."""
    if not sys.stdout.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


_NOISE = (
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "The `srun` command is available on your system but is not used",
    "You're resuming from a checkpoint that ended before the epoch ended",
    "It is recommended to use `self.log\\(.*sync_dist=True\\)`",
    "The '(train|val|test)_dataloader' does not have many workers",
)


def silence_libraries() -> None:
    """Silence greetings and advertisements; call after Lightning is imported, which resets them."""
    for name in ("lightning.pytorch", "lightning.fabric", "fontTools", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
