"""What an online store holds of a view, read without Feast: the form of its keys, values and rows.

Feast writes a key as its names and values in one binary text (version 3 of its serialization), and each feature as a protobuf
message `feast.types.Value`. A test holds what is read here equal to what Feast itself reads.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from ratchet.core.errors import StoreError
from ratchet.core.frozen import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

KeyKind = Literal["int64", "string"]
Value = float | int | bool | str | None
Row = tuple[int, Sequence[Value]]
"""The instant from which a row holds, in seconds since 1970, and its features."""
_STRING, _INT64 = 2, 4
"""Feast's numbers of these types in a key."""
_NUMBER_TAGS = {0x29: "<d", 0x35: "<f"}
_INTEGER_TAGS = (0x18, 0x20)
_TEXT_TAG, _BOOLEAN_TAG, _NULL_TAG = 0x12, 0x38, 0x98


class StoredView(Frozen):
    """A view of an online store: Feast's name of it, the kinds of its keys, and its features in order. `texts` are those that
    are text; all others are numbers."""

    name: str
    keys: dict[str, KeyKind]
    features: tuple[str, ...]
    texts: frozenset[str]
    max_age_micros: int | None


class HeldRows:
    """The rows of one key, in order of time: the one that held when the store was written, and those that follow it."""

    __slots__ = ("_begin", "_current", "_end", "_first", "_upcoming")

    def __init__(self, since: int, values: Sequence[Value], upcoming: str | None) -> None:
        """`upcoming` is the text of the column UPCOMING (`upcoming_rows`)."""
        self._first = (since, values)
        self._upcoming = upcoming.split("\n") if upcoming else []
        self._begin = self._end = 0.0
        self._current: Row = self._first

    def at(self, second: int) -> Row:
        """The last row that is not later than an instant, in seconds since 1970; the first row if all are later."""
        if not self._upcoming:
            return self._first
        if not self._begin <= second < self._end:
            self._move(second)
        return self._current

    def _move(self, second: int) -> None:
        """Remember the row of an instant, and how long it holds: the next request is likely to be about the same time."""
        place = bisect_right(self._upcoming, second, key=_second)
        self._begin = _second(self._upcoming[place - 1]) if place else float("-inf")
        self._end = _second(self._upcoming[place]) if place < len(self._upcoming) else float("inf")
        self._current = _row(self._upcoming[place - 1]) if place else self._first


class RowReader(Protocol):
    """Reads rows of several views of an online store that Feast wrote."""

    async def read(self, wanted: Sequence[tuple[int, bytes]]) -> Sequence[HeldRows | None]:
        """The rows of keys, each in a view given by its place; None where the store has none.

        Raises StoreUnavailableError if the store cannot be read in time.
        """

    def close(self) -> None: ...


def key_writer(kinds: Mapping[str, KeyKind]) -> Callable[[Sequence[int | str]], bytes]:
    """A function from the values of a view's keys, in the order of `kinds`, to the key as Feast stores it."""
    names = sorted(kinds)
    head = struct.pack("<I", len(names)) + b"".join(_typed(_STRING, name.encode()) for name in names)
    places = [(list(kinds).index(name), kinds[name] == "int64") for name in names]
    integer = struct.Struct("<IIq").pack

    def write(values: Sequence[int | str]) -> bytes:
        key = head
        for place, is_integer in places:
            value = values[place]
            key += integer(_INT64, 8, value) if is_integer else _typed(_STRING, value.encode())  # type: ignore[union-attr]
        return key

    return write


def stored_keys(keys: pa.Table) -> list[bytes]:
    """Keys, integers or strings, as Feast stores them."""
    kinds: dict[str, KeyKind] = {
        field.name: "string" if str(field.type) == "string" else "int64" for field in keys.schema
    }
    write = key_writer(kinds)
    return [write([*row.values()]) for row in keys.to_pylist()]


def key_length(stored: bytes) -> int | None:
    """How many of these bytes are a key, which they begin with; None if they do not."""
    try:
        (names,), place = struct.unpack_from("<I", stored), 4
        for _ in range(2 * names):  # each name, and then each value
            _, length = struct.unpack_from("<II", stored, place)
            place += 8 + length
    except struct.error:
        return None
    return place if place <= len(stored) else None


def _typed(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content


def read_value(message: bytes | None) -> Value:
    """A feature as Feast stores it. Raises StoreError for a type that Ratchet does not write."""
    if not message or message[0] == _NULL_TAG:
        return None
    tag = message[0]
    if tag in _NUMBER_TAGS:
        return float(struct.unpack_from(_NUMBER_TAGS[tag], message, 1)[0])
    if tag in _INTEGER_TAGS:
        return _signed(_varint(message, 1)[0])
    if tag == _TEXT_TAG:
        length, start = _varint(message, 1)
        return message[start : start + length].decode()
    if tag == _BOOLEAN_TAG:
        return bool(message[1])
    raise StoreError(
        f"holds a value of a type that is not known here (tag {tag:#x})",
        subject="online store",
        remedy="Run `ratchet stage materialize`",
    )


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A variable-length integer of protobuf, and where it ends."""
    found = shift = 0
    while True:
        byte = message[place]
        found |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return found, place


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def read_seconds(message: bytes) -> int:
    """The whole seconds of a `google.protobuf.Timestamp`: its first field, which is left out if it is 0."""
    return _signed(_varint(message, 1)[0]) if message[:1] == b"\x08" else 0


def _second(line: str) -> int:
    return int(line[1 : line.index(",")])


def _row(line: str) -> Row:
    second, *values = json.loads(line)
    return second, values
