"""SyncClient: the same cluster for plain threads: every call blocks its own thread, and no other.

Nothing is done here: each class is the face of one of `Client`'s, in whose event loop, in a thread of its own, all is
done; arguments, answers and errors are those of the method of the same name.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from peercron.client.client import Client
from peercron.client.jobs import Jobs
from peercron.client.lock import Lock
from peercron.client.portal import Block, Portal, Twin, arguments_of, blocking, each, facing, iterating
from peercron.client.queue import Delivery, Item, Queue
from peercron.client.state import State
from peercron.client.words import Duration
from peercron.errors import PeercronError


class SyncState(Twin[State]):
    """See `State`."""

    get = blocking(State.get)
    entry = blocking(State.entry)
    put = blocking(State.put)
    cas = blocking(State.cas)
    incr = blocking(State.incr)
    delete = blocking(State.delete)
    list = blocking(State.list)
    watch = iterating(State.watch)


class SyncJobs(Twin[Jobs]):
    """See `Jobs`."""

    list = blocking(Jobs.list)
    get = blocking(Jobs.get)
    put = blocking(Jobs.put)
    delete = blocking(Jobs.delete)
    pause = blocking(Jobs.pause)
    resume = blocking(Jobs.resume)
    run = blocking(Jobs.run)
    runs = blocking(Jobs.runs)
    find_run = blocking(Jobs.find_run)
    cancel = blocking(Jobs.cancel)
    retry = blocking(Jobs.retry)
    wait = blocking(Jobs.wait)


class SyncLock(Block[Lock]):
    """One lock, held inside the block. A thread cannot be stopped from outside: where the work is long, `check` now and
    then, or let `on_lost` set an Event that it looks at; where it was lost the block ends with LeaseLost.

    >>> with client.lock("reports/db") as lock:                         # doctest: +SKIP
    ...     for page in pages:
    ...         lock.check()
    ...         write(page, fencing_token=lock.token)
    """

    acquire = blocking(Lock.acquire)
    release = blocking(Lock.release)

    @property
    def token(self) -> int:
        """Grows with every grant of every lock, for ever."""
        return self._inner.token

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return self._inner.held

    @property
    def lost(self) -> str:
        """Why it was lost; empty: it was not."""
        return self._inner.lost

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        self._inner.check()


class SyncItem(Block[Item]):
    """See `Item`. A thread cannot be stopped from outside: where the work is long, `check` now and then; where the item
    was lost the block ends with LeaseLost.
    """

    ack = blocking(Item.ack)
    nack = blocking(Item.nack)
    extend = blocking(Item.extend)

    def __init__(self, portal: Portal, item: Item) -> None:
        super().__init__(portal, item)
        self.id, self.payload, self.key, self.group = item.id, item.payload, item.key, item.group
        self.attempts = item.attempts
        #: Give it along with what you write.
        self.token = item.token

    def check(self) -> None:
        """Raises LeaseLost where it is not ours any more, within the block."""
        self._inner.check()


class SyncDelivery(Twin[Delivery]):
    """See `Delivery`."""

    ack = blocking(Delivery.ack)
    nack = blocking(Delivery.nack)
    extend = blocking(Delivery.extend)

    def __init__(self, portal: Portal, delivery: Delivery) -> None:
        super().__init__(portal, delivery)
        self.token = delivery.token
        self.items = tuple(SyncItem(portal, item) for item in delivery)

    def __iter__(self) -> Iterator[SyncItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class SyncQueue(Twin[Queue]):
    """One queue; see `Queue`.

    >>> for item in client.queue("mail").items():       # doctest: +SKIP
    ...     with item:            # acked at its end, given back where it fails
    ...         send(item.payload, fencing_token=item.token)
    """

    put = blocking(Queue.put)
    status = blocking(Queue.status)

    def receive(
        self, most: int = 1, *, visibility: Duration | None = None, wait: Duration | None = None
    ) -> SyncDelivery:
        """See `Queue.receive`."""
        taken = self._portal.call(self._inner.receive(most, visibility=visibility, wait=wait))
        return SyncDelivery(self._portal, taken)

    def items(self, *, visibility: Duration | None = None) -> Iterator[SyncItem]:
        """See `Queue.items`."""
        return (SyncItem(self._portal, item) for item in each(self._portal, self._inner.items(visibility=visibility)))


class SyncClient(Block[Client]):
    """`Client` for programs without an event loop. It may be used by any number of threads at once, not across a fork.

    >>> with SyncClient("http://a:8400,http://b:8400") as client:             # doctest: +SKIP
    ...     client.state.put("stock", 7)
    ...     with client.lock("reports/db", wait="10s") as lock:
    ...         write_report(fencing_token=lock.token)

    The owner of a lock says which thread has it: "host/pid/Thread-2". A program that comes to its end without `close`,
    also by an exception, gives back then what it holds; one that is killed has it for `session_ttl` yet. Arguments as
    of `Client`.
    """

    lock = facing(Client.lock, SyncLock)
    queue = facing(Client.queue, SyncQueue)
    status = blocking(Client.status)
    events = iterating(Client.events)

    @arguments_of(Client)
    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(Portal(), Client(*given, **named))
        self.label = self._inner.label
        self.state = SyncState(self._portal, self._inner.state)
        self.jobs = SyncJobs(self._portal, self._inner.jobs)
        atexit.register(self._at_exit)

    def close(self) -> None:
        """Give back what is held, close the connections, and end the thread behind them."""
        atexit.unregister(self._at_exit)
        try:
            self._portal.call(self._inner.close())
        finally:
            self._portal.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at_exit(self) -> None:
        # A process that was forked ends here too, and has nothing of ours. RuntimeError: the interpreter starts no
        # threads any more, which looking up a host needs. Then the session's own time frees what it holds.
        with suppress(PeercronError, RuntimeError):
            self.close()
