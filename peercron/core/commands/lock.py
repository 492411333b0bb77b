"""Locks."""

from __future__ import annotations

from dataclasses import dataclass

from peercron.core.lock import Claim, LockKind


@dataclass(frozen=True, slots=True)
class AcquireLock:
    """Hold the lock, or stand in its line. The answer is the token (a number), or the id of the waiter (as text).

    Again with the same `claim.request` is the same claim: it answers the grant that there is, or keeps the place.
    """

    namespace: str
    name: str
    claim: Claim
    #: Stand in line where there is no room; else that is refused (locked).
    wait: bool = False
    kind: LockKind = LockKind.MUTEX
    permits: int = 1
    #: The member that will tell the waiter, and its session.
    member: str = ""
    session: int = 0


@dataclass(frozen=True, slots=True)
class GrantLock:
    """The leader found a lock with room for the first in its line, or a lost place whose delay is over."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ReleaseLock:
    """Its holder is done. A token that is not in force is refused (stale_token)."""

    namespace: str
    name: str
    token: int


@dataclass(frozen=True, slots=True)
class ForsakeLock:
    """Nobody waits as this waiter any more, unless it was asked for again after `served`.

    If it was granted meanwhile, the answer is the token; with `release` that is given back too, and the answer is 0.
    """

    namespace: str
    name: str
    waiter: int
    served: int
    release: bool = False
