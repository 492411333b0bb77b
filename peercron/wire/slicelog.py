"""Slicelog: what a node writes down of its own slices, as bytes that its next boot can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from peercron.core.slice_duty import Plan
from peercron.core.slices import SliceEntry
from peercron.wire.codec import UnknownRow, from_plain, to_plain
from peercron.wire.plain import pack, unpack


@dataclass(frozen=True, slots=True)
class Planned:
    """The job as it was known when the state stood at `index`; None: it was not there any more."""

    uid: str
    index: int
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class Begun:
    """Written before anything is started for the slot."""

    uid: str
    slot_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of the slot. `folded`: so many slots before it are not listed."""

    uid: str
    entry: SliceEntry
    folded: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """All of the job up to this instant is in the ledger, or nobody wants to know."""

    uid: str
    through_ms: int


Record = Planned | Begun | Ended | Told
_KINDS: Final[tuple[type[Any], ...]] = (Planned, Begun, Ended, Told)


def pack_records(records: list[Record]) -> bytes:
    """What one turn wrote.

    >>> unpack_records(pack_records([Begun("1", 5_000)]))
    [Begun(uid='1', slot_ms=5000)]
    """
    return pack([(_KINDS.index(type(record)), to_plain(type(record), record)) for record in records])


def unpack_records(data: bytes) -> list[Record]:
    """The records in these bytes. ValueError: they are none, or a newer version's."""
    try:
        return [from_plain(_KINDS[kind], plain) for kind, plain in unpack(data)]
    except (TypeError, IndexError, UnknownRow) as error:
        raise ValueError(str(error)) from None
