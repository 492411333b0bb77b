"""client: what a run in a LocalCluster has as `ctx.client`: shared state, locks and queues, by the core's commands."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from peercron.client.words import Duration, as_json, key_parts, name_parts, seconds
from peercron.core.commands import (
    AcquireLock,
    Command,
    DeleteKey,
    ForsakeLock,
    IncrKey,
    PutItem,
    PutKey,
    ReleaseLock,
)
from peercron.core.lock import Claim, Lock, LockKind
from peercron.core.state import ClusterState, Key
from peercron.core.verdict import Done
from peercron.errors import Refused
from peercron.jobs import Facts


class Place(Protocol):
    """The cluster as its runs see it."""

    state: ClusterState

    def do(self, command: Command) -> Done:
        """Apply a command. Raises Refused."""
        ...

    async def changed(self) -> None:
        """Returns when some other command has been applied."""
        ...


class LocalState:
    """See `peercron.client.state.State`; there is no `watch`."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def get(self, key: str, default: Any = None, *, stale: bool = False) -> Any:
        found = self._find(key)
        return default if found is None else _read(found.value)

    async def entry(self, key: str, *, stale: bool = False) -> Any:
        from peercron.client.state import Entry

        found = self._find(key)
        return None if found is None else Entry(key, _read(found.value), found.revision)

    async def put(self, key: str, value: Any, *, ttl: Duration | None = None, if_revision: int | None = None) -> int:
        content = value if isinstance(value, bytes) else as_json(value, "value")
        done = self._place.do(PutKey(*key_parts(key), content, if_revision, _ms(ttl)))
        return int(done.value or 0)

    async def cas(self, key: str, value: Any, if_revision: int, *, ttl: Duration | None = None) -> int:
        return await self.put(key, value, ttl=ttl, if_revision=if_revision)

    async def incr(self, key: str, by: int = 1, *, ttl: Duration | None = None) -> int:
        return int(self._place.do(IncrKey(*key_parts(key), by, _ms(ttl))).value or 0)

    async def delete(self, key: str, *, if_revision: int | None = None) -> bool:
        try:
            self._place.do(DeleteKey(*key_parts(key), if_revision))
        except Refused as refused:
            if refused.code == "not_found":
                return False
            raise
        return True

    def _find(self, key: str) -> Key | None:
        namespace, name = key_parts(key)
        return self._place.state.keys.get(namespace, {}).get(name)


class LocalLock:
    """See `peercron.client.lock.Lock`. It ends with its attempt, whatever its ttl."""

    def __init__(self, place: Place, node: str, name: str, wait: Duration | None, claim: Claim, lock: Lock) -> None:
        self._place, self._node, self._wait = place, node, wait
        self._claim, self._lock = claim, lock
        self._namespace, self._name = name_parts("lock", name)
        self.token = 0

    @property
    def held(self) -> bool:
        return self.token in self._place.state.lock_grants.get(f"{self._namespace}/{self._name}", {})

    async def acquire(self) -> int:
        member = self._place.state.members[self._node]
        wanted = AcquireLock(
            self._namespace,
            self._name,
            self._claim,
            wait=True,
            kind=self._lock.kind,
            permits=self._lock.permits,
            member=member.info.id,
            session=member.session,
        )
        done = self._place.do(wanted)
        try:
            async with asyncio.timeout(None if self._wait is None else seconds(self._wait)):
                while not self._granted():
                    await self._place.changed()
        except TimeoutError:
            self._place.do(ForsakeLock(self._namespace, self._name, int(done.value or 0), done.index))
            raise Refused("locked", f"lock {self._name} did not come free within {self._wait}") from None
        self.token = self._granted()
        return self.token

    def _granted(self) -> int:
        """The token; 0: it has none yet."""
        key = f"{self._namespace}/{self._name}"
        known = self._place.state.lock_requests.get(key, {}).get(self._claim.request, 0)
        return known if known in self._place.state.lock_grants.get(key, {}) else 0

    async def release(self) -> None:
        if self.held:
            self._place.do(ReleaseLock(self._namespace, self._name, self.token))

    async def __aenter__(self) -> LocalLock:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class LocalQueue:
    """See `peercron.client.queue.Queue`; here runs only put: what is there is read off `LocalCluster.queued`."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, (self._namespace, self._name) = place, name_parts("queue", name)

    async def put(
        self,
        payload: Any,
        *,
        key: str | None = None,
        priority: int = 0,
        delay: Duration | None = None,
        group: str | None = None,
    ) -> int:
        binary = isinstance(payload, bytes)
        content = payload if isinstance(payload, bytes) else as_json(payload, "payload")
        more = {"priority": priority, "group": group or "", "delay_ms": _ms(delay)}
        item = PutItem(self._namespace, self._name, content, binary, key or "", **more)  # type: ignore[arg-type]
        return int(self._place.do(item).value or 0)


class LocalClient:
    """See `peercron.Client`: its shared state, its locks, and what puts into queues."""

    def __init__(self, place: Place, facts: Facts) -> None:
        self._place, self._facts = place, facts
        self._requests = itertools.count(1)
        self.state = LocalState(place)

    def queue(self, name: str, *, owner: str | None = None) -> LocalQueue:
        return LocalQueue(self._place, name)

    def lock(
        self,
        name: str,
        *,
        ttl: Duration | None = None,
        wait: Duration | None = None,
        kind: str | None = None,
        permits: int = 1,
        shared: bool = False,
        owner: str | None = None,
        on_lost: Callable[[str], object] | None = None,
    ) -> LocalLock:
        facts = self._facts
        request = f"{facts.run_id} {facts.token} {next(self._requests)}"
        claim = Claim(
            owner or f"{facts.node}/{facts.job}", 0, request, shared, run_id=facts.run_id, attempt=facts.token
        )
        lock = Lock(LockKind(kind or _kind(permits, shared)), permits)
        return LocalLock(self._place, facts.node, name, wait, claim, lock)


class Plainly:
    """The same for a thread: whatever answers a coroutine is waited for, and `async with` becomes `with`."""

    def __init__(self, inner: Any, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._inner, self._wait = inner, wait

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return Plainly(found, self._wait) if isinstance(found, LocalState) else found

        def call(*given: Any, **named: Any) -> Any:
            answer = found(*given, **named)
            if isinstance(answer, LocalLock | LocalQueue):
                return Plainly(answer, self._wait)
            return self._wait(answer) if asyncio.iscoroutine(answer) else answer

        return call

    def __enter__(self) -> Plainly:
        self._wait(self._inner.__aenter__())
        return self

    def __exit__(self, *how: object) -> None:
        self._wait(self._inner.__aexit__(*how))


def _kind(permits: int, shared: bool) -> LockKind:
    if shared:
        return LockKind.RW
    return LockKind.MUTEX if permits == 1 else LockKind.SEMAPHORE


def _ms(ttl: Duration | None) -> int:
    return 0 if ttl is None else round(seconds(ttl) * 1_000)


def _read(value: bytes) -> Any:
    try:
        return json.loads(value, parse_constant=_no_json)
    except ValueError:
        return value


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is none")
