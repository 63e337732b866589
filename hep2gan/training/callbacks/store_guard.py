"""Guard against a store that is changed while a run reads it."""

import faulthandler
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.callbacks import Callback

from hep2gan.data.store.integrity import FILES
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError


class _FileState(NamedTuple):
    inode: int
    bytes: int
    modified_ns: int


class StoreGuard(Callback):
    """Keep cells of a changed store out of the checkpoints: checks before each is written.

    Files that are deleted, or replaced by another pack, do no harm: what was opened stays as it was
    until the run ends. Files that are written in place do, and stop the run. Each batch checks for
    itself whether files were truncated; in the moment between check and reading that would end the
    process at once (SIGBUS), with a stack trace that shows where.
    """

    def __init__(self, store: Store) -> None:
        self._folder = store.path
        files = [store.path / name for name in sorted(FILES)]
        self._opened = {path: state for path in files if (state := _file_state(path))}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a stack trace on SIGBUS."""
        # Not possible where standard error is no file, as in a notebook.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            if not faulthandler.is_enabled():
                faulthandler.enable()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Raise Hep2ganError where a file is no longer what the run opened."""
        for path, opened in self._opened.items():
            now = _file_state(path)
            if now is not None and now.inode == opened.inode and now != opened:
                raise Hep2ganError(
                    f"{path} was changed while the run used it",
                    "a run has one store; the checkpoints before are of the unchanged one",
                    f"restore {self._folder} (pack it again from the same cells), and give the same"
                    " command again: the run goes on from its last checkpoint",
                )


def _file_state(path: Path) -> _FileState | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _FileState(stat.st_ino, stat.st_size, stat.st_mtime_ns)
