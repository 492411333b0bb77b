"""Queues: items that are put, received for a while, and acked; or else received again, and at last dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from peercron.core.limits import ATTEMPTS_PER_ITEM, ATTEMPTS_PER_ITEM_MAX, PRIORITY_MAX, RECEIVED_MAX, REPLAYED_MAX
from peercron.http.openapi.operation import Content, Operation, optional
from peercron.http.openapi.parameters import text, whole
from peercron.http.openapi.shape import NAME, Base64, Count, Duration, Instant, Key, Life, Number, Seconds, Shape, Span
from peercron.http.queues import ITEMS_LISTED, ITEMS_LISTED_MAX, QUEUES_LISTED

Attempts = Annotated[int, Meta(ge=0, le=ATTEMPTS_PER_ITEM_MAX, description="0: no limit")]
Priority = Annotated[int, Meta(ge=-PRIORITY_MAX, le=PRIORITY_MAX)]


class QueueView(Shape):
    """How many items are where.

    items: all of them
    ready: to be received now
    in_flight: in somebody's hands
    behind: those that are not the first of their group
    oldest_at: since when the first in line is there, or not delayed any more; null: there is none
    dead: dead letters
    visibility: how long who receives an item has it
    max_attempts: how often it is received before it is a dead letter; 0: no limit
    dead_letters: the queue in which these are
    """

    namespace: str
    name: str
    items: Count
    ready: Count
    delayed: Count
    in_flight: Count
    behind: Count
    oldest_at: Instant | None
    dead: Count
    visibility: Duration
    max_attempts: Attempts
    dead_letters: str
    revision: Count


class QueueList(Shape):
    """Queues in order of name.

    total: how many there are without limit
    """

    queues: list[QueueView]
    total: Count


class QueueBody(Shape):
    """Settings; what is not said is as usual.

    dead_letters: the name of a queue; empty: as usual
    """

    visibility: Life | None = "30s"
    max_attempts: Attempts = ATTEMPTS_PER_ITEM
    dead_letters: Annotated[str, Meta(pattern=f"^({NAME})?$")] | None = ""


class QueueDeleted(Shape):
    """The key of what is forgotten."""

    deleted: Key


class ItemView(Shape):
    """An item as its receiver sees it.

    payload: any JSON, or payload_base64 where it was put as bytes
    key: while an item with this key is there nothing is put under it
    group: items of one group are received one at a time, in order
    attempts: how often it was received
    not_before: it is received no sooner
    origin: of a dead letter: where it was
    reason: of a dead letter: why it is one
    """

    id: Number
    key: str
    group: str
    priority: Priority
    attempts: Count
    put_at: Instant
    not_before: Instant
    origin: str
    reason: str
    payload: Any | UnsetType = UNSET
    payload_base64: Base64 | UnsetType = UNSET


class PeekedItem(ItemView, kw_only=True):
    """An item, and where it is.

    state: behind: it is not the first of its group
    """

    state: Literal["ready", "in_flight", "delayed", "behind"]


class Peeked(Shape):
    """Items, the next ones first."""

    queue: Key
    items: list[PeekedItem]


class ItemBody(Shape):
    """An item: payload or payload_base64, and what else there is to say of it.

    payload: any JSON
    payload_base64: bytes
    key: while an item with this key is there, and a while after it was acked, nothing is put
    priority: larger ones are received first
    delay: how long it is not received
    group: items of one group are received one at a time, in order
    """

    payload: Any = UNSET
    payload_base64: Base64 | UnsetType = UNSET
    key: str | None = None
    priority: Priority = 0
    delay: Span | None = "0s"
    group: str | None = None


class ItemPut(Shape):
    """The item with this key, new or not."""

    queue: Key
    id: Number


class ReceiveBody(Shape):
    """How to receive.

    max: at most so many items
    visibility: how long to have them; 0s: as the queue says
    wait: how long to wait for the first
    owner: who says so, for people
    client: the session with which the delivery ends
    """

    max: Annotated[int, Meta(ge=1, le=RECEIVED_MAX)] = 1
    visibility: Span | None = "0s"
    wait: Span | None = "0s"
    owner: str | None = None
    client: Count = 0


class Received(Shape):
    """A delivery.

    token: with which each item is acked, nacked or extended; null: there was nothing
    expires_in: seconds, after which they are given to others
    """

    token: Number | None
    items: list[ItemView]
    expires_in: Seconds | UnsetType = UNSET


class AckBody(Shape):
    """The token of a delivery."""

    token: Number


class NackBody(AckBody, kw_only=True):
    """The token of a delivery, and how its items go back.

    delay: how long they are not received
    reason: kept with a dead letter
    """

    delay: Span | None = "0s"
    reason: str | None = None


class ExtendBody(AckBody, kw_only=True):
    """The token of a delivery, and for how long from now on; 0s: as long as before."""

    visibility: Span | None = "0s"


class AckItemsBody(AckBody, kw_only=True):
    """The token of a delivery, and which of its items; none: all."""

    items: list[Number] | None = None


class NackItemsBody(NackBody, kw_only=True):
    """The token of a delivery, which of its items (none: all), and how they go back."""

    items: list[Number] | None = None


class ExtendItemsBody(ExtendBody, kw_only=True):
    """The token of a delivery, and for how long from now on; 0s: as long as before."""

    items: list[Number] | None = None


class Settled(Shape):
    """How many items of the delivery are left."""

    token: Number
    left: Count


class Extended(Shape):
    """A delivery.

    expires_in: seconds, counted from when the request was sent
    """

    token: Number
    expires_in: Seconds


class Purged(Shape):
    """How many items were dropped."""

    queue: Key
    purged: Count


class ReplayBody(Shape):
    """At most so many, the oldest first."""

    max: Annotated[int, Meta(ge=1, le=REPLAYED_MAX)] = REPLAYED_MAX


class Replayed(Shape):
    """How many dead letters were put back."""

    queue: Key
    replayed: Count


def _one_payload(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": ["payload"]}, {"required": ["payload_base64"]}]


#: Shape -> what is added to its schema.
REFINED: Final[Mapping[str, Callable[[dict[str, Any]], None]]] = {"ItemBody": _one_payload}
_PUT: Final = Content(ItemBody, example={"payload": {"to": "x"}, "key": "order-17"})
_QUEUE = "/v1/queues/{namespace}/{name}"
_ITEM = f"{_QUEUE}/items/{{id}}"
_ID: Final = {"id": text("the id of an item")}
OPERATIONS: Final = {
    "GET /v1/queues": Operation(
        "listQueues",
        {200: QueueList},
        parameters={"limit": whole("at most so many", low=1, high=10 * QUEUES_LISTED, usual=QUEUES_LISTED)},
    ),
    f"GET {_QUEUE}": Operation("getQueue", {200: QueueView}),
    f"PUT {_QUEUE}": Operation(
        "putQueue",
        {200: Content(QueueView, headers=("ETag",))},
        body=optional(QueueBody),
        headers=("If-Match", "If-None-Match"),
    ),
    f"DELETE {_QUEUE}": Operation("deleteQueue", {200: QueueDeleted}),
    f"POST {_QUEUE}/items": Operation(
        "putItem",
        {200: ItemPut, 201: ItemPut},
        body=_PUT,
    ),
    f"GET {_QUEUE}/items": Operation(
        "peekItems",
        {200: Peeked},
        parameters={"limit": whole("at most so many", low=1, high=ITEMS_LISTED_MAX, usual=ITEMS_LISTED)},
    ),
    f"DELETE {_QUEUE}/items": Operation("purgeItems", {200: Purged}),
    f"GET {_ITEM}": Operation("getItem", {200: ItemView}, parameters=_ID),
    f"POST {_ITEM}:ack": Operation("ackItem", {200: Settled}, body=AckBody, parameters=_ID),
    f"POST {_ITEM}:nack": Operation("nackItem", {200: Settled}, body=NackBody, parameters=_ID),
    f"POST {_ITEM}:extend": Operation("extendItem", {200: Extended}, body=ExtendBody, parameters=_ID),
    f"POST {_QUEUE}:receive": Operation("receiveItems", {200: Received}, body=optional(ReceiveBody)),
    f"POST {_QUEUE}:replay": Operation("replayItems", {200: Replayed}, body=optional(ReplayBody)),
    f"POST {_QUEUE}:ack": Operation("ackItems", {200: Settled}, body=AckItemsBody),
    f"POST {_QUEUE}:nack": Operation("nackItems", {200: Settled}, body=NackItemsBody),
    f"POST {_QUEUE}:extend": Operation("extendItems", {200: Extended}, body=ExtendItemsBody),
}
