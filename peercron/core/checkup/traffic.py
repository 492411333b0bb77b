"""Queues that nobody empties, what was given up in them, and locks that are held or waited for unusually long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from peercron.core.checkup.finding import Finding, called, note, span, warning
from peercron.core.queue import Queue, oldest_ms
from peercron.core.state import ClusterState

#: Whoever put an item there expected it to be done by now.
ITEM_OLD_MS: Final = 3_600_000
#: How long a lock may be held while others wait, and while nobody does.
HELD_WANTED_MS: Final = 3_600_000
HELD_LONG_MS: Final = 24 * 3_600_000
LINE_LONG: Final = 100


def of_queues(state: ClusterState, now_ms: int) -> Iterator[Finding]:
    """Old items, and dead letters. A queue of dead letters is no queue that somebody is to empty."""
    queues = tuple(state.queues.values())
    graves = {f"{queue.namespace}/{queue.dead_letter_name}": None for queue in queues}
    for queue in queues:
        if queue.key not in graves:
            yield from _old(state, queue, now_ms)
        yield from _dead(state, queue)


def of_lock(state: ClusterState, key: str, now_ms: int) -> Iterator[Finding]:
    """Who holds one lock, and how many wait for it."""
    waiting = len(state.lock_waiters.get(key, ()))
    see = f"peercron lock show {called(key)}"
    if waiting >= LINE_LONG:
        yield warning("lock_line", f"lock {key}", f"{waiting} wait for it", see)
    for token, grant in state.lock_grants.get(key, {}).items():
        held_ms = now_ms - grant.granted_ms
        what = f"held for {span(held_ms)} by {grant.claim.owner}"
        if waiting and held_ms >= HELD_WANTED_MS:
            free = f"{see}; to take it from its holder: peercron lock release {called(key)} {token}"
            yield warning("lock_held", f"lock {key}", f"{what}, while {waiting} wait", free)
        elif held_ms >= HELD_LONG_MS:
            yield note("lock_held", f"lock {key}", what, see)


def _old(state: ClusterState, queue: Queue, now_ms: int) -> Iterator[Finding]:
    since_ms = oldest_ms(state.items.get(queue.key, {}).values(), now_ms)
    if since_ms is not None and now_ms - since_ms >= ITEM_OLD_MS:
        items = len(state.items[queue.key])
        what = f"{items} items, of which the first has been there for {span(now_ms - since_ms)}"
        advice = f"are there consumers, and do they keep up? peercron queue peek {called(queue.key)}"
        yield warning("queue_old", f"queue {queue.key}", what, advice)


def _dead(state: ClusterState, queue: Queue) -> Iterator[Finding]:
    grave = f"{queue.namespace}/{queue.dead_letter_name}"
    dead = state.items.get(grave, {})
    if dead and grave != queue.key:
        last = next(reversed(dead.values()))
        what = f"{len(dead)} items were given up; the last one: {last.reason or 'handed out too often'}"
        advice = f"peercron queue peek {called(grave)}, then peercron queue replay {called(queue.key)}"
        yield warning("dead_letters", f"queue {queue.key}", what, advice)
