"""Checkpoints on disk: which there are, which one counts, and reading them without running code."""

import logging
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hep2gan.errors import Hep2ganError

_ALLOWED = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)"
    r"|torch (Size|device|dtype|[A-Z][A-Za-z0-9]*Storage|b?float\d+|u?int\d+|bool)"
    r"|builtins (set|dict|list|tuple)|__builtin__ set"
)
"""Names that checkpoints of tensors and plain containers are made of. `bytearray`, which torch
allows beside these, makes a few bytes into as much memory as it is told to."""
MAX_PICKLE = 64 * 1024 * 1024
"""Bytes of the part that is no tensor; a network of 1,000 tensors has 150,000."""


def check_archive_safety(path: Path) -> None:
    """Raise ValueError unless the file is a whole zip archive of torch.save with plain content.

    torch reads an archive without looking at its checksums, so that a flipped bit would be another
    weight; it unpacks compressed members, which it never writes; and it falls back to older formats
    that have no checksums. Beside all this, `weights_only=True` runs no code.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it holds compressed members, which a checkpoint never does")
        names = [member.filename for member in members]
        if len(set(names)) < len(names) or sum(m.file_size for m in members) > path.stat().st_size:
            raise ValueError("its members overlap")
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its member {broken} is wrong")
        for member in members:
            if member.filename.endswith(".pkl"):
                if member.file_size > MAX_PICKLE:
                    raise ValueError(f"{member.filename} has {member.file_size:,} bytes")
                _refuse_names(archive.read(member))


def _refuse_names(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"its pickle has {opcode.name}, which torch.save never writes")
        if opcode.name == "GLOBAL" and not _ALLOWED.fullmatch(str(argument)):
            name = str(argument).replace(" ", ".")
            raise ValueError(f"it names {name[:80]}, which is no tensor or container")


log = logging.getLogger(__name__)

BEST = "best.ckpt"
_NAME = re.compile(r"epoch(\d+)(?:_batch(\d+))?\.ckpt")


class TrainingPosition(NamedTuple):
    """How far training has come: whole epochs, and batches of the epoch that follows them."""

    epochs: int
    batches: int

    def path(self, folder: Path) -> Path:
        """epoch0003.ckpt after three epochs, epoch0003_batch00012.ckpt twelve batches later."""
        within = f"_batch{self.batches:05d}" if self.batches else ""
        return folder / f"epoch{self.epochs:04d}{within}.ckpt"

    @classmethod
    def of(cls, path: Path | None) -> "TrainingPosition":
        """What the name of a checkpoint says; the beginning for None."""
        if path is None:
            return TRAINING_START
        match = _NAME.fullmatch(path.name)
        assert match is not None
        return cls(int(match.group(1)), int(match.group(2) or 0))


TRAINING_START = TrainingPosition(0, 0)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of tensors and plain containers; never runs code from it.

    Raises Hep2ganError when the file is missing, damaged or holds anything else.
    """
    fix = "use another checkpoint of the run's checkpoints folder, or train again"
    if not path.is_file():
        raise Hep2ganError(f"{path} does not exist", "", fix)
    try:
        check_archive_safety(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Hep2ganError(f"{path} cannot be loaded ({reason})", "", fix) from error
    if not isinstance(found, dict) or not _are_weights(found.get("state_dict")):
        rule = "it needs a state_dict of tensors by name"
        raise Hep2ganError(f"{path} is no checkpoint of a run", rule, fix)
    return found


def _are_weights(state: Any) -> bool:
    return isinstance(state, dict) and all(
        type(name) is str and isinstance(value, torch.Tensor) and value.layout == torch.strided
        for name, value in state.items()
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints by how far training had come, the newest first."""
    named = [path for path in folder.glob("epoch*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(named, key=TrainingPosition.of, reverse=True)


def latest_readable(folder: Path) -> Path | None:
    """The newest checkpoint that loads; a damaged one is reported and the older one taken."""
    found = _latest(folder)
    return found[0] if found else None


def load_best_or_latest(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that a run is tested with, and what it holds.

    best.ckpt where a validation part chose the epoch, else the newest that loads. Raises
    Hep2ganError when there is none.
    """
    best = folder / BEST
    if best.is_file():
        return best, read_checkpoint(best)
    found = _latest(folder)
    if found is None:
        raise Hep2ganError(f"{folder} holds no checkpoint", "", "train the run with hep2gan-train")
    return found


def _latest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    for path in list_checkpoints(folder):
        try:
            return path, read_checkpoint(path)
        except Hep2ganError as error:
            log.warning("%s Falling back to the one before.", error)
    return None
