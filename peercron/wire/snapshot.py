"""Snapshot: a whole ClusterState as a stream of blocks, made and read a slice at a time.

A block is a length and a msgpack array. The first holds the format; each other holds some rows of one table, named as
in ClusterState. The frozen tables share their rows with the living state (rows never change), so freezing copies
dictionaries and nothing else, and the slices can be written while the state goes on.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any, Final

import msgpack

from peercron.core.level import default_of, late_fields
from peercron.core.state import ClusterState
from peercron.errors import TooOld
from peercron.wire.codec import UnknownRow, from_plain, to_plain

FORMAT: Final = 1
#: Rows of one block: the work between two looks at the loop.
BLOCK_ROWS: Final = 200
_LENGTH: Final = struct.Struct(">I")
#: Marks a ClusterState field that is not replicated data.
TRANSIENT: Final = "transient"


class SnapshotUnreadable(Exception):
    """These are not the bytes of a snapshot: {detail}."""


def freeze(state: ClusterState) -> dict[str, Any]:
    """The replicated tables as they are now, for `blocks`; later changes of the state do not show."""
    return {name: _copy(getattr(state, name)) for name, _ in _fields()}


def blocks(frozen: dict[str, Any]) -> Iterator[bytes]:
    """The frozen tables as bytes, a block at a time."""
    yield _pack(("peercron", FORMAT))
    unsaid = {field.name: default_of(field) for field in late_fields(ClusterState)}
    for name, annotation in _fields():
        value = frozen[name]
        if name in unsaid and value == unsaid[name]:
            continue  # an older member need not know of it yet
        if not isinstance(value, dict):
            yield _pack((name, to_plain(annotation, value)))
            continue
        of_rows = typing.get_args(annotation)[1]
        if typing.get_origin(of_rows) is dict:
            row = typing.get_args(of_rows)[1]
            for key, table in value.items():
                yield from (_pack((name, key, part)) for part in _parts(table, row))
        else:
            yield from (_pack((name, part)) for part in _parts(value, of_rows))


def thaw(chunks: Iterable[bytes]) -> ClusterState:
    """The state that these bytes hold.

    Raises:
        TooOld: a newer version wrote them: another format, or a table, row or choice that is not known here.
        SnapshotUnreadable: they are no snapshot, or cut short.
    """
    thawing = Thawing()
    for chunk in chunks:
        thawing.feed(chunk)
    return thawing.finish()


class Thawing:
    """A state on its way out of bytes, a piece at a time, so that the loop has its turns in between.

    `feed` and `finish` raise as `thaw` does; `feed` also ValueError, TypeError and their like, for bytes that nobody
    wrote.
    """

    def __init__(self) -> None:
        self._state = ClusterState()
        self._annotations = dict(_fields())
        self._buffer = bytearray()
        self._begun = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        for block in _unpack(self._buffer):
            if self._begun:
                self._take(*block)
            else:
                _check_format(block)
            self._begun = True

    def finish(self) -> ClusterState:
        """Nothing more comes: the state."""
        if not self._begun:
            _check_format(None)
        if self._buffer:
            left = len(self._buffer)
            raise SnapshotUnreadable(f"it ends in the middle of a block, {left} bytes after the last whole one")
        return self._state

    def _take(self, name: str, *rest: Any) -> None:
        if name not in self._annotations:
            raise TooOld(f"the snapshot holds a table {name!r}, which this version does not know")
        try:
            _fill(self._state, name, self._annotations[name], rest)
        except UnknownRow as unknown:
            what = f"the snapshot holds {unknown} in its table {name!r}"
            raise TooOld(f"{what}, which this version does not know") from None


class Proof(Thawing):
    """Reads all that `Thawing` reads and keeps nothing but the level: whether it could be read."""

    def _take(self, name: str, *rest: Any) -> None:
        super()._take(name, *rest)
        self._state = ClusterState(level=self._state.level)


def _check_format(first: tuple[Any, ...] | None) -> None:
    if first == ("peercron", FORMAT):
        return
    said = first[1] if first is not None and first[:1] == ("peercron",) and len(first) > 1 else None
    if isinstance(said, int) and said > FORMAT:
        raise TooOld(f"the snapshot is of format {said}, this version reads {FORMAT}")
    raise SnapshotUnreadable(f"format {first!r}, this version reads {FORMAT}")


@cache
def _fields() -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(ClusterState)
    return tuple((f.name, hints[f.name]) for f in dataclasses.fields(ClusterState) if not f.metadata.get(TRANSIENT))


def _copy(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: dict(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}


def _parts(table: dict[Any, Any], row: Any) -> Iterator[tuple[tuple[Any, Any], ...]]:
    rows = iter(table.items())
    while part := tuple((key, to_plain(row, value)) for key, value in islice(rows, BLOCK_ROWS)):
        yield part


def _fill(state: ClusterState, name: str, annotation: Any, rest: tuple[Any, ...]) -> None:
    if typing.get_origin(annotation) is not dict:
        setattr(state, name, from_plain(annotation, rest[0]))
        return
    table = getattr(state, name)
    of_rows = typing.get_args(annotation)[1]
    if typing.get_origin(of_rows) is dict:
        table = table.setdefault(rest[0], {})
        of_rows = typing.get_args(of_rows)[1]
    for key, plain in rest[-1]:
        table[key] = from_plain(of_rows, plain)


def _pack(block: tuple[Any, ...]) -> bytes:
    payload = msgpack.packb(block)
    return _LENGTH.pack(len(payload)) + bytes(payload)


def _unpack(buffer: bytearray) -> Iterator[tuple[Any, ...]]:
    """The whole blocks at the beginning of the buffer, which is left with what follows them."""
    start = 0
    while len(buffer) - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer, start)
        if len(buffer) - start - _LENGTH.size < length:
            break
        start += _LENGTH.size
        yield msgpack.unpackb(bytes(buffer[start : start + length]), use_list=False, strict_map_key=False)
        start += length
    del buffer[:start]
