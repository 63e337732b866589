"""What files come to: flipped bits, cut ends, splices, hostile numbers and lengths."""

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    *(b"0", b"-1", b"1e999", b"-0.0", b"NaN", b"Infinity", b"2147483648", b"9" * 25, b"9" * 5000),
    *(b"1" + b"0" * 400, b"true", b"null", b'""', b"''", b"[]", b"{}", b"..", b"../../x", b"/"),
    *(b"\0", b"\xff", b"\n", b"\r", b'"', b"'", b",", b";", b":", b"\\", b"${x}", b"[" * 20_000),
    *(b"\xef\xbb\xbf", "ﬁ½é\u202e".encode(), b"&a [*a]", b"!!python/name:os.system", b"\t"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 10**25, 10**400, 10**9, "", "x", "..", "\0"),
    *(
        float("nan"),
        float("inf"),
        [],
        {},
        [1],
        ["x", "x"],
        {"x": 1},
        [[]],
        [None],
        "/etc",
        "9" * 99,
    ),
)
"""What may stand in a JSON file in place of anything."""

Change = Callable[[Callable[..., Any], bytearray, Sequence[bytes]], None]


def _place(draw: Any, data: bytearray) -> int:
    return draw(st.integers(0, len(data)))


def _flip(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))


def _cut(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(draw, data) :]


def _delete(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    start = _place(draw, data)
    del data[start : start + draw(st.integers(1, 64))]


def _repeat(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    start = _place(draw, data)
    piece = data[start : start + draw(st.integers(1, 64))]
    data[start:start] = piece * draw(st.sampled_from((1, 2, 7, 300)))


def _splice(draw: Any, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = draw(st.sampled_from(seeds))
    start, at = draw(st.integers(0, len(other))), _place(draw, data)
    piece = other[start : start + draw(st.integers(1, 256))]
    data[at : at + draw(st.sampled_from((0, len(piece))))] = piece


def _number(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    kind = draw(st.sampled_from(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")))
    size = struct.calcsize(kind)
    at = _place(draw, data)
    value = draw(st.sampled_from(NUMBERS)) & (256**size - 1)
    data[at : at + size] = struct.pack(kind, value)


def _word(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    at = _place(draw, data)
    data[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(WORDS))


def _figure(draw: Any, data: bytearray, _: Sequence[bytes]) -> None:
    """Put something else in the place of a number that is written out."""
    found = [match.span() for match in re.finditer(rb"\d+", bytes(data))]
    if found:
        start, end = draw(st.sampled_from(found))
        data[start:end] = draw(st.sampled_from(WORDS))


CHANGES: tuple[Change, ...] = (*(_flip, _cut, _delete, _repeat, _splice, _number, _word, _figure),)


@st.composite
def mutated(draw: Any, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after one to four changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(CHANGES))(draw, data, seeds)
    return bytes(data)


@st.composite
def mutated_file(draw: Any, files: dict[str, bytes]) -> tuple[str, bytes]:
    """One file of a folder after a change, or gone (b"" is an empty file, None in no case)."""
    name = draw(st.sampled_from(sorted(files)))
    return name, draw(mutated([files[name]]))


@st.composite
def mutated_json(draw: Any, tree: Any) -> Any:
    """A tree of containers with one to three of its values exchanged, dropped or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        tree = _exchanged(draw, tree)
    return tree


def _exchanged(draw: Any, tree: Any) -> Any:
    inside = isinstance(tree, dict | list) and len(tree) and draw(st.integers(0, 7))
    if not inside:
        return draw(st.sampled_from(VALUES))
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = draw(st.sampled_from(keys))
    changed = tree.copy()
    what = draw(st.sampled_from(("exchange", "exchange", "exchange", "drop", "nest")))
    if what == "drop":
        del changed[key]
    else:
        changed[key] = _exchanged(draw, tree[key]) if what == "exchange" else {"x": tree[key]}
    return changed
