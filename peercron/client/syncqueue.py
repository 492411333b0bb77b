"""Queues for plain threads: as `Queue`, each call blocks."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from peercron.client.portal import Portal, each
from peercron.client.queue import Delivery, Item, Queue
from peercron.client.words import Duration


class SyncQueue:
    """One queue; see `Queue`.

    >>> for item in client.queue("mail").items():       # doctest: +SKIP
    ...     with item:            # acked at its end, given back where it fails
    ...         send(item.payload, fencing_token=item.token)
    """

    def __init__(self, portal: Portal, queue: Queue) -> None:
        self._portal, self._queue = portal, queue

    def put(
        self,
        payload: Any,
        *,
        key: str | None = None,
        priority: int = 0,
        delay: Duration | None = None,
        group: str | None = None,
    ) -> int:
        """See `Queue.put`."""
        return self._portal.call(self._queue.put(payload, key=key, priority=priority, delay=delay, group=group))

    def receive(
        self,
        most: int = 1,
        *,
        visibility: Duration | None = None,
        wait: Duration | None = None,
    ) -> SyncDelivery:
        """See `Queue.receive`."""
        return SyncDelivery(
            self._portal, self._portal.call(self._queue.receive(most, visibility=visibility, wait=wait))
        )

    def items(self, *, visibility: Duration | None = None) -> Iterator[SyncItem]:
        """See `Queue.items`."""
        return (SyncItem(self._portal, item) for item in each(self._portal, self._queue.items(visibility=visibility)))

    def status(self) -> dict[str, Any]:
        return self._portal.call(self._queue.status())


class SyncDelivery:
    """See `Delivery`."""

    def __init__(self, portal: Portal, delivery: Delivery) -> None:
        self._portal, self._delivery = portal, delivery
        self.token = delivery.token
        self.items = tuple(SyncItem(portal, item) for item in delivery)

    def __iter__(self) -> Iterator[SyncItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def ack(self) -> None:
        self._portal.call(self._delivery.ack())

    def nack(self, *, delay: Duration | None = None, reason: str = "") -> None:
        self._portal.call(self._delivery.nack(delay=delay, reason=reason))

    def extend(self) -> float:
        return self._portal.call(self._delivery.extend())


class SyncItem:
    """See `Item`. A thread cannot be stopped from outside: where the work is long, `check` now and then; where the item
    was lost the block ends with LeaseLost.
    """

    def __init__(self, portal: Portal, item: Item) -> None:
        self._portal, self._item = portal, item
        self.id, self.payload, self.key, self.group, self.attempts = (
            *(item.id, item.payload, item.key, item.group, item.attempts),
        )

    @property
    def token(self) -> int:
        """Give it along with what you write."""
        return self._item.token

    def check(self) -> None:
        """Raises LeaseLost where it is not ours any more, within the block."""
        self._item.check()

    def ack(self) -> None:
        self._portal.call(self._item.ack())

    def nack(self, *, delay: Duration | None = None, reason: str = "") -> None:
        self._portal.call(self._item.nack(delay=delay, reason=reason))

    def __enter__(self) -> SyncItem:
        self._portal.call(self._item.begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.call(self._item.end(error))
        self._item.settle(error)
