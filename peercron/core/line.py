"""Line: who is next for a lock, and from when on something can be done about it."""

from __future__ import annotations

from itertools import islice

from peercron.core.lock import Claim, Lock, LockKind, Waiter, has_room
from peercron.core.state import ClusterState


def first_in_line(state: ClusterState, key: str) -> tuple[int, Waiter] | None:
    """Id and row of the waiter that nobody is before."""
    return next(iter(state.lock_waiters.get(key, {}).items()), None)


def room_for(state: ClusterState, key: str, lock: Lock, claim: Claim) -> bool:
    """Whether the claim fits beside what is granted now."""
    return has_room(lock, state.lock_grants.get(key, {}).values(), state.now_ms, shared=claim.shared)


def due_ms(state: ClusterState, key: str) -> int | None:
    """Since when (0), or from when on, a GrantLock has something to do here; None: not before something changes."""
    first = first_in_line(state, key)
    if first is not None and not first[1].is_run and room_for(state, key, state.locks[key], first[1].claim):
        return 0
    grants = state.lock_grants.get(key, {}).values()
    return min((grant.free_ms for grant in grants if grant.free_ms), default=None)


def grantable(state: ClusterState, key: str, most: int) -> int:
    """How many of the first in line can hold the lock together with those who do, given a grant each; at most `most`.

    Only where the first of them can now; else 0.
    """
    first = first_in_line(state, key)
    if first is None or first[1].is_run or not room_for(state, key, state.locks[key], first[1].claim):
        return 0
    lock, waiters = state.locks[key], state.lock_waiters[key].values()
    if lock.kind is LockKind.RW:
        shared = 0
        for waiter in islice(waiters, most):
            if not waiter.claim.shared:
                break
            shared += 1
        return max(1, shared)
    taken = sum(not grant.free_ms or grant.free_ms > state.now_ms for grant in state.lock_grants.get(key, {}).values())
    return min(most, len(waiters), lock.permits - taken)
