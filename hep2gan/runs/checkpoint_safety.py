"""Looks into a checkpoint before torch does: what torch.load would trust is checked here.

`weights_only=True` runs no code by itself from torch 2.6 on (CVE-2025-32434); below 2.10 it reads
and writes outside of its memory where a file lies about the size of a tensor or sets items of what
is no dict (CVE-2026-24747). This project allows torch 2.6, so its own check comes first, with every
torch.
"""

import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

_ITEM_SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1, "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "UntypedStorage": 1,
}  # fmt: skip
"""Bytes of a value, by the name of what torch.save calls its storage."""
_ALLOWED = re.compile(
    r"collections OrderedDict"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)"
    rf"|torch (Size|device|dtype|{'|'.join(_ITEM_SIZES)}|b?float\d+|u?int\d+|bool)"
    r"|builtins (set|dict|list|tuple)|__builtin__ set"
)
"""Names that checkpoints of tensors and plain containers consist of. torch also allows `bytearray`,
by which a few bytes can allocate any amount of memory."""
_CONTAINERS = {"OrderedDict": OrderedDict, "set": set, "dict": dict, "list": list, "tuple": tuple}
MAX_PICKLE = 64 * 1024 * 1024
"""Largest size in bytes of the part without tensors; a network of 1,000 tensors has 150,000."""


def check_archive_safety(path: Path) -> None:
    """Check that a file is an intact zip archive of torch.save with plain content.

    torch reads an archive without verifying its checksums, so that a flipped bit would change a
    weight; it unpacks compressed members, which it never writes; and it falls back to older formats
    that have no checksums.

    Args:
        path: An existing file.

    Raises:
        ValueError: If the archive is damaged, compressed or too large, names other classes, or
            its tensors are larger than their bytes.
        pickle.UnpicklingError: If its pickle is no such content.
        zipfile.BadZipFile: If it is no zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it holds compressed members, which a checkpoint never does")
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members) or sum(sizes.values()) > path.stat().st_size:
            raise ValueError("its members overlap")
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its member {broken} is wrong")
        for name, size in sizes.items():
            if name.endswith(".pkl"):
                if size > MAX_PICKLE:
                    raise ValueError(f"{name} has {size:,} bytes")
                pickled = archive.read(name)
                _refuse_names(pickled)
                _Inspection(pickled, name.rpartition("/")[0], sizes).load()


def _refuse_names(pickled: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"its pickle has {opcode.name}, which torch.save never writes")
        if opcode.name == "GLOBAL" and not _ALLOWED.fullmatch(str(argument)):
            name = str(argument).replace(" ", ".")
            raise ValueError(f"it names {name[:80]}, which is no tensor or container")
        # Python makes room for as many as the number says.
        if opcode.name.endswith("PUT") and int(str(argument)) > len(pickled):
            raise ValueError("its pickle numbers more objects than it has bytes")


class _Inert:
    """Stands for whatever is no container: keeps nothing, and no item of it can be set."""

    def __new__(cls, *_: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


class _Inspection(pickle.Unpickler):
    """Reads a pickle of allowed names with nothing behind them but containers.

    Args:
        pickled: What `_refuse_names` has let pass.
        folder: Folder of the pickle in the archive.
        sizes: Bytes of each member of the archive.
    """

    def __init__(self, pickled: bytes, folder: str, sizes: dict[str, int]) -> None:
        super().__init__(BytesIO(pickled))
        self._folder, self._sizes = folder, sizes

    def find_class(self, module: str, name: str) -> Any:
        """Give containers as they are, and an empty class of the same name for all else."""
        return _CONTAINERS.get(name) or type(name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> _Inert:
        """Check that the values of a tensor fit into its bytes."""
        kind, storage, key, _, count = pid
        member, needed = f"{self._folder}/data/{key}", count * _ITEM_SIZES[storage.__name__]
        if kind != "storage" or not 0 <= needed <= self._sizes.get(member, -1):
            raise ValueError(f"its member {member[:80]} has fewer bytes than its tensor needs")
        return _Inert()
