"""Snapshot: a whole ClusterState as a stream of blocks, made and read a slice at a time.

A block is a length and a msgpack array. The first holds the format; each other holds some rows of one table, named as
in ClusterState. The frozen tables share their rows with the living state (rows never change), so freezing takes down
which rows there are and nothing else, and the slices can be written while the state goes on. What the state keeps
packed goes in and out as it is.
"""

from __future__ import annotations

import dataclasses
import struct
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgpack

from peercron.core.level import default_of, late_fields
from peercron.core.state import ClusterState
from peercron.core.table import Table, View
from peercron.errors import TooOld
from peercron.wire.codec import UnknownRow, decoder, encoder, from_plain, to_plain

FORMAT: Final = 1
DIGEST_BYTES: Final = 16
#: Rows and, nearly, bytes of one block: the work between two looks at the loop.
BLOCK_ROWS: Final = 200
BLOCK_BYTES: Final = 64 << 10
_LENGTH: Final = struct.Struct(">I")
#: Marks a ClusterState field that is not replicated data.
TRANSIENT: Final = "transient"


class SnapshotUnreadable(Exception):
    """These are not the bytes of a snapshot: {detail}."""


def freeze(state: ClusterState) -> dict[str, Any]:
    """The replicated tables as they are now, for `blocks`; later changes of the state do not show.

    Small tables are copied, large ones (`core.table`) are looked at as they were.
    """
    return {name: _copy(annotation, getattr(state, name)) for name, annotation in _fields()}


def blocks(frozen: dict[str, Any]) -> Iterator[bytes]:
    """The frozen tables as bytes, a block at a time."""
    yield _block(("peercron", FORMAT))
    for head, rows in _tables(frozen):
        yield from [_block(head)] if rows is None else _cut(head, rows)


def content(frozen: dict[str, Any]) -> Iterator[bytes]:
    """The same bytes row by row, for a digest that does not depend on where the blocks are cut."""
    for head, rows in _tables(frozen):
        yield _pack(head)
        yield from rows or ()


def digest(state: ClusterState) -> str:
    """A fingerprint of the replicated data, in one go: equal on all members at the same index."""
    told = blake2b(digest_size=DIGEST_BYTES)
    for piece in content(freeze(state)):
        told.update(piece)
    return told.hexdigest()


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
        self._rest = b""
        self._begun = False

    def feed(self, chunk: bytes) -> None:
        data, start = self._rest + chunk, 0
        while len(data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            end = start + _LENGTH.size + length
            if len(data) < end:
                break
            block = msgpack.unpackb(data[start + _LENGTH.size : end], use_list=False, strict_map_key=False)
            if self._begun:
                self._take(*block)
            else:
                _check_format(block)
            self._begun, start = True, end
        self._rest = data[start:]

    def finish(self) -> ClusterState:
        """Nothing more comes: the state."""
        if not self._begun:
            _check_format(None)
        if self._rest:
            left = len(self._rest)
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


def _copy(annotation: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if typing.get_origin(typing.get_args(annotation)[1]) is dict:
        return {key: _as_it_is(inner) for key, inner in value.items()}
    return _as_it_is(value)


def _as_it_is(table: dict[Any, Any]) -> dict[Any, Any] | View[Any, Any]:
    return table.as_it_is() if isinstance(table, Table) else table.copy()


def _tables(frozen: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Iterator[bytes] | None]]:
    """(what stands at the head of its blocks, its rows as bytes) of each table; a number has no rows."""
    unsaid = {field.name: default_of(field) for field in late_fields(ClusterState)}
    for name, annotation in _fields():
        value = frozen[name]
        is_table = isinstance(value, dict | View)
        if name in unsaid and (not value if is_table else value == unsaid[name]):
            continue  # an older member need not know of it yet
        if not is_table:
            yield (name, to_plain(annotation, value)), None
            continue
        of_rows = typing.get_args(annotation)[1]
        if typing.get_origin(of_rows) is dict:
            row = typing.get_args(of_rows)[1]
            for key, table in value.items():
                yield (name, key), _rows(table, row)
        else:
            yield (name,), _rows(value, of_rows)


def _rows(table: dict[Any, Any] | View[Any, Any], row: Any) -> Iterator[bytes]:
    encode = encoder(row)
    return (_pack((key, encode(value))) for key, value in table.items())


def _cut(head: tuple[Any, ...], rows: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of some rows each: as many as are no long work, and no long message."""
    taken: list[bytes] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += len(row)
        if size >= BLOCK_BYTES or len(taken) == BLOCK_ROWS:
            yield _block(head, taken)
            taken, size = [], 0
    if taken:
        yield _block(head, taken)


def _fill(state: ClusterState, name: str, annotation: Any, rest: tuple[Any, ...]) -> None:
    if typing.get_origin(annotation) is not dict:
        setattr(state, name, from_plain(annotation, rest[0]))
        return
    table = getattr(state, name)
    of_rows = typing.get_args(annotation)[1]
    if typing.get_origin(of_rows) is dict:
        table = table.setdefault(rest[0], Table())
        of_rows = typing.get_args(of_rows)[1]
    decode = decoder(of_rows)
    if decode is None:
        table.update(rest[-1])  # what is plain already costs no look at each row
    else:
        for key, plain in rest[-1]:
            table[key] = decode(plain)


def _pack(value: Any) -> bytes:
    return bytes(msgpack.packb(value))


def _block(head: tuple[Any, ...], rows: list[bytes] | None = None) -> bytes:
    """An array of what is in `head` and, if given, of the rows, which are packed already."""
    payload = [_array(len(head) + (rows is not None)), *map(_pack, head)]
    if rows is not None:
        payload += [_array(len(rows)), *rows]
    whole = b"".join(payload)
    return _LENGTH.pack(len(whole)) + whole


def _array(length: int) -> bytes:
    return bytes(msgpack.Packer().pack_array_header(length))
