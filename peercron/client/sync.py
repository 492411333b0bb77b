"""SyncClient: the same cluster for plain threads: every call blocks its own thread, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from peercron.client.client import Client
from peercron.client.jobs import Json, Rows
from peercron.client.lock import Lock
from peercron.client.portal import Portal, each
from peercron.client.state import Change, Entry, Listing
from peercron.client.syncqueue import SyncQueue
from peercron.client.words import DEFAULT_NAMESPACE, Duration
from peercron.errors import LeaseLost


class SyncClient:
    """`Client` for programs without an event loop. It may be used by any number of threads at once, not across a fork.

    >>> with SyncClient("http://a:8400,http://b:8400") as client:             # doctest: +SKIP
    ...     client.state.put("stock", 7)
    ...     with client.lock("reports/db", ttl="30s", wait="10s") as lock:
    ...         write_report(fencing_token=lock.token)

    The owner of a lock is written label/thread: "host/pid/Thread-2". Arguments as of `Client`.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        token: str | None = None,
        label: str | None = None,
        timeout: Duration = "5s",
        ca_file: str | None = None,
        attempt: tuple[str, int] | None = None,
    ) -> None:
        self._client = Client(addresses, token=token, label=label, timeout=timeout, ca_file=ca_file, attempt=attempt)
        self._portal = Portal()
        self.label = self._client.label
        self.state = SyncState(self._portal, self._client)
        self.jobs = SyncJobs(self._portal, self._client)

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread behind them."""
        self._portal.call(self._client.close())
        self._portal.close()

    def status(self) -> Json:
        """See `Client.status`."""
        return self._portal.call(self._client.status())

    def lock(
        self,
        name: str,
        *,
        ttl: Duration = "30s",
        wait: Duration | None = None,
        kind: str | None = None,
        permits: int = 1,
        shared: bool = False,
        owner: str | None = None,
    ) -> SyncLock:
        """A lock, to be held in a `with` block; see `SyncLock`, and `Client.lock` for the arguments."""
        owner = owner or f"{self.label}/{threading.current_thread().name}"
        more = {"ttl": ttl, "wait": wait, "kind": kind, "permits": permits, "shared": shared, "owner": owner}
        return SyncLock(self._portal, self._client.lock(name, **more))  # type: ignore[arg-type]

    def queue(self, name: str, *, owner: str | None = None) -> SyncQueue:
        """See `Client.queue`; the owner is label/thread."""
        owner = owner or f"{self.label}/{threading.current_thread().name}"
        return SyncQueue(self._portal, self._client.queue(name, owner=owner))


class SyncLock:
    """One lock, held inside the block and renewed behind it. A thread cannot be stopped from outside: where the work is
    long, `check` now and then; where it was lost the block ends with LeaseLost.

    >>> with client.lock("reports/db") as lock:                         # doctest: +SKIP
    ...     for page in pages:
    ...         lock.check()
    ...         write(page, fencing_token=lock.token)
    """

    def __init__(self, portal: Portal, lock: Lock) -> None:
        self._portal, self._lock = portal, lock

    @property
    def token(self) -> int:
        """Grows with every grant of every lock, for ever."""
        return self._lock.token

    @property
    def held(self) -> bool:
        """Whether it is ours at this very moment, as far as our clock can tell."""
        return self._lock.held

    def check(self) -> None:
        """Raises LeaseLost unless it is held at this very moment."""
        self._lock.check()

    def acquire(self) -> int:
        """See `Lock.acquire`."""
        return self._portal.call(self._lock.acquire())

    def release(self) -> None:
        """See `Lock.release`."""
        self._portal.call(self._lock.release())

    def __enter__(self) -> SyncLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        if self._lock.lost and error is None:
            raise LeaseLost(self._lock.lost)


class SyncState:
    """See `State`."""

    def __init__(self, portal: Portal, client: Client) -> None:
        self._portal, self._state = portal, client.state

    def get(self, key: str, default: Any = None, *, stale: bool = False) -> Any:
        return self._portal.call(self._state.get(key, default, stale=stale))

    def entry(self, key: str, *, stale: bool = False) -> Entry | None:
        return self._portal.call(self._state.entry(key, stale=stale))

    def put(self, key: str, value: Any, *, ttl: Duration | None = None, if_revision: int | None = None) -> int:
        return self._portal.call(self._state.put(key, value, ttl=ttl, if_revision=if_revision))

    def cas(self, key: str, value: Any, if_revision: int, *, ttl: Duration | None = None) -> int:
        return self._portal.call(self._state.cas(key, value, if_revision, ttl=ttl))

    def incr(self, key: str, by: int = 1, *, ttl: Duration | None = None) -> int:
        return self._portal.call(self._state.incr(key, by, ttl=ttl))

    def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        return self._portal.call(self._state.delete(key, if_revision=if_revision))

    def list(self, prefix: str = "", *, namespace: str = DEFAULT_NAMESPACE, stale: bool = False) -> Listing:
        return self._portal.call(self._state.list(prefix, namespace=namespace, stale=stale))

    def watch(
        self, prefix: str = "", *, after: int | None = None, namespace: str = DEFAULT_NAMESPACE
    ) -> Iterator[Change]:
        """See `State.watch`. The next change is waited for by the thread that asks for it."""
        return each(self._portal, self._state.watch(prefix, after=after, namespace=namespace))


class SyncJobs:
    """See `Jobs`."""

    def __init__(self, portal: Portal, client: Client) -> None:
        self._portal, self._jobs = portal, client.jobs

    def list(self, *, namespace: str | None = None, owner: str | None = None) -> Rows:
        return self._portal.call(self._jobs.list(namespace=namespace, owner=owner))

    def get(self, name: str) -> Json:
        return self._portal.call(self._jobs.get(name))

    def put(self, name: str, definition: Mapping[str, Any] | None = None, /, **more: Any) -> Json:
        return self._portal.call(self._jobs.put(name, definition, **more))

    def delete(self, name: str) -> bool:
        return self._portal.call(self._jobs.delete(name))

    def pause(self, name: str) -> Json:
        return self._portal.call(self._jobs.pause(name))

    def resume(self, name: str) -> Json:
        return self._portal.call(self._jobs.resume(name))

    def run(self, name: str, params: Mapping[str, str] | None = None, *, wait: Duration | None = None) -> Json:
        return self._portal.call(self._jobs.run(name, params, wait=wait))

    def runs(self, name: str, *, limit: int = 100) -> Rows:
        return self._portal.call(self._jobs.runs(name, limit=limit))

    def find_run(self, run_id: str) -> Json:
        return self._portal.call(self._jobs.find_run(run_id))

    def cancel(self, run_id: str) -> Json:
        return self._portal.call(self._jobs.cancel(run_id))

    def wait(self, run_id: str, wait: Duration) -> Json:
        return self._portal.call(self._jobs.wait(run_id, wait))
