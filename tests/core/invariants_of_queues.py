"""What must hold of queues, computed anew from their rows."""

from __future__ import annotations

from collections.abc import Iterator

from peercron.core.lease import LeaseKind
from peercron.core.run import RunState
from peercron.core.state import ClusterState


def queue_violations(state: ClusterState) -> Iterator[str]:
    for check in (_items, _deliveries, _groups, _posted):
        yield from check(state)


def _items(state: ClusterState) -> Iterator[str]:
    """Every item is in one queue, in order of arrival, and counted; nothing is named twice."""
    items = [item for table in state.items.values() for item in table.values()]
    if (state.item_count, state.item_bytes) != (len(items), sum(len(item.payload) for item in items)):
        yield "items are not counted"
    if (
        len({item.id for item in items}) < len(items)
        or max([item.place for item in items], default=0) > state.last_place
    ):
        yield "an item is in two queues, or has a place that was not given"
    for key, table in state.items.items():
        if key not in state.queues or not table or any(item.id != id_ for id_, item in table.items()):
            yield f"items of {key} are filed under a name that is not theirs"
        places = [item.place for item in table.values()]
        if places != sorted(set(places)):
            yield f"items of {key} are not in order of their places"
        unique = [item.key for item in table.values() if item.key]
        if len(set(unique)) < len(unique):
            yield f"two items of {key} have one key"
    if any(key not in state.queues or not keys for key, keys in state.done_keys.items()):
        yield "keys are remembered for a queue that is not there"


def _deliveries(state: ClusterState) -> Iterator[str]:
    """What a delivery holds says so, and has a lease."""
    held = {id_: token for token, delivery in state.deliveries.items() for id_ in delivery.items}
    if held != {item.id: item.token for table in state.items.values() for item in table.values() if item.token}:
        yield "items in flight are not those that deliveries hold"
    if any(
        not d.items or any(i not in state.items.get(d.queue, {}) for i in d.items) for d in state.deliveries.values()
    ):
        yield "a delivery holds nothing, or what is in another queue"
    leases = {id_ for id_, lease in state.leases.items() if lease.kind is LeaseKind.DELIVERY}
    runs = {run.delivery for run in state.runs.values() if run.delivery}
    if not leases <= state.deliveries.keys() <= leases | runs:
        yield "a delivery ends with no lease and with no run, or has ended before its lease"


def _groups(state: ClusterState) -> Iterator[str]:
    """Only the first of a group is in anybody's hands."""
    for key, table in state.items.items():
        seen: set[str] = set()
        for item in table.values():
            if item.group and item.group in seen and item.token:
                yield f"item {item.id} of {key} was handed out before its turn"
            seen.add(item.group)


def _posted(state: ClusterState) -> Iterator[str]:
    """An item stands for each run that waits in a queue, and no run of a job in mode queue has two of them."""
    for run in state.runs.values():
        standing = [(key, item) for key, table in state.items.items() for item in table.values() if item.key == run.id]
        if len(standing) > 1 and run.posted:
            yield f"{len(standing)} items stand for run {run.id}"
        if run.posted and not run.delivery and [key for key, _ in standing] != [run.posted]:
            yield f"run {run.id} waits in queue {run.posted}, where no item stands for it: {standing}"
        if run.posted and not run.delivery and (run.state is not RunState.QUEUED or run.not_before_ms):
            yield f"run {run.id} is in queue {run.posted} and {run.state}"
    delivered = [run.delivery for run in state.runs.values() if run.delivery]
    if len(set(delivered)) < len(delivered):
        yield "two runs work on one delivery"
