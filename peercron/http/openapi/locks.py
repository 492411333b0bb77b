"""Locks: mutexes, semaphores and read/write locks, held by a token that grows for ever."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from peercron.core.limits import LOCK_DELAY_MS_MAX, OWNER_LENGTH_MAX, PERMITS_MAX
from peercron.core.lock import LockKind
from peercron.http.lock_view import LOCKS_LISTED, LOCKS_LISTED_MAX
from peercron.http.openapi.operation import Content, Operation
from peercron.http.openapi.parameters import text, whole
from peercron.http.openapi.shape import (
    IN_NAMESPACE,
    PRINTABLE,
    Count,
    Duration,
    Instant,
    Key,
    Life,
    Number,
    Seconds,
    Shape,
    Span,
)


class Holder(Shape):
    """Who holds a lock.

    shared: of a read/write lock: it reads
    ttl_ms: it lives so long without being renewed; null: as long as its session or its run
    client: the session with which it ends
    run: the run with whose attempt it ends
    """

    token: Number
    since: Instant
    owner: str
    shared: bool
    ttl_ms: Number | None
    client: Number | None
    run: str | None


class LostHolder(Holder, kw_only=True):
    """Who has lost a lock that is not free for others yet."""

    free_at: Instant


class Waiter(Shape):
    """Who waits for a lock.

    node: the node that it asked
    """

    since: Instant
    node: str
    owner: str
    shared: bool
    ttl_ms: Number | None
    client: Number | None
    run: str | None


class LockView(Shape):
    """Who holds a lock and who waits for it.

    kind: null: nobody wants it
    lost: who has lost it while it is not free for others yet
    waiting: how many wait
    line: the first of them
    """

    namespace: str
    name: str
    kind: LockKind | None
    permits: Number | None
    holders: list[Holder]
    lost: list[LostHolder]
    waiting: Count
    line: list[Waiter]


class LockList(Shape):
    """Locks that are held or waited for, in order of name.

    total: how many there are without limit
    """

    locks: list[LockView]
    total: Count


Delay = Duration | Annotated[float, Meta(ge=0, le=LOCK_DELAY_MS_MAX / 1_000, description="seconds")]


class AcquireBody(Shape):
    """Who wants the lock, and how.

    owner: who says so, for people: node/process/thread
    ttl: how long it lives without being renewed; with client or run none is needed
    wait: how long to stand in line
    kind: what kind of lock it is; as shared and permits say
    permits: of a semaphore: how many may hold it
    shared: of a read/write lock: to read
    delay: how long its place stays taken if it is lost
    request: whoever asks again with the same is given the same
    client: the session with which it ends
    run: the run with whose attempt it ends
    attempt: the fencing token of that
    """

    owner: Annotated[str, Meta(min_length=1, max_length=OWNER_LENGTH_MAX, pattern=PRINTABLE)]
    ttl: Life | None = "30s"
    wait: Span | None = "0s"
    kind: LockKind | None = None
    permits: Annotated[int, Meta(ge=1, le=PERMITS_MAX)] = 1
    shared: bool = False
    delay: Delay | None = "500ms"
    request: str | None = None
    client: Count = 0
    run: str | None = None
    attempt: Count = 0


class TokenBody(Shape):
    """The token that holds it."""

    token: Number


class Granted(Shape):
    """It is held.

    token: give it to whatever is written to, which refuses smaller ones
    expires_in: seconds, counted from when the request was SENT; null: as long as its session or its run
    """

    lock: Key
    token: Number
    expires_in: Seconds | None


class Released(Shape):
    """It is free for the next one."""

    lock: Key
    released: Number


class Fence(Shape):
    """Whether a token is stale.

    current: the newest token that holds it; null: none does
    """

    lock: str
    current: Number | None
    token: Count | UnsetType = UNSET
    stale: bool | UnsetType = UNSET


_ACQUIRE: Final = Content(AcquireBody, example={"owner": "batch/17", "ttl": "30s", "wait": "10s"})
_LOCK = "/v1/locks/{namespace}/{name}"
OPERATIONS: Final = {
    "GET /v1/locks": Operation(
        "listLocks",
        {200: LockList},
        parameters={"limit": whole("at most so many", low=1, high=LOCKS_LISTED_MAX, usual=LOCKS_LISTED)},
    ),
    f"GET {_LOCK}": Operation("getLock", {200: LockView}),
    f"POST {_LOCK}:acquire": Operation(
        "acquireLock",
        {200: Granted},
        body=_ACQUIRE,
        of_run=False,
    ),
    f"POST {_LOCK}:renew": Operation("renewLock", {200: Granted}, body=TokenBody),
    f"POST {_LOCK}:release": Operation("releaseLock", {200: Released}, body=TokenBody),
    "GET /v1/fence/{name}": Operation(
        "checkFence",
        {200: Fence},
        refuses=frozenset({422}),
        parameters={
            "name": text("a lock: its name in namespace default, or namespace/name", pattern=f"^{IN_NAMESPACE}$"),
            "token": whole("the token that is asked about"),
        },
    ),
}
