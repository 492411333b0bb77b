"""Lock JSON: who holds a lock, who lost it, and who waits."""

from __future__ import annotations

from itertools import islice
from typing import Any

from peercron.core import views
from peercron.core.lock import Claim, Grant, Waiter
from peercron.core.state import ClusterState

#: Waiters of one lock that are shown one by one; `waiting` counts them all.
LINE_SHOWN = 100


def lock_view(state: ClusterState, key: str) -> dict[str, Any]:
    """Lock JSON."""
    namespace, _, name = key.partition("/")
    lock, grants, waiters = state.locks.get(key), state.lock_grants.get(key, {}), state.lock_waiters.get(key, {})
    return {
        "namespace": namespace,
        "name": name,
        "kind": lock.kind.value if lock else None,
        "permits": lock.permits if lock else None,
        "holders": [_holder(token, grant) for token, grant in grants.items() if not grant.free_ms],
        # Lost by their holders, and not yet free for others.
        "lost": [
            _holder(token, grant) | {"free_at": views.instant(grant.free_ms)}
            for token, grant in grants.items()
            if grant.free_ms
        ],
        "waiting": len(waiters),
        "line": [_waiter(state, waiter) for waiter in islice(waiters.values(), LINE_SHOWN)],
    }


def _holder(token: int, grant: Grant) -> dict[str, Any]:
    return {"token": token, "since": views.instant(grant.granted_ms)} | _claim(grant.claim)


def _waiter(state: ClusterState, waiter: Waiter) -> dict[str, Any]:
    member = state.members.get(waiter.member)
    served = member.info.name if member else waiter.member
    return {"since": views.instant(waiter.since_ms), "node": served} | _claim(waiter.claim)


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "owner": claim.owner,
        "shared": claim.shared,
        "ttl_ms": claim.ttl_ms or None,
        "client": claim.client or None,
        "run": claim.run_id or None,
    }
