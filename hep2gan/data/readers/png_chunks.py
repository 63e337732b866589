"""The chunks that a PNG file is made of, held against their checksums."""

import re
import struct
import zlib

_SIGNATURE = 8
_KIND = re.compile(rb"\w{4}")
_HEAD, _TAIL = struct.Struct(">I4s"), struct.Struct(">I")


def require_checksums(data: bytes) -> None:
    """Raise ValueError where a chunk's checksum is wrong, or the last chunk is missing.

    Pillow reads pixels without looking at theirs; its `verify` does, but then the file has to be
    opened a second time, which takes longer than to decode a cell.
    """
    view, position = memoryview(data), _SIGNATURE
    while position + _HEAD.size <= len(data):
        length, kind = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        # The last chunk is empty; as Pillow has it, what follows its name does not count.
        if kind == b"IEND":
            return
        if not _KIND.fullmatch(kind):
            raise ValueError(f"it has no chunk {kind.decode('latin-1')!r}")
        if end + _TAIL.size > len(data):
            break
        # Of the chunk's kind and content, but not of its length.
        if zlib.crc32(view[position + 4 : end]) != _TAIL.unpack_from(data, end)[0]:
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        position = end + _TAIL.size
    raise ValueError("it ends too early")
