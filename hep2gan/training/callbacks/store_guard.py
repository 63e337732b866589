"""A store that is changed while a run reads it."""

import faulthandler
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.callbacks import Callback

from hep2gan.data.store.integrity import FILES
from hep2gan.data.store.store import Store
from hep2gan.errors import Hep2ganError


class _State(NamedTuple):
    inode: int
    bytes: int
    changed: int


class StoreGuard(Callback):
    """Keep cells of a changed store out of the checkpoints: looks before each is written.

    Files that are deleted, or replaced by another pack, do no harm: what was opened stays as it was
    until the run ends. Files that are written in place do, and stop the run. Batches look for
    themselves whether they were cut off (see `cut_off`); in the moment between look and reading
    that would end the process at once (SIGBUS), with a stack that shows where.
    """

    def __init__(self, store: Store) -> None:
        self._folder = store.path
        self._before = {path: state for path in _files(store.path) if (state := _state(path))}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let a SIGBUS say where it struck."""
        # Where standard error is no file, as in a notebook, it cannot.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            if not faulthandler.is_enabled():
                faulthandler.enable()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Raise Hep2ganError where a file is no longer what the run opened."""
        for path, before in self._before.items():
            now = _state(path)
            if now is not None and now.inode == before.inode and now != before:
                raise Hep2ganError(
                    f"{path} was changed while the run used it",
                    "a run has one store; the checkpoints before are of the unchanged one",
                    f"restore {self._folder} (pack it again from the same cells), and give the same"
                    " command again: the run goes on from its last checkpoint",
                )


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(FILES)]


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _State(found.st_ino, found.st_size, found.st_mtime_ns)
