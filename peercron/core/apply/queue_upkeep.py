"""Upkeep of queues: their settings, their end, and what is done to all items or all dead letters of one."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply.definition import named
from peercron.core.apply.lease import drop_lease
from peercron.core.apply.queue import QUEUE_NAME_MAX, arrive, depart, forget, next_place, no_queue, refused_queue
from peercron.core.commands import DeleteQueue, PurgeQueue, PutQueue, ReplayItems
from peercron.core.limits import (
    ATTEMPTS_PER_ITEM_MAX,
    LEASE_FORM,
    LEASE_MS_MAX,
    LEASE_MS_MIN,
    NAME_LENGTH_MAX,
    REPLAYED_MAX,
)
from peercron.core.queue import Item, Queue
from peercron.core.run import RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def put_queue(state: ClusterState, command: PutQueue) -> Verdict:
    key = f"{command.namespace}/{command.name}"
    present = state.queues.get(key)
    revision = present.revision if present is not None else 0
    if command.if_revision not in (None, revision):
        return Refused(state.index, Refusal.CONFLICT, f"queue {key} is at revision {revision}")
    refused = refused_queue(state, command.namespace, command.name) or _refused_settings(state, command)
    if refused is not None:
        return refused
    queue = Queue(
        *(command.namespace, command.name, command.visibility_ms, command.max_attempts, command.dead_letters), revision
    )
    if queue != present:
        state.queues[key] = replace(queue, revision=state.index)
        state.touch_queue(command.namespace, command.name)
    return Done(state.index, state.queues[key].revision)


def delete_queue(state: ClusterState, command: DeleteQueue) -> Verdict:
    key = f"{command.namespace}/{command.name}"
    if key not in state.queues:
        return no_queue(state, key)
    if key in state.items:
        detail = f"queue {key} has {len(state.items[key])} items; purge it first"
        return Refused(state.index, Refusal.CONFLICT, detail)
    del state.queues[key]
    state.done_keys.pop(key, None)
    state.touch_queue(command.namespace, command.name)
    return Done(state.index)


def purge_queue(state: ClusterState, command: PurgeQueue) -> Verdict:
    key = f"{command.namespace}/{command.name}"
    if key not in state.queues:
        return no_queue(state, key)
    items = state.items.pop(key, {})
    state.lines.pop(key, None)
    for item in items.values():
        forget(state, item)
        if state.deliveries.pop(item.token, None) is not None:
            drop_lease(state, item.token)
        depart(state, key, item, RunState.CANCELLED, f"queue {key} was purged")
    state.touch_queue(command.namespace, command.name)
    return Done(state.index, len(items))


def replay_items(state: ClusterState, command: ReplayItems) -> Verdict:
    """They come back as if they had just been put: at the end, with all their attempts before them."""
    key = f"{command.namespace}/{command.name}"
    queue = state.queues.get(key)
    if queue is None:
        return no_queue(state, key)
    if not 0 < command.most <= REPLAYED_MAX:
        return Refused(state.index, Refusal.INVALID, f"max: wants 1 to {REPLAYED_MAX}, not {command.most}")
    grave_key = f"{queue.namespace}/{queue.dead_letter_name}"
    letters = [item for item in state.items.get(grave_key, {}).values() if item.origin == key and not item.token]
    letters = letters[: command.most]
    _dig_up(state, grave_key, letters)
    for item in letters:
        place = next_place(state)
        arrive(state, queue, replace(item, place=place, attempts=0, not_before_ms=0, origin="", reason=""))
    return Done(state.index, len(letters))


def _dig_up(state: ClusterState, grave_key: str, letters: list[Item]) -> None:
    """Take items that wait out of a queue. Its line is thrown away: they may stand anywhere in it."""
    if not letters:
        return
    gone = {item.id: None for item in letters}
    rest = {id_: item for id_, item in state.items.pop(grave_key).items() if id_ not in gone}
    if rest:
        state.items[grave_key] = rest
    state.touch_queue(*grave_key.split("/"))


def _refused_settings(state: ClusterState, command: PutQueue) -> Refused | None:
    flaw, dead = "", command.dead_letters
    if not LEASE_MS_MIN <= command.visibility_ms <= LEASE_MS_MAX:
        flaw = f"visibility: wants {LEASE_FORM}, not {command.visibility_ms} ms"
    elif not 0 <= command.max_attempts <= ATTEMPTS_PER_ITEM_MAX:
        flaw = f"max_attempts: {command.max_attempts} is not from 0 (no limit) to {ATTEMPTS_PER_ITEM_MAX}"
    elif dead and (not named(dead) or len(dead) > QUEUE_NAME_MAX or dead == command.name):
        flaw = f"dead_letters: wants the name of another queue of the namespace, not {dead[:NAME_LENGTH_MAX]!r}"
    return Refused(state.index, Refusal.INVALID, flaw) if flaw else None
