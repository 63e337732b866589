"""What torch.load is not asked to open: damaged archives, bombs, and other pickles than ours."""

import pickletools
import re
import zipfile
from pathlib import Path

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


def refuse_unsafe(path: Path) -> None:
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
