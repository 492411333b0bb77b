"""Claims: what may be asked of a lock, and what is said to who cannot have it."""

from __future__ import annotations

from peercron.core.apply.definition import named
from peercron.core.apply.lease import refusal_of_ttl
from peercron.core.commands import AcquireLock
from peercron.core.deadlock import deadlock
from peercron.core.limits import (
    LEASE_FORM,
    LEASE_MS_MAX,
    LOCK_DELAY_MS_MAX,
    LOCK_WAITERS_MAX,
    LOCK_WAITING_MAX,
    LOCKS_MAX,
    NAME_LENGTH_MAX,
    OWNER_LENGTH_MAX,
    PERMITS_MAX,
    REASON_LENGTH_MAX,
)
from peercron.core.lock import LockKind
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused


def refusal_of(state: ClusterState, command: AcquireLock, key: str) -> Refused | None:
    """Why nobody can have the lock like this; None: somebody can, now or later."""
    wrong = _flaw_of_words(command) or _flaw_of_bounds(command)
    if wrong:
        return Refused(state.index, Refusal.INVALID, wrong)
    claim, present = command.claim, state.locks.get(key)
    if claim.run_id:
        run = state.runs.get(claim.run_id)
        if run is None or run.live_attempt is None or run.live_attempt.token != claim.attempt:
            detail = f"token {claim.attempt} is not that of a live attempt of run {claim.run_id}"
            return Refused(state.index, Refusal.STALE_TOKEN, detail)
    if present is not None and (present.kind, present.permits) != (command.kind, command.permits):
        permits = f" of {present.permits} permits" if present.kind is LockKind.SEMAPHORE else ""
        return Refused(state.index, Refusal.CONFLICT, f"kind: lock {key} is in use as a {present.kind.value}{permits}")
    if present is None and len(state.locks) >= LOCKS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"{LOCKS_MAX} locks are in use, which is all the cluster keeps")
    if claim.ttl_ms or claim.client:
        return refusal_of_ttl(state, claim.ttl_ms or LEASE_MS_MAX, claim.client)
    return None


def _flaw_of_words(command: AcquireLock) -> str:
    for field, text in (("namespace", command.namespace), ("name", command.name)):
        if not named(text):
            return f"{field}: wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}, not {text[:99]!r}"
    claim = command.claim
    if not 0 < len(claim.owner) <= OWNER_LENGTH_MAX or not claim.owner.isprintable():
        return f"owner: wants 1 to {OWNER_LENGTH_MAX} printable characters, such as node/process/thread"
    if not 0 < len(claim.request) <= NAME_LENGTH_MAX:
        return f"request: wants 1 to {NAME_LENGTH_MAX} characters"
    return ""


def _flaw_of_bounds(command: AcquireLock) -> str:
    claim = command.claim
    if not 1 <= command.permits <= PERMITS_MAX:
        return f"permits: wants 1 to {PERMITS_MAX}"
    if command.permits > 1 and command.kind is not LockKind.SEMAPHORE:
        return f"permits: a {command.kind.value} has none; they are a semaphore's"
    if claim.shared and command.kind is not LockKind.RW:
        return f"shared: a {command.kind.value} is never shared; a rw lock is"
    if not 0 <= claim.delay_ms <= LOCK_DELAY_MS_MAX:
        return f"delay: wants 0 to {LOCK_DELAY_MS_MAX} ms"
    if not claim.ttl_ms and not claim.client and not claim.run_id:
        return f"ttl: wants {LEASE_FORM}, as the lock ends with no client session and with no attempt"
    return ""


def refusal_to_wait(state: ClusterState, command: AcquireLock, key: str) -> Refused | None:
    """Why the claim cannot stand in line; None: it can."""
    if not command.wait:
        return locked(state, key)
    member = state.members.get(command.member)
    if member is None or not member.open or member.session != command.session:
        return Refused(state.index, Refusal.NOT_READY, f"session {command.session} of {command.member} is not open")
    if len(state.lock_waiters.get(key, ())) >= LOCK_WAITERS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"{LOCK_WAITERS_MAX} wait for lock {key} already")
    if state.lock_waiting >= LOCK_WAITING_MAX:
        return Refused(state.index, Refusal.LIMIT, f"{LOCK_WAITING_MAX} wait for locks already")
    cycle = deadlock(state, key, command.claim)
    if cycle:
        return Refused(state.index, Refusal.DEADLOCK, cycle[:REASON_LENGTH_MAX])
    return None


def locked(state: ClusterState, key: str) -> Refused:
    waiting = len(state.lock_waiters.get(key, ()))
    line = f", {waiting} waiting" if waiting else ""
    return Refused(state.index, Refusal.LOCKED, f"lock {key} is taken{holders(state, key)}{line}")


def holders(state: ClusterState, key: str) -> str:
    """In brackets: the newest who holds it, and how many more do."""
    grants = [(token, grant) for token, grant in state.lock_grants.get(key, {}).items() if not grant.free_ms]
    if not grants:
        return ""
    token, grant = grants[-1]
    more = f" and {len(grants) - 1} more" if len(grants) > 1 else ""
    return f" (held by {grant.claim.owner} with token {token}{more})"
