"""Lock: mutual exclusion between programs of all servers: what is asked for, what is held, and who stands in line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class LockKind(StrEnum):
    """Who may hold it at the same time."""

    MUTEX = "mutex"  # one
    SEMAPHORE = "semaphore"  # as many as it has permits
    RW = "rw"  # one that writes, or any number of those that read (shared)


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock is while somebody holds it or stands in its line. A lock that nobody wants is no row at all."""

    kind: LockKind = LockKind.MUTEX
    permits: int = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody asks of a lock, and goes on to hold."""

    #: "node/process/thread", for people and for the search for deadlocks.
    owner: str
    #: How long a grant lives without a renewal; 0: as long as its client session or its attempt.
    ttl_ms: int
    #: Chosen by who asks: the same once more is the same claim and no second one.
    request: str
    shared: bool = False
    #: After a loss (not after a release) the place stays taken for so long.
    delay_ms: int = 0
    #: Id of the client session that it ends with; 0: of none.
    client: int = 0
    #: Run and token of the attempt that it ends with; empty, 0: of none.
    run_id: str = ""
    attempt: int = 0

    @property
    def who(self) -> str:
        """Who waits and holds as one: a run with all that its processes ask for, or else the owner."""
        return f"run {self.run_id}" if self.run_id else self.owner


@dataclass(frozen=True, slots=True)
class Grant:
    """One place in a lock. Its token, the key in `ClusterState.lock_grants`, is the index of the command that gave it,
    and the id of its lease if it has one.
    """

    claim: Claim
    granted_ms: int
    #: Index of the last AcquireLock that asked for it.
    served: int
    #: Id of the waiter that it was granted to; 0: to nobody who had to wait.
    waiter: int = 0
    #: It was lost, and its place is free from this instant on; 0: it is in force.
    free_ms: int = 0


@dataclass(frozen=True, slots=True)
class Waiter:
    """One place in the line of a lock. Its id, the key in `ClusterState.lock_waiters`, is the index of its command."""

    claim: Claim
    since_ms: int
    #: Index of the last AcquireLock that asked for it.
    served: int
    #: Session of the member that will tell who asked; it leaves the line with it.
    member: str = ""
    session: int = 0

    @property
    def is_run(self) -> bool:
        """Whether it is a run that waits for the lock of its job, and is granted it with its attempt."""
        return bool(self.claim.run_id) and not self.claim.attempt


def has_room(lock: Lock, grants: Iterable[Grant], now_ms: int, *, shared: bool) -> bool:
    """Whether one more can hold the lock beside these; those that were lost and whose delay is over count no more.

    >>> has_room(Lock(LockKind.SEMAPHORE, 2), [Grant(Claim("a", 1_000, "r"), 0, 1)], 0, shared=False)
    True
    """
    taken = [grant for grant in grants if not grant.free_ms or grant.free_ms > now_ms]
    if lock.kind is LockKind.RW and shared:
        return all(grant.claim.shared for grant in taken)
    return len(taken) < lock.permits
