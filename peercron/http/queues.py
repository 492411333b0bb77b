"""Routes of queues: what is in them, items put, received and settled, dead letters put back, and settings."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from aiohttp import web

from peercron.core.commands import (
    AckItems,
    DeleteQueue,
    ExtendDelivery,
    NackItems,
    PurgeQueue,
    PutItem,
    PutQueue,
    ReceiveItems,
    ReplayItems,
)
from peercron.core.limits import ATTEMPTS_PER_ITEM, PRIORITY_MAX, REASON_LENGTH_MAX, REPLAYED_MAX, VISIBILITY_MS
from peercron.core.queue import Queue
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import WAIT_MS_MAX, blocking_answer, in_slices, json_answer
from peercron.http.asking import (
    BLOCKING_PARAMETERS,
    READ_PARAMETERS,
    TIMEOUT_S,
    Route,
    commit,
    fields_of_body,
    fresh,
    if_revision,
    node_of,
    whole_number,
)
from peercron.http.fields import NUMBER_MAX, Fields, fields_of, integral
from peercron.http.jobs import etag
from peercron.http.queue_view import item_view, peeked, queue_view
from peercron.http.receiving import received

QUEUES_LISTED = 1_000
ITEMS_LISTED = 100
ITEMS_LISTED_MAX = 1_000


async def list_queues(request: web.Request) -> web.Response:
    """All queues with how many items are where; ?namespace= chooses among them."""
    node, wanted = node_of(request), request.query.get("namespace")
    limit = whole_number(request, "limit", QUEUES_LISTED, low=1, high=10 * QUEUES_LISTED)

    async def view() -> dict[str, Any]:
        state = node.state
        chosen = [queue for queue in state.queues.values() if wanted in (None, queue.namespace)]
        shown = sorted(chosen, key=lambda queue: queue.key)[:limit]
        return {"queues": await in_slices(queue_view(state, queue) for queue in shown), "total": len(chosen)}

    return await blocking_answer(request, view)


async def get_queue(request: web.Request) -> web.Response:
    """A queue: how many items are where, and its settings."""
    node, key = node_of(request), "/".join(_named(request))
    return await blocking_answer(request, lambda: queue_view(node.state, _find(node.state, key)))


async def put_queue(request: web.Request) -> web.Response:
    """Settings: {"visibility": "30s", "max_attempts": 5, "dead_letters": "name"}; what is not said is as usual."""
    fields = await fields_of(request, "visibility", "max_attempts", "dead_letters")
    command = PutQueue(
        *_named(request),
        fields.duration_ms("visibility", VISIBILITY_MS),
        fields.whole("max_attempts", ATTEMPTS_PER_ITEM),
        fields.text("dead_letters", ""),
        if_revision(request),
    )
    fields.check()
    done = await commit(request, command)
    state = node_of(request).state
    return json_answer(queue_view(state, _find(state, "/".join(_named(request)))), headers=etag(int(done.value or 0)))


async def delete_queue(request: web.Request) -> web.Response:
    """Forget a queue that is empty, with its settings."""
    await commit(request, DeleteQueue(*_named(request)))
    return json_answer({"deleted": "/".join(_named(request))})


async def put_item(request: web.Request) -> web.Response:
    """Put an item: {"payload": any JSON} or {"payload_base64": "…"}, with "key", "priority", "delay": "5s", "group".

    The answer is its id. While an item with that key is there, and a while after it was acked, nothing is put, and the
    answer (200 instead of 201) is that item's id.
    """
    names = ("payload", "payload_base64", "key", "priority", "delay", "group")
    body = await fields_of_body(request, *names)
    fields = Fields(body)
    payload, binary = _payload(body)
    command = PutItem(
        *_named(request),
        payload,
        binary,
        key=fields.text("key", ""),
        priority=fields.whole("priority", 0, low=-PRIORITY_MAX),
        group=fields.text("group", ""),
        delay_ms=fields.duration_ms("delay", 0),
    )
    fields.check()
    done = await commit(request, command)
    id_ = int(done.value or 0)
    return json_answer({"queue": "/".join(_named(request)), "id": id_}, status=201 if id_ >= done.index else 200)


def _payload(body: dict[str, Any]) -> tuple[bytes, bool]:
    """(bytes, whether they are no JSON) of a new item."""
    if ("payload" in body) == ("payload_base64" in body):
        raise ConfigError([Problem("payload", "one of payload (any JSON) and payload_base64 is required")])
    if "payload" in body:
        return msgspec.json.encode(body["payload"]), False
    try:
        return base64.b64decode(body["payload_base64"], validate=True), True
    except (TypeError, ValueError, binascii.Error):
        raise ConfigError([Problem("payload_base64", "must be base64")]) from None


async def peek(request: web.Request) -> web.Response:
    """Items, the next ones first, and what holds up each of the others; takes nothing."""
    state, key = await fresh(request), "/".join(_named(request))
    limit = whole_number(request, "limit", ITEMS_LISTED, low=1, high=ITEMS_LISTED_MAX)
    _find(state, key)
    return json_answer({"queue": key, "items": await in_slices(peeked(state, key, limit))})


async def get_item(request: web.Request) -> web.Response:
    """One item, wherever it is in the queue."""
    state, key = await fresh(request), "/".join(_named(request))
    item = state.items.get(key, {}).get(int(request.match_info["id"]))
    if item is None:
        raise Refused("not_found", f"queue {key} has no item {request.match_info['id']}")
    return json_answer(item_view(item))


async def receive(request: web.Request) -> web.Response:
    """Take up to "max" items for "visibility", and wait for the first of them for as long as "wait".

    {"max": 1, "visibility": "30s", "wait": "20s", "owner": "node/process/thread", "client": id of a client session}.
    The answer has a token, with which each item is acked, nacked or extended within `expires_in` seconds; afterwards it
    is given to others. No token: there was nothing. Items of one group come one at a time, in order.
    """
    fields = await fields_of(request, "max", "visibility", "wait", "owner", "client")
    command = ReceiveItems(
        *_named(request),
        fields.whole("max", 1),
        fields.duration_ms("visibility", 0),
        fields.text("owner", ""),
        fields.whole("client", 0),
    )
    wait_ms = min(WAIT_MS_MAX, fields.duration_ms("wait", 0))
    fields.check()
    token = await received(request, command, wait_ms / 1_000)
    state = node_of(request).state
    delivery = state.deliveries.get(token)
    if delivery is None:
        return json_answer({"token": None, "items": []})
    items = [item_view(state.items[delivery.queue][id_]) for id_ in delivery.items]
    return json_answer({"token": token, "expires_in": state.leases[token].ttl_ms / 1_000, "items": items})


async def ack(request: web.Request) -> web.Response:
    """The item is done: {"token": …}. Without an item in the path: {"items": [ids]}, or all of the delivery."""
    token, items, _ = await _settled(request)
    done = await commit(request, AckItems(token, items))
    return json_answer({"token": token, "left": done.value})


async def nack(request: web.Request) -> web.Response:
    """Give the item back, to its place or to the dead letters: {"token": …, "delay": "5s", "reason": "…"}."""
    token, items, fields = await _settled(request, "delay", "reason")
    delay_ms, reason = fields.duration_ms("delay", 0), fields.text("reason", "")[:REASON_LENGTH_MAX]
    fields.check()
    done = await commit(request, NackItems(token, items, delay_ms, reason))
    return json_answer({"token": token, "left": done.value})


async def extend(request: web.Request) -> web.Response:
    """Have a delivery for its time once more: {"token": …}; with "visibility" that is how long, from now on."""
    token, _, fields = await _settled(request, "visibility")
    wanted_ms = fields.duration_ms("visibility", 0)
    fields.check()
    lease = node_of(request).state.leases.get(token)
    if wanted_ms and lease is not None and lease.ttl_ms != wanted_ms:
        await commit(request, ExtendDelivery(token, wanted_ms))
    # Off the log, and refused where the end is on its way already.
    left_ms = await node_of(request).renew(token, TIMEOUT_S)
    return json_answer({"token": token, "expires_in": left_ms / 1_000})


async def _settled(request: web.Request, *more: str) -> tuple[int, tuple[int, ...], Fields]:
    """The token, and which items of its delivery; none: all."""
    in_path = request.match_info.get("id")
    body = await fields_of_body(request, "token", *more, *(() if in_path else ("items",)))
    fields, given = Fields(body), body.get("items")
    items = [] if given is None else [*map(integral, given)] if isinstance(given, list) else given
    token = fields.whole("token", low=1)
    if not isinstance(items, list) or any(type(id_) is not int or not 0 < id_ <= NUMBER_MAX for id_ in items):
        raise ConfigError([Problem("items", "must be a list of ids, which are whole numbers")])
    fields.check()
    state = node_of(request).state
    delivery = state.deliveries.get(token)
    if delivery is not None and delivery.queue != "/".join(_named(request)):
        raise Refused("stale_token", f"delivery {token} is one of queue {delivery.queue}")
    if delivery is None and token in state.leases:
        raise Refused("stale_token", f"{token} is the token of something else, and no delivery")
    return token, (int(in_path),) if in_path else tuple(items), fields


async def purge(request: web.Request) -> web.Response:
    """Drop all items, also those in somebody's hands."""
    done = await commit(request, PurgeQueue(*_named(request)))
    return json_answer({"queue": "/".join(_named(request)), "purged": done.value})


async def replay(request: web.Request) -> web.Response:
    """Put dead letters of this queue back into it, the oldest first: {"max": 100}, of which `replayed` were there."""
    fields = await fields_of(request, "max")
    most = fields.whole("max", REPLAYED_MAX, low=1)
    fields.check()
    done = await commit(request, ReplayItems(*_named(request), most))
    return json_answer({"queue": "/".join(_named(request)), "replayed": done.value})


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["name"]


def _find(state: ClusterState, key: str) -> Queue:
    queue = state.queues.get(key)
    if queue is None:
        raise Refused("not_found", f"there is no queue {key}")
    return queue


_QUEUE = "/v1/queues/{namespace}/{name:[^/:]+}"
ROUTES = (
    Route("GET", "/v1/queues", list_queues, Scope.READ, BLOCKING_PARAMETERS | {"namespace", "limit"}),
    Route("POST", f"{_QUEUE}/items", put_item, Scope.DATA),
    Route("GET", f"{_QUEUE}/items", peek, Scope.READ, READ_PARAMETERS | {"limit"}),
    Route("DELETE", f"{_QUEUE}/items", purge, Scope.DATA),
    Route("GET", f"{_QUEUE}/items/{{id:[0-9]{{1,16}}}}", get_item, Scope.READ, READ_PARAMETERS),
    Route("POST", f"{_QUEUE}/items/{{id:[0-9]{{1,16}}}}:ack", ack, Scope.DATA),
    Route("POST", f"{_QUEUE}/items/{{id:[0-9]{{1,16}}}}:nack", nack, Scope.DATA),
    Route("POST", f"{_QUEUE}/items/{{id:[0-9]{{1,16}}}}:extend", extend, Scope.DATA),
    Route("POST", f"{_QUEUE}:receive", receive, Scope.DATA),
    Route("POST", f"{_QUEUE}:replay", replay, Scope.DATA),
    Route("POST", f"{_QUEUE}:ack", ack, Scope.DATA),
    Route("POST", f"{_QUEUE}:nack", nack, Scope.DATA),
    Route("POST", f"{_QUEUE}:extend", extend, Scope.DATA),
    Route("GET", _QUEUE, get_queue, Scope.READ, BLOCKING_PARAMETERS),
    Route("PUT", _QUEUE, put_queue, Scope.DATA),
    Route("DELETE", _QUEUE, delete_queue, Scope.DATA),
)
