"""Queues: how items come in, wait and leave; who takes them out is in `apply.delivery`, the rest in `queue_upkeep`.

    enqueue ─▶ ready ─▶ in flight (a delivery holds it) ─▶ acked: gone, its key remembered for a while
                 ▲           │
                 └─ given back, at its place ─ handed out as often as it may be ─▶ the queue of dead letters
                 └───────────────────────────────── replayed ◀──────────────────────────┘

An item that is delayed needs no command to become ready: `line_of` lets go what the state's time has reached, and
whoever waits for an item knows from the line when to ask again. So the log of a cluster with nothing but delayed items
does not grow, and there is nothing that a new leader would have to plan anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from peercron.core.apply.definition import named
from peercron.core.commands import PutItem
from peercron.core.limits import (
    ATTEMPTS_PER_ITEM,
    DELAY_MS_MAX,
    DONE_KEYS_KEPT,
    DONE_KEYS_KEPT_PER_QUEUE,
    ITEM_BYTES_MAX,
    ITEMS_BYTES_MAX,
    ITEMS_MAX,
    KEY_BYTES_MAX,
    NAME_LENGTH_MAX,
    PRIORITY_MAX,
    QUEUES_MAX,
    VISIBILITY_MS,
)
from peercron.core.queue import DEAD, Item, Line, Queue
from peercron.core.run import RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

#: Called, on every member alike, with each item that has come into a queue: (state, queue, item). It may change tables
#: of its own, grants nothing, and takes nothing out.
Arrival = Callable[[ClusterState, Queue, Item], None]
ARRIVALS: list[Arrival] = []

#: Called, on every member alike, with each item that is in its queue no more and will not come back to it by itself:
#: (state, key of the queue, item, what this means for a run that it stands for, why).
Departure = Callable[[ClusterState, str, Item, RunState, str], None]
DEPARTURES: list[Departure] = []

#: Of a queue that people name; that of its dead letters is so much longer.
QUEUE_NAME_MAX = NAME_LENGTH_MAX - len(DEAD)


def line_of(state: ClusterState, key: str) -> Line:
    """Where the items of this queue stand, as of the state's time; built anew when it is not that of these rows."""
    items = state.items.get(key)
    if items is None:
        state.lines.pop(key, None)
        return Line({}, state.now_ms)
    line = state.lines.get(key)
    if line is None or line.items is not items:
        line = state.lines[key] = Line(items, state.now_ms)
    line.release(state.now_ms)
    return line


def enqueue(
    state: ClusterState,
    namespace: str,
    name: str,
    payload: bytes,
    *,
    binary: bool = False,
    key: str = "",
    priority: int = 0,
    group: str = "",
    delay_ms: int = 0,
) -> int | Refused:
    """Put one item; a command may put several. Its id, or that of the item that has, or had a while ago, its key.

    Refused, with nothing changed, when there can be no such item or no room for it.
    """
    queue_key = f"{namespace}/{name}"
    if key and (present := known_by(state, queue_key, key)) is not None:
        return present
    item = Item(0, 0, payload, binary, key, priority, group, state.now_ms, state.now_ms + delay_ms)
    refused = _refused_item(state, item, delay_ms) or refused_queue(state, namespace, name)
    if refused is not None:
        return refused
    queue = state.queues.get(queue_key) or _make(state, namespace, name)
    place = next_place(state)
    state.item_count += 1
    state.item_bytes += len(payload)
    arrive(state, queue, replace(item, id=place, place=place))
    return place


def known_by(state: ClusterState, queue_key: str, key: str) -> int | None:
    """The item of this unique key, there or done a while ago."""
    present = line_of(state, queue_key).keys.get(key)
    return present if present is not None else state.done_keys.get(queue_key, {}).get(key)


def arrive(state: ClusterState, queue: Queue, item: Item) -> None:
    """Put a row into a queue, at its end. It comes without its key where another has the key: keys are unique."""
    state.items.setdefault(queue.key, {})
    line = line_of(state, queue.key)
    if item.key in line.keys:
        item = replace(item, key="")
    line.items[item.id] = item
    line.add(item, state.now_ms)
    state.touch_queue(queue.namespace, queue.name)
    for arrival in ARRIVALS:
        arrival(state, queue, item)


def take_out(state: ClusterState, queue_key: str, item: Item) -> None:
    """Remove an item that is in flight; it is not counted any more when it is gone for good (`forget`)."""
    line = line_of(state, queue_key)
    del line.items[item.id]
    line.remove(item, state.now_ms)
    if item.key:
        _remember_key(state, queue_key, item)
    if not line.items:
        del state.items[queue_key]


def forget(state: ClusterState, item: Item) -> None:
    """It is in no queue any more."""
    state.item_count -= 1
    state.item_bytes -= len(item.payload)


def bury(state: ClusterState, queue_key: str, item: Item) -> None:
    """An item that is in flight becomes a dead letter of its queue."""
    take_out(state, queue_key, item)
    state.happened("queue", "dead_letter", queue_key, item=item.id, attempts=item.attempts, reason=item.reason)
    queue = state.queues[queue_key]
    grave = state.queues.get(f"{queue.namespace}/{queue.dead_letter_name}")
    if grave is None:
        grave = _make(state, queue.namespace, queue.dead_letter_name, max_attempts=0)
    arrive(state, grave, replace(item, place=next_place(state), token=0, not_before_ms=0, origin=queue_key))
    why = f"it is a dead letter in {grave.key} after {item.attempts} deliveries"
    depart(state, queue_key, item, RunState.FAILED, f"{why}: {item.reason}" if item.reason else why)


def depart(state: ClusterState, queue_key: str, item: Item, outcome: RunState, why: str) -> None:
    """Tell who cares that an item has left its queue."""
    for departure in DEPARTURES:
        departure(state, queue_key, item, outcome, why)


def next_place(state: ClusterState) -> int:
    """A number above all before it, in this cluster and in what a snapshot brought."""
    state.last_place = max(state.last_place + 1, state.index)
    return state.last_place


def put_item(state: ClusterState, command: PutItem) -> Verdict:
    put = enqueue(
        state,
        command.namespace,
        command.name,
        command.payload,
        binary=command.binary,
        key=command.key,
        priority=command.priority,
        group=command.group,
        delay_ms=command.delay_ms,
    )
    return put if isinstance(put, Refused) else Done(state.index, put)


def no_queue(state: ClusterState, key: str) -> Refused:
    return Refused(state.index, Refusal.NOT_FOUND, f"there is no queue {key}")


def _make(state: ClusterState, namespace: str, name: str, max_attempts: int = ATTEMPTS_PER_ITEM) -> Queue:
    queue = Queue(namespace, name, VISIBILITY_MS, max_attempts, "", state.index)
    state.queues[queue.key] = queue
    return queue


def _remember_key(state: ClusterState, queue_key: str, item: Item) -> None:
    """A put of the same key is known as repeated, until as many others have followed."""
    keys = state.done_keys.setdefault(queue_key, {})
    keys.pop(item.key, None)
    keys[item.key] = item.id
    kept = min(DONE_KEYS_KEPT_PER_QUEUE, DONE_KEYS_KEPT // len(state.queues))
    while len(keys) > kept:
        del keys[next(iter(keys))]


def _refused_item(state: ClusterState, item: Item, delay_ms: int) -> Refused | None:
    flaw = _flaw(item, delay_ms)
    if flaw:
        return Refused(state.index, Refusal.INVALID, flaw)
    if len(item.payload) > ITEM_BYTES_MAX:
        detail = f"payload: {len(item.payload)} bytes, at most {ITEM_BYTES_MAX} are kept"
        return Refused(state.index, Refusal.LIMIT, detail)
    if state.item_count >= ITEMS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"the queues hold {ITEMS_MAX} items, which is all they keep")
    if state.item_bytes + len(item.payload) > ITEMS_BYTES_MAX:
        detail = f"the items of all queues have {ITEMS_BYTES_MAX} bytes, which is all that is kept"
        return Refused(state.index, Refusal.LIMIT, detail)
    return None


def _flaw(item: Item, delay_ms: int) -> str:
    if len(item.key.encode()) > KEY_BYTES_MAX:
        return f"key: wants at most {KEY_BYTES_MAX} bytes of UTF-8"
    if len(item.group.encode()) > KEY_BYTES_MAX:
        return f"group: wants at most {KEY_BYTES_MAX} bytes of UTF-8"
    if not -PRIORITY_MAX <= item.priority <= PRIORITY_MAX:
        return f"priority: {item.priority} is not from {-PRIORITY_MAX} to {PRIORITY_MAX}"
    return "" if 0 <= delay_ms <= DELAY_MS_MAX else f"delay: {delay_ms} ms is not from 0 to {DELAY_MS_MAX}"


def refused_queue(state: ClusterState, namespace: str, name: str) -> Refused | None:
    """What only a queue that is not there yet is asked."""
    if f"{namespace}/{name}" in state.queues:
        return None
    for what, text, longest in (("namespace", namespace, NAME_LENGTH_MAX), ("name", name, QUEUE_NAME_MAX)):
        if not named(text) or len(text) > longest:
            rule = f"wants letters, digits, '.', '_', '-', no '.' or '-' first, at most {longest}"
            return Refused(state.index, Refusal.INVALID, f"{what}: {rule}, not {text[:NAME_LENGTH_MAX]!r}")
    if len(state.queues) >= QUEUES_MAX:
        return Refused(state.index, Refusal.LIMIT, f"the cluster has {QUEUES_MAX} queues, which is all it keeps")
    return None
