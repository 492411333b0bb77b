"""State: keys and values that the cluster shares, with conditional writes, counters, times to live and watches."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from peercron.core.limits import NUMBER_MAX
from peercron.http.openapi.operation import ANYTHING, JSON, TEXT, Content, Operation, optional
from peercron.http.openapi.parameters import switch, text, whole
from peercron.http.openapi.shape import DURATION, Base64, Count, Duration, Key, Number, Shape
from peercron.http.openapi.streams import WITHIN, ChangeSent, KeyChange
from peercron.http.streaming import NDJSON, SSE

_BYTES: Final = "application/octet-stream"


class NamespaceOfKeys(Shape):
    """A namespace, and how many keys it has."""

    namespace: str
    keys: Count


class NamespaceList(Shape):
    """The namespaces that have keys."""

    namespaces: list[NamespaceOfKeys]


class KeyEntry(Shape):
    """A key.

    size: of its value, in bytes
    revision: its ETag
    created: the revision of the first write
    value: where values were asked for: any JSON, or base64 where it is none
    """

    key: str
    size: Count
    revision: Number
    created: Number
    value: Any | UnsetType = UNSET
    base64: Base64 | UnsetType = UNSET


class KeyList(Shape):
    """Keys in order of name.

    index: where changes were asked for: up to where they are told; ask for those after it next
    """

    namespace: str
    keys: list[KeyEntry]
    index: Count | UnsetType = UNSET
    changes: list[KeyChange] | UnsetType = UNSET


class Written(Shape):
    """A write, and the revision that it made."""

    namespace: str
    key: str
    revision: Number


class CasBody(Shape):
    """Compare and set.

    if_revision: the key has to have it; 0: there must be none
    value: any JSON
    """

    if_revision: Count
    value: Any
    ttl: Duration | None = None


class IncrBody(Shape):
    """What to add.

    ttl: of a key that begins
    """

    by: Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)] = 1
    ttl: Duration | None = None


class Counted(Shape):
    """What a key counts now."""

    namespace: str
    key: str
    value: int
    revision: Number


class KeyDeleted(Shape):
    """The key that is gone."""

    deleted: Key


_KEY = "/v1/state/{namespace}/{key}"
_LISTED: Final = "Keys; or, with watch=1, a stream of lines, or of server-sent events where Accept asks for these"
_REVISION: Final = ("If-Match", "If-None-Match")
_VALUE: Final = Content(kinds={JSON: ANYTHING, _BYTES: ANYTHING}, headers=("ETag",))
_WRITTEN: Final = Content(Written, headers=("ETag",))
OPERATIONS: Final = {
    "GET /v1/state": Operation("listNamespaces", {200: NamespaceList}),
    "GET /v1/state/{namespace}/": Operation(
        "listKeys",
        {200: Content(kinds={JSON: KeyList, NDJSON: TEXT, SSE: ChangeSent}, within=WITHIN, says=_LISTED)},
        parameters={
            "prefix": text("only those that begin so"),
            "after": text("only those behind this one"),
            "limit": whole("at most so many", high=10_000, usual=1_000),
            "values": switch("with their values"),
            "watch": text("1: changes as a stream; goes with from and prefix", enum=["1", "0"], default="0"),
            "from": whole("with watch: all changes after this index; those from now on"),
            "index": whole("also the changes after this index, for which it waits"),
        },
        headers=("Last-Change",),
        refuses=frozenset({409, 410}),
    ),
    f"GET {_KEY}": Operation("getKey", {200: _VALUE}),
    f"PUT {_KEY}": Operation(
        "putKey",
        {200: _WRITTEN},
        body=Content(kinds={JSON: ANYTHING, _BYTES: ANYTHING}, required=False),
        parameters={"ttl": text("it is gone after this time, unless it is written again", pattern=DURATION)},
        headers=_REVISION,
    ),
    f"POST {_KEY}:cas": Operation("casKey", {200: _WRITTEN}, body=CasBody),
    f"POST {_KEY}:incr": Operation("incrKey", {200: Content(Counted, headers=("ETag",))}, body=optional(IncrBody)),
    f"DELETE {_KEY}": Operation("deleteKey", {200: KeyDeleted}, headers=_REVISION),
}
