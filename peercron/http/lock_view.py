"""Locks, read: who holds one, who lost it, and who waits."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiohttp import web

from peercron.core import views
from peercron.core.lock import Claim, Grant, Waiter
from peercron.core.state import ClusterState
from peercron.http.answers import blocking_answer, in_slices
from peercron.http.asking import key_of, node_of, whole_number

LOCKS_LISTED = 1_000
LOCKS_LISTED_MAX = 10_000
#: Waiters of one lock that are shown one by one; `waiting` counts them all.
LINE_SHOWN = 100


async def list_locks(request: web.Request) -> web.Response:
    """Locks that are held or waited for; ?namespace= chooses among them."""
    node, wanted = node_of(request), request.query.get("namespace")
    limit = whole_number(request, "limit", LOCKS_LISTED, low=1, high=LOCKS_LISTED_MAX)

    async def view() -> dict[str, Any]:
        state = node.state
        keys = [key for key in state.locks if wanted is None or key.startswith(f"{wanted}/")]
        shown = (lock_view(state, key) for key in sorted(keys)[:limit])
        return {"locks": await in_slices(shown), "total": len(keys)}

    return await blocking_answer(request, view)


async def get_lock(request: web.Request) -> web.Response:
    """Who holds it and who waits, in their order; a lock that nobody wants is free."""
    node, key = node_of(request), key_of(request.match_info["namespace"], request.match_info["name"])
    return await blocking_answer(request, lambda: lock_view(node.state, key))


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
