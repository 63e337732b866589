"""Commands that Python code starts: each in a process of its own, as in a terminal."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hep2gan.api.runs import Run, load_run
from hep2gan.errors import Hep2ganError

STOP_LIMIT = 120.0
"""Seconds that a command may take to save after it was interrupted, before it is killed."""
_OF_COMMANDS = {"doctor": "it starts nothing and is for a terminal: hep2gan-train doctor=true"}
"""Keys that make no sense here."""


def train(*overrides: str, verbose: bool = True) -> Run:
    """Train, test and record one run; resume it where it stopped; leave a finished one alone.

    The run is what `hep2gan-train` makes of the same words, to the bit, in a process of its own
    that has ended when this function returns: nothing of it stays in this process or on the GPU.
    Interrupting it (Ctrl-C, the stop button of a notebook) lets it finish its batch and save; the
    same call resumes it. With `trainer=ddp` that process starts the others.

    Args:
        *overrides: Settings as on the command line, `"method=proposed"`, `"trainer.max_epochs=4"`.
        verbose: Print what the command prints.

    Returns:
        The finished run.

    Raises:
        Hep2ganError: The run cannot start, with all that is wrong; or its process was ended from
            outside.
        KeyboardInterrupt: It was interrupted and has saved.

    Examples:
        >>> run = train("data=phantom", "scale=laptop", "seed=1")  # doctest: +SKIP
        >>> run.metrics["test/dice"]  # doctest: +SKIP
    """
    _check_overrides("train", overrides)
    path = _run_command("train", overrides, verbose=verbose)
    named = [word.partition("=")[2] for word in overrides if word.startswith("trusted=")]
    trusted = named[-1].strip("[]").replace(" ", "").split(",") if named else []
    return load_run(path, trusted=trusted)


def pack(*overrides: str, verbose: bool = True) -> Path:
    """Read raw cells, check them and write the packed store, as `hep2gan-pack` does.

    Args:
        *overrides: Settings as on the command line, `"data=folders"`, `"data.root=DIR"`.
        verbose: Print what the command prints.

    Returns:
        The folder of the store.

    Raises:
        Hep2ganError: The cells cannot be packed.
        KeyboardInterrupt: It was interrupted.
    """
    _check_overrides("pack", overrides)
    return _run_command("pack", overrides, verbose=verbose)


def report(
    runs: "str | os.PathLike[str] | Run | Iterable[str | os.PathLike[str] | Run]",
    output: str | os.PathLike[str] = "report/report.html",
    *overrides: str,
    verbose: bool = False,
) -> Path:
    """Write one HTML page about runs, with tables and figures, as `hep2gan-report` does.

    Args:
        runs: Runs, their folders, or the folder of a study.
        output: The page, or a folder that is there for report.html.
        *overrides: Further settings as on the command line, `"reference=proposed"`.
        verbose: Print what the command prints.

    Returns:
        The page.

    Raises:
        Hep2ganError: A run is not finished or damaged.
        KeyboardInterrupt: It was interrupted.
    """
    _check_overrides("report", overrides)
    one = isinstance(runs, str | os.PathLike | Run)
    named: list[str | os.PathLike[str] | Run] = [runs] if one else list(runs)  # type: ignore[list-item,arg-type]
    folders = [str(each.path if isinstance(each, Run) else each) for each in named]
    words = [*folders, f"output={os.fspath(output)}", *overrides]
    return _run_command("report", words, verbose=verbose)


def predict_fields(
    runs: Sequence[Path],
    fields: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    overrides: Sequence[str],
    *,
    verbose: bool,
) -> Path:
    """Run hep2gan-predict over fields; see `Run.predict_fields`.

    Args:
        runs: The run's folder, or those of an ensemble.
        fields: Files and folders.
        output: The folder of the results.
        overrides: Settings as on the command line.
        verbose: Print what the command prints.

    Returns:
        The folder of the results.

    Raises:
        Hep2ganError: As `Run.predict_fields`.
    """
    _check_overrides("predict_fields", overrides)
    named = [fields] if isinstance(fields, str | os.PathLike) else list(fields)
    words = [
        *map(str, runs),
        *[str(Path(each)) for each in named],
        f"output={os.fspath(output)}",
        "input=field",
    ]
    return _run_command("predict", [*words, *overrides], verbose=verbose)


def _check_overrides(command: str, overrides: Sequence[str]) -> None:
    """Refuse what is no setting of one run: flags, a sweep, several words in one text."""
    for word in overrides:
        key, is_setting, _ = word.partition("=") if isinstance(word, str) else ("", "", "")
        if key[:1] == "-" or not (is_setting or key[:1] == "~"):
            raise Hep2ganError(
                f"{command}() was given {word!r}",
                "it takes settings KEY=VALUE, a text each",
                f'write hep2gan.{command}("KEY=VALUE", "KEY=VALUE"); a sweep is a loop of calls, or'
                " hep2gan-train -m in a terminal",
            )
        if key in _OF_COMMANDS:
            raise Hep2ganError(f"{command}() was given {word}", _OF_COMMANDS[key], "leave it out")


def _run_command(command: str, words: Sequence[str], *, verbose: bool) -> Path:
    """Run a command in a process of its own; return what it wrote, raise its error."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        last = deque[str](maxlen=1)
        with _started([str(answer), command, *words]) as process:
            for line in process.stdout or ():
                if verbose:
                    print(line, end="", flush=True)
                last.extend([line] if line.strip() else [])
        if answer.is_file():
            found = json.loads(answer.read_text(encoding="utf-8"))
            if "error" in found:
                raise Hep2ganError(*found["error"])
            return Path(found["path"]).absolute()
    raise _explain_status(command, process.returncode, last[0].strip() if last else "")


@contextmanager
def _started(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """The process of a command; whatever ends the block ends the process first, saved."""
    # What this process can import, so can that one. A notebook's own way of plotting stays here.
    environment = {name: text for name, text in os.environ.items() if name != "MPLBACKEND"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-m", "hep2gan.cli.child", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment | {"PYTHONIOENCODING": "utf-8"},
        # A notebook interrupts all of its group: the command is told once, from here.
        start_new_session=True,
    )
    with process:
        try:
            yield process
        except BaseException:
            _stop(process)
            raise


def _stop(process: subprocess.Popen[str]) -> None:
    """Interrupt a command, show what it still says, and kill it if it does not end."""
    process.send_signal(signal.SIGINT)
    try:
        print(process.communicate(timeout=STOP_LIMIT)[0] or "", end="", flush=True)
    except BaseException:  # Too long, or interrupted once more.
        process.kill()
        raise


def _explain_status(command: str, status: int, last: str) -> Hep2ganError:
    """Explain the end of a command that left no answer."""
    if status < 0 or status in (129, 130, 143):
        name = signal.Signals(-status if status < 0 else status - 128).name
        return Hep2ganError(
            f"hep2gan-{command} was ended by {name}",
            "SIGKILL often means that memory ran out" if name == "SIGKILL" else "",
            "call it again: a training resumes from what is saved",
        )
    return Hep2ganError(
        f"hep2gan-{command} ended with exit status {status}" + (f" ({last})" if last else ""),
        "",
        "read what it printed above; with verbose=False, call it again without",
    )
