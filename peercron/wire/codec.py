"""Codec: rows and commands of the core as msgpack, by their own type annotations.

A row is an array of its fields in order; where a field may be one of several rows, a short name in front says which.
Missing fields at the end take their defaults, so that a newer version may add some (see `core.level`), and those that
it added are left out while they have them. Names and the order and types of fields are the format: they are part of
what `FORMAT` promises, and the golden bytes change only with it. So bytes that break the grammar are no proposal to any
version, and all pass them over; a row, a field or a choice that is not known here is a newer version's: who must stop.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgpack

from peercron.core import commands as c
from peercron.core.level import default_of, late_fields
from peercron.wire.names import NAMES as NAMES

FORMAT: Final = 1

_TYPES: Final[dict[str, type]] = {name: row for row, name in NAMES.items()}


class UnknownRow(Exception):
    """The bytes hold something that this version does not know: a newer version wrote them. The message names it."""


Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


@cache
def _plan(annotation: Any) -> tuple[Encode, Decode]:
    """How values of an annotation become plain data and back."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return _row_plan(annotation)
    origin = typing.get_origin(annotation)
    if origin in {typing.Union, types.UnionType}:
        return _union_plan(typing.get_args(annotation))
    if origin is tuple:
        return _tuple_plan(typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _choice_plan(annotation)
    return _same, _same


def _choice_plan(enum: type[StrEnum]) -> tuple[Encode, Decode]:
    values = {choice.value: choice.value for choice in enum}
    choices = {choice.value: choice for choice in enum}

    def encode(choice: Any) -> Any:
        # What is no choice must not get into the log: every member would stop at it, and no version could go on.
        return values[choice]

    def decode(data: Any) -> Any:
        if type(data) is not str:
            raise TypeError("a choice is a word")
        try:
            return choices[data]
        except KeyError:
            raise UnknownRow(f"{enum.__name__} {data!r}") from None

    return encode, decode


def _row_plan(row: type) -> tuple[Encode, Decode]:
    """Only the fields that are not plain themselves are looked at one by one: most rows have few of them."""
    hints, fields = typing.get_type_hints(row), dataclasses.fields(row)
    plans = [_plan(hints[field.name]) for field in fields]
    special = [(place, *plan) for place, plan in enumerate(plans) if plan != (_same, _same)]
    get = _getter([field.name for field in fields])
    late = [default_of(field) for field in late_fields(row)]

    def encode_row(value: Any) -> Any:
        data = get(value)
        if late:
            data = data[: len(data) - _unused(data, late)]
        if not special:
            return data
        values = list(data)
        for place, encode, _ in special:
            if place < len(values):
                values[place] = encode(values[place])
        return values

    # Where every field has a default, most rows say no more: one row does for all of them.
    usual = row() if all(field.default is not dataclasses.MISSING for field in fields) else None
    usual_data = None if usual is None else tuple(encode_row(usual))

    def decode_row(data: Any) -> Any:
        if type(data) is not tuple:
            raise TypeError("a row is an array")
        if len(data) > len(fields):
            raise UnknownRow(f"a {row.__name__} of {len(data)} fields")
        if data == usual_data:
            return usual
        if not special:
            return row(*data)
        values = list(data)
        for place, _, decode in special:
            if place < len(values):
                values[place] = decode(values[place])
        return row(*values)

    return encode_row, decode_row


def _unused(data: tuple[Any, ...], defaults: list[Any]) -> int:
    """How many of the last fields, of those that have these defaults, say nothing."""
    unused = 0
    while unused < len(defaults) and data[-1 - unused] == defaults[-1 - unused]:
        unused += 1
    return unused


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """All fields at once; attrgetter gives a bare value for one name, and takes no less."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple([getattr(value, name) for name in names])


def _union_plan(options: tuple[Any, ...]) -> tuple[Encode, Decode]:
    rows: dict[Any, tuple[Encode, Decode]] = {o: _plan(o) for o in options if dataclasses.is_dataclass(o)}  # type: ignore[arg-type]
    others = [option for option in options if option is not type(None)]
    if not rows or len(others) == 1:
        if len(others) != 1 or _plan(others[0])[0] is _same:
            return _same, _same
        encode_one, decode_one = _plan(others[0])
        return (
            lambda value: None if value is None else encode_one(value),
            lambda data: None if data is None else decode_one(data),
        )

    def encode(value: Any) -> Any:
        if value is None:
            return None
        return NAMES[type(value)], rows[type(value)][0](value)

    def decode(data: Any) -> Any:
        if data is None:
            return None
        name, fields = data
        if type(name) is not str:
            raise TypeError("the name of a row is a word")
        row = _TYPES.get(name)
        if row not in rows:
            raise UnknownRow(repr(name))
        return rows[row][1](fields)

    return encode, decode


def _tuple_plan(arguments: tuple[Any, ...]) -> tuple[Encode, Decode]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        encode, decode = _plan(arguments[0])
        if encode is _same:
            return _same, _same
        return lambda value: tuple([encode(v) for v in value]), lambda data: tuple([decode(d) for d in data])
    return _same, _same


_encode_proposal, _decode_proposal = _plan(c.Proposal)


def pack_proposal(proposal: c.Proposal) -> bytes:
    """A proposal as the bytes that travel and are logged."""
    return bytes(msgpack.packb(_encode_proposal(proposal)))


def unpack_proposal(data: bytes) -> c.Proposal:
    """The proposal in these bytes.

    Raises:
        UnknownRow: a newer version wrote it, and this one cannot read all of it.
        ValueError, TypeError: these are the bytes of no proposal, to no version.
    """
    plain = msgpack.unpackb(data, use_list=False)
    member, session, seq, floor, (name, _), *_ = plain
    if type(member) is not str or not type(session) is type(seq) is type(floor) is int:
        raise TypeError("a proposal without a sound sender")
    try:
        proposal: c.Proposal = _decode_proposal(plain)
    except UnknownRow as unknown:
        within = "" if str(unknown) == repr(name) else f"{unknown} in "
        raise UnknownRow(f"{within}the command {name!r} of {member}") from None
    return proposal


def encoder(annotation: Any) -> Encode:
    """`to_plain` for many values of one annotation."""
    return _plan(annotation)[0]


def decoder(annotation: Any) -> Decode | None:
    """`from_plain` for many values of one annotation; None: they are plain already."""
    decode = _plan(annotation)[1]
    return None if decode is _same else decode


def to_plain(annotation: Any, value: Any) -> Any:
    """A value of an annotated type as plain tuples, strings and numbers."""
    return _plan(annotation)[0](value)


def from_plain(annotation: Any, data: Any) -> Any:
    """The value that `to_plain` made this of."""
    return _plan(annotation)[1](data)
