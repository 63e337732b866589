"""Files and the terminal: safe readers, locks, atomic writes, the progress bar."""

import csv
import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import socket
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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
    """Read a regular file of limited size.

    Args:
        path: The file.
        max_bytes: Largest size in bytes.

    Returns:
        Its content.

    Raises:
        ValueError: If it is missing, not a regular file, larger, or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        if (size := status.st_size) > max_bytes:
            raise ValueError(f"{path.name} has {size:,} bytes, at most {max_bytes:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file, at most `MAX_JSON` bytes.

    Returns:
        The object.

    Raises:
        ValueError: If the file cannot be read or holds anything else.
    """
    content = read_limited(path, MAX_JSON)
    try:
        value = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is not a mapping of names to values")
    return value


def read_safe_yaml(path: Path) -> str:
    """Read the text of a configuration and check that any YAML loader can parse it safely.

    Rejected are tags, which name Python types; anchors and aliases, by which a few lines expand to
    gigabytes; interpolations, which read the environment; and deep nesting. The configuration of a
    run is resolved and contains none of them.

    Args:
        path: The file, at most `MAX_YAML` bytes of UTF-8.

    Returns:
        The text.

    Raises:
        ValueError: If the file cannot be read, is not YAML, or contains anything rejected.
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
        return f"a tag that names a type, '{event.tag}'"
    if "${" in getattr(event, "value", ""):
        return f"an interpolation, '{event.value[:60]}'"
    return ""


class _YamlLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Loads YAML as OmegaConf does: numbers like 1e-3 are floats, and no key occurs twice."""

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
    """Parse the text of a configuration to plain containers.

    Args:
        text: Text that `read_safe_yaml` has accepted.

    Returns:
        The mapping, with names as text.

    Raises:
        ValueError: If the text is anything but a mapping in YAML.
    """
    try:
        found = yaml.load(text, _YamlLoader)
    except (yaml.YAMLError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise ValueError("the text is not a mapping of names to values")
    return {str(key): value for key, value in found.items()}


class _YamlDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes text that Python or YAML 1.1 would read as a number or boolean; writes no aliases."""

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
    """Format a configuration as YAML.

    Args:
        config: Plain containers.

    Returns:
        The text; keys keep their order.
    """
    return str(yaml.dump(dict(config), Dumper=_YamlDumper, allow_unicode=True, sort_keys=False))


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        The digest in hexadecimal.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def available_cores() -> int:
    """Count the processors that this process may use.

    The count respects its affinity, which a scheduler sets, and its container's share of their
    time.

    Returns:
        The number, 1 or more.
    """
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

    The temporary file is in the folder of `path`, since a rename is atomic only within a file
    system. Its name contains the process id, since several ranks may write the same file at once.

    Args:
        path: The file to be replaced or created; its folder exists.

    Yields:
        The temporary file, open for writing bytes.

    Raises:
        OSError: If it cannot be written; names `path`.
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
    """Add a path to errors of writing, since the system names a file only when it opens one.

    Args:
        path: The file that the block writes.

    Raises:
        OSError: If the block raises one.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all.

    Args:
        path: The file; its folder exists.
        content: Bytes, or text to be encoded as UTF-8.

    Raises:
        OSError: If it cannot be written; names `path`.
    """
    with atomic_open(path) as file:
        # File names that are no UTF-8 go back to the bytes that they have on the disk.
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogateescape")
        file.write(content)


def write_json(path: Path, value: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write a JSON object, completely or not at all.

    Args:
        path: The file; its folder exists.
        value: The object, in plain containers.
        indent: Spaces of each level; None for all on one line.

    Raises:
        OSError: If it cannot be written; names `path`.
    """
    atomic_write(path, json.dumps(value, indent=indent) + "\n")


def csv_text(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], line_end: str = "\n"
) -> str:
    """Write rows as CSV, below a line of the columns.

    Args:
        columns: Names of the columns.
        rows: Values by column; those that a row lacks are empty.
        line_end: What ends a line.

    Returns:
        The text.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def atomic_folder(destination: Path, *, sync: bool = True) -> Iterator[Path]:
    """Provide an empty folder that replaces `destination` if the block succeeds.

    Leftovers of an earlier process that was killed are removed. Call this under `file_lock`.

    Args:
        destination: Folder to be replaced or created; its parent exists.
        sync: Force every file to the disk first, which takes milliseconds per file.

    Yields:
        The empty folder.

    Raises:
        OSError: If a folder cannot be created, renamed or removed.
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
    """Raise an error if `destination` holds anything that this project did not write.

    Args:
        destination: Folder to be replaced; a missing or an empty one is replaceable.
        is_own: Tells whether a file of this name belongs to such a folder: true, or a match.
        marker: File that every such folder contains.
        kind: What such a folder is, for the message: "a store".

    Raises:
        Hep2ganError: If `destination` is a file, or holds another file or lacks `marker`.
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
            f"holds {foreign[0]}, which does not belong to {kind}" if foreign else f"lacks {marker}"
        )
        raise Hep2ganError(f"{destination} {problem}", f"only {kind} is replaced by {kind}", fix)


@contextmanager
def file_lock(destination: Path, *, wait: bool = True) -> Iterator[bool]:
    """Exclude other processes from `destination` while the block runs.

    The lock is a file beside it, removed afterwards. The system releases the lock of a process
    however that process ends, so a file left by a killed process blocks nobody.

    Args:
        destination: File or folder about to be written; its folder must exist.
        wait: Whether to wait for another process that holds the lock.

    Yields:
        Whether there is a lock at all: some network file systems do not support any.

    Raises:
        Timeout: Another process holds the lock, and `wait` is False.
        Hep2ganError: Another process has held it for `LOCK_HOURS`.
        OSError: The lock file cannot be opened.
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
        # Removed before it is released: a waiting process then sees that the file is gone.
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
                f"end it (`fuser {lock.lock_file}` names it), and run the same command again",
            ) from error


class Owner(NamedTuple):
    """A process that holds something, such as a run folder, while it lives.

    Attributes:
        host: Name of its host.
        pid: Its process id.
        since: Local date and time at which it took it.
        start_time: Start time of the process according to the system; empty if unknown.
        job: Slurm job id, or empty.
    """

    host: str
    pid: int
    since: str
    start_time: str = ""
    job: str = ""

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            since=time.strftime("%Y-%m-%d %H:%M:%S"),
            start_time=_start_time(os.getpid()),
            job=os.environ.get("SLURM_JOB_ID", ""),
        )

    @property
    def has_ended(self) -> bool:
        """Whether it has ended: a process of this host, or an earlier start of a requeued job."""
        if self.host != socket.gethostname():
            return bool(self.job) and self.job == os.environ.get("SLURM_JOB_ID")
        # Process ids are reused: another process with this one started at another time.
        return not _is_alive(self.pid) or _start_time(self.pid) != self.start_time

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # There, os.kill would end it.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_time(pid: int) -> str:
    """Boot and clock tick at which a process started; empty if the system does not report it."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (OSError, IndexError):
        return ""


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show a progress bar; silent if output is not a terminal.

    Args:
        title: Text before the bar.

    Yields:
        A function of (done, total) that updates the bar.
    """
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
    """Silence banners and known warnings of libraries.

    Call this after importing Lightning, which resets the levels of its loggers.
    """
    for name in ("lightning.pytorch", "lightning.fabric", "fontTools", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
