"""Queues and their items as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from peercron.core import views
from peercron.core.apply.queue import line_of
from peercron.core.queue import Item, Queue, oldest_ms
from peercron.core.state import ClusterState
from peercron.times import format_duration


def queue_view(state: ClusterState, queue: Queue) -> dict[str, Any]:
    """How many items are where. `items` are all of them; `behind` are those that are not the first of their group.

    `oldest_at`: since when the first in line is there, or not delayed any more.
    """
    line = line_of(state, queue.key)
    oldest = oldest_ms(state.items.get(queue.key, {}).values(), state.now_ms)
    return {
        "namespace": queue.namespace,
        "name": queue.name,
        "items": len(line.items),
        "ready": line.ready,
        "delayed": line.delayed,
        "in_flight": line.in_flight,
        "behind": line.behind,
        "oldest_at": views.instant(oldest),
        "dead": len(state.items.get(f"{queue.namespace}/{queue.dead_letter_name}", ())),
        "visibility": format_duration(queue.visibility_ms),
        "max_attempts": queue.max_attempts,
        "dead_letters": queue.dead_letter_name,
        "revision": queue.revision,
    }


def item_view(item: Item) -> dict[str, Any]:
    """An item as its receiver sees it; payload_base64 instead of payload where it is bytes."""
    payload = {"payload": msgspec.Raw(item.payload)}
    return {
        "id": item.id,
        **({"payload_base64": base64.b64encode(item.payload).decode()} if item.binary else payload),
        "key": item.key,
        "group": item.group,
        "priority": item.priority,
        "attempts": item.attempts,
        "put_at": views.instant(item.put_ms),
        "not_before": views.instant(item.not_before_ms),
        "origin": item.origin,
        "reason": item.reason,
    }


def peeked(state: ClusterState, key: str, limit: int) -> Iterator[dict[str, Any]]:
    """So many items, the next ones first, each with where it is."""
    line, now_ms = line_of(state, key), state.now_ms
    ready = {item.id: item for item in line.first(limit)}
    others = (item for item in tuple(line.items.values()) if item.id not in ready)
    for item in ready.values():
        yield item_view(item) | {"state": "ready"}
    for item in islice(others, limit - len(ready)):
        why = "in_flight" if item.token else "delayed" if item.not_before_ms > now_ms else "behind"
        yield item_view(item) | {"state": why}
