"""Deliveries: items handed out for a time under one token, and what their receiver says of them, or does not say.

Whatever ends a delivery early (its lease, the client session that it hangs on) gives back what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from peercron.core.apply.lease import ENDS, begin_lease, drop_lease, refusal_of_ttl
from peercron.core.apply.posting import say
from peercron.core.apply.queue import bury, depart, forget, line_of, no_queue, take_out
from peercron.core.commands import AckItems, ExtendDelivery, NackItems, ReceiveItems
from peercron.core.lease import Lease, LeaseKind
from peercron.core.limits import (
    DELAY_MS_MAX,
    LEASE_FORM,
    LEASE_MS_MAX,
    LEASE_MS_MIN,
    OWNER_LENGTH_MAX,
    REASON_LENGTH_MAX,
    RECEIVED_BYTES_MAX,
    RECEIVED_MAX,
)
from peercron.core.queue import Delivery, Item, Queue
from peercron.core.run import Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

NOT_DONE_IN_TIME = "its receiver had it for as long as it was given, and said nothing"


def receive_items(state: ClusterState, command: ReceiveItems) -> Verdict:
    key = f"{command.namespace}/{command.name}"
    queue = state.queues.get(key)
    if queue is None:
        return no_queue(state, key)
    ttl_ms = command.visibility_ms or queue.visibility_ms
    refused = _flaw(state, command) or refusal_of_ttl(state, ttl_ms, command.client, "visibility")
    if refused is not None:
        return refused
    if not line_of(state, key).ready:
        return Done(state.index, None)
    lease = Lease(LeaseKind.DELIVERY, ttl_ms, command.namespace, command.name, command.client)
    assert state.index > state.last_token, "a token names one grant"
    state.last_token = hand_out(state, queue, command.most, command.owner)
    begin_lease(state, lease)
    return Done(state.index, state.last_token)


def hand_out(state: ClusterState, queue: Queue, most: int, owner: str) -> int:
    """The id of a delivery of the next items, of which there is one at least; the caller says when it ends."""
    token, line = state.index, line_of(state, queue.key)
    taken: dict[int, None] = {}
    size = 0
    while len(taken) < most and (item := line.next) is not None:
        size += len(item.payload)
        if taken and size > RECEIVED_BYTES_MAX:
            break
        line.take()
        line.items[item.id] = replace(item, token=token, attempts=item.attempts + 1)
        taken[item.id] = None
        say(state, queue.key, item, f"item {item.id} of queue {queue.key} is in the hands of {owner or 'a receiver'}")
    state.deliveries[token] = Delivery(queue.key, tuple(taken), owner, state.now_ms)
    state.touch_queue(queue.namespace, queue.name)
    return token


def ack_items(state: ClusterState, command: AckItems) -> Verdict:
    delivery = state.deliveries.get(command.token)
    if delivery is None or not _holds(delivery, command.items):
        return _superseded(state, command.token)
    _finish(state, delivery, settled(state, command.token, command.items))
    return Done(state.index, _left(state, command.token))


def nack_items(state: ClusterState, command: NackItems) -> Verdict:
    delivery = state.deliveries.get(command.token)
    if delivery is None or not _holds(delivery, command.items):
        return _superseded(state, command.token)
    if not 0 <= command.delay_ms <= DELAY_MS_MAX:
        detail = f"delay: {command.delay_ms} ms is not from 0 to {DELAY_MS_MAX}"
        return Refused(state.index, Refusal.INVALID, detail)
    items = settled(state, command.token, command.items)
    give_back(state, delivery.queue, items, command.reason, command.delay_ms, unseen=command.unseen)
    return Done(state.index, _left(state, command.token))


def extend_delivery(state: ClusterState, command: ExtendDelivery) -> Verdict:
    """The count begins anew where it is kept, as with every lease that was touched."""
    if command.token not in state.deliveries or command.token not in state.leases:
        return _superseded(state, command.token)
    if not LEASE_MS_MIN <= command.visibility_ms <= LEASE_MS_MAX:
        detail = f"visibility: wants {LEASE_FORM}, not {command.visibility_ms} ms"
        return Refused(state.index, Refusal.INVALID, detail)
    state.leases[command.token] = replace(state.leases[command.token], ttl_ms=command.visibility_ms)
    state.touch_lease(command.token)
    return Done(state.index, command.token)


def settled(state: ClusterState, token: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Take these items (none named: all) out of a delivery, which is over when it holds no more. They are returned."""
    delivery = state.deliveries[token]
    gone = dict.fromkeys(wanted or delivery.items)
    left = tuple([id_ for id_ in delivery.items if id_ not in gone])
    if left:
        state.deliveries[token] = replace(delivery, items=left)
    else:
        del state.deliveries[token]
        drop_lease(state, token)
    queue = state.queues[delivery.queue]
    state.touch_queue(queue.namespace, queue.name)
    return tuple(gone)


def give_back(
    state: ClusterState, queue_key: str, items: Iterable[int], reason: str, delay_ms: int = 0, *, unseen: bool = False
) -> None:
    """Items that no delivery holds any more wait again at their place, or are dead letters."""
    most = state.queues[queue_key].max_attempts
    for id_ in items:
        item = state.items[queue_key][id_]
        item = replace(
            item, attempts=item.attempts - int(unseen), reason=item.reason if unseen else reason[:REASON_LENGTH_MAX]
        )
        if most and item.attempts >= most and not unseen:
            state.items[queue_key][id_] = item
            bury(state, queue_key, item)
        else:
            _wait_again(state, queue_key, replace(item, token=0, not_before_ms=state.now_ms + delay_ms))


def settle_item(state: ClusterState, token: int, reason: str, *, done: bool) -> None:
    """The run that this was handed out to has ended; what became of the item by other ways meanwhile stays."""
    delivery = state.deliveries.get(token)
    if delivery is None:
        return
    items = settled(state, token, ())
    if done:
        _finish(state, delivery, items)
    else:
        give_back(state, delivery.queue, items, reason)


def part_with_item(state: ClusterState, run: Run, outcome: RunState, reason: str) -> None:
    """A run has ended, and is no live run any more: what becomes of the item that it worked on, or that stands for it.

    What stands for a run ends with it: an item is given back only as long as the run may go on (`feeding.hand_back`).
    """
    delivery = state.deliveries.get(run.delivery)
    if not run.posted:
        settle_item(state, run.delivery, reason, done=outcome is RunState.SUCCEEDED)
    elif not run.delivery:
        withdraw(state, run)
    elif delivery is not None and outcome in {RunState.SUCCEEDED, RunState.CANCELLED}:
        _finish(state, delivery, settled(state, run.delivery, ()))
    elif delivery is not None:
        for id_ in settled(state, run.delivery, ()):
            bury(state, delivery.queue, replace(state.items[delivery.queue][id_], reason=reason[:REASON_LENGTH_MAX]))


def withdraw(state: ClusterState, run: Run) -> None:
    """Take the item that stands for the run out of its queue, if it is there, and out of the hands of who has it."""
    id_ = line_of(state, run.posted).keys.get(run.id)
    if id_ is None:
        return
    items = state.items[run.posted]
    item = items[id_]
    if item.token:
        settled(state, item.token, (id_,))
        take_out(state, run.posted, item)
    else:
        del items[id_]
        state.lines.pop(run.posted)  # it may stand anywhere in it
        if not items:
            del state.items[run.posted]
    forget(state, item)
    state.touch_queue(*run.posted.split("/"))


def _finish(state: ClusterState, delivery: Delivery, items: Iterable[int]) -> None:
    for id_ in items:
        item = state.items[delivery.queue][id_]
        take_out(state, delivery.queue, item)
        forget(state, item)
        by = f" by {delivery.owner}" if delivery.owner else ""
        depart(state, delivery.queue, item, RunState.SUCCEEDED, f"its item was done{by}")


def _wait_again(state: ClusterState, queue_key: str, item: Item) -> None:
    line = line_of(state, queue_key)
    line.items[item.id] = item
    line.give_back(item, state.now_ms)
    say(state, queue_key, item, f"item {item.id} waits in queue {queue_key} again: {item.reason or 'given back'}")


def _end_delivery(state: ClusterState, token: int, _: Lease) -> None:
    delivery = state.deliveries[token]
    give_back(state, delivery.queue, settled(state, token, ()), NOT_DONE_IN_TIME)


ENDS[LeaseKind.DELIVERY] = _end_delivery


def _left(state: ClusterState, token: int) -> int:
    delivery = state.deliveries.get(token)
    return len(delivery.items) if delivery is not None else 0


def _flaw(state: ClusterState, command: ReceiveItems) -> Refused | None:
    if not 0 < command.most <= RECEIVED_MAX:
        return Refused(state.index, Refusal.INVALID, f"max: {command.most} is not from 1 to {RECEIVED_MAX}")
    if len(command.owner) > OWNER_LENGTH_MAX:
        return Refused(state.index, Refusal.INVALID, f"owner: wants at most {OWNER_LENGTH_MAX} characters")
    return None


def _holds(delivery: Delivery, items: tuple[int, ...]) -> bool:
    return all(id_ in delivery.items for id_ in items)


def _superseded(state: ClusterState, token: int) -> Refused:
    """Nothing can be said of these items under this token: it was all said, or its time is over."""
    detail = f"delivery {token} does not hold it: it was settled before, or its time was up and it was given to others"
    return Refused(state.index, Refusal.STALE_TOKEN, detail)
