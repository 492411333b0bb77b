"""Streams: what stands on the lines of answers that go on."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from peercron.core.chronicle import KINDS
from peercron.http.events import LEADER
from peercron.http.openapi.operation import JSON
from peercron.http.openapi.shape import Base64, Count, Instant, Number, Shape

_KIND: Final = [*KINDS, LEADER]


class EventView(msgspec.Struct):
    """Something that happened; what more there is to say of it has keys of its own.

    id: its place, the same at every node; null: who leads does not stand in the log
    at: null: before the first command
    kind: of what it happened to
    what: what happened to it
    name: of what it happened to: "namespace/name" of a job, a lock or a queue
    """

    id: str | None
    at: Instant | None
    kind: Annotated[str, Meta(extra_json_schema={"enum": _KIND})]
    what: str
    name: str


class KeyChange(Shape):
    """A write: with its value (any JSON), or base64 where it is none, or deleted."""

    key: str
    revision: Number
    value: Any | UnsetType = UNSET
    base64: Base64 | UnsetType = UNSET
    deleted: Literal[True] | UnsetType = UNSET


class StreamPlace(Shape):
    """How far a stream has come.

    id: to go on behind it
    """

    index: Count
    id: str | UnsetType = UNSET


class Ending(Shape):
    """Why a stream ends.

    index: with code compacted: where the cluster stood
    """

    code: str
    detail: str
    index: Count | UnsetType = UNSET


class StreamEnd(Shape):
    """The last word of a stream."""

    error: Ending


def _line_of(shape: type) -> dict[str, Any]:
    told = (shape, StreamPlace, StreamEnd)
    schemas = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in told]
    return {"contentMediaType": JSON, "contentSchema": {"anyOf": schemas}}


_EVENT: Final = _line_of(EventView)
_CHANGE: Final = _line_of(KeyChange)


class EventSent(Shape):
    """One server-sent event.

    id: to go on behind it, at whichever node
    event: index: how far the stream has come; error: why it ends; message, or not there: something happened
    """

    data: Annotated[str, Meta(extra_json_schema=_EVENT)]
    id: str | UnsetType = UNSET
    event: Literal["message", "index", "error"] = "message"


class ChangeSent(Shape):
    """One server-sent event.

    id: to go on behind it, at whichever node
    event: index: how far the stream has come; error: why it ends; message, or not there: a write
    """

    data: Annotated[str, Meta(extra_json_schema=_CHANGE)]
    id: str | UnsetType = UNSET
    event: Literal["message", "index", "error"] = "message"


#: What stands within the text of these streams.
WITHIN: Final = (EventView, KeyChange, StreamPlace, StreamEnd)
