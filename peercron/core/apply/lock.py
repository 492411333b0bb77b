"""Locks: strictly first come, first served; every grant has an end, a token, and a command of its own.

A claim is granted at once where there is room and nobody waits, else it stands in line. Whenever something goes, the
first in line is granted in the same command, if that has not granted already; the leader's planner proposes a GrantLock
for whoever else has room (more readers, more permits), and when the delay after a loss is over.
"""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply.claim import holders, locked, refusal_of, refusal_to_wait
from peercron.core.apply.lease import CLIENT_ENDS, ENDS, begin_lease, drop_lease
from peercron.core.commands import AcquireLock, ForsakeLock, GrantLock, ReleaseLock
from peercron.core.lease import Lease, LeaseKind
from peercron.core.limits import LEASE_MS_MAX
from peercron.core.line import due_ms, first_in_line, room_for
from peercron.core.lock import Claim, Grant, Lock, Waiter
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def acquire_lock(state: ClusterState, command: AcquireLock) -> Verdict:
    key = f"{command.namespace}/{command.name}"
    known = state.lock_requests.get(key, {}).get(command.claim.request)
    if known is not None:
        return _again(state, command, key, known)
    refused = refusal_of(state, command, key)
    if refused is not None:
        return refused
    lock = Lock(command.kind, command.permits)
    if key not in state.lock_waiters and room_for(state, key, lock, command.claim):
        state.locks[key] = lock
        token = _grant(state, key, command.claim, served=state.index)
        state.touch_lock(key)
        return Done(state.index, token)
    refused = refusal_to_wait(state, command, key)
    if refused is not None:
        return refused
    stand_in_line(state, key, command.claim, command.member, command.session)
    return Done(state.index, str(state.index))


def grant_lock(state: ClusterState, command: GrantLock) -> Verdict:
    """The answer is the token; 0: there was nobody to grant to, but a lost place is cleared away."""
    key = f"{command.namespace}/{command.name}"
    if not _is_due(state, key):
        return Refused(state.index, Refusal.NOT_READY, f"lock {key} has nothing to give now")
    _advance(state, key)
    return Done(state.index, state.index if state.last_token == state.index else 0)


def release_lock(state: ClusterState, command: ReleaseLock) -> Verdict:
    """The answer is the token."""
    key = f"{command.namespace}/{command.name}"
    grant = state.lock_grants.get(key, {}).get(command.token)
    if grant is None or grant.free_ms:
        detail = f"token {command.token} does not hold lock {key}{holders(state, key)}"
        return Refused(state.index, Refusal.STALE_TOKEN, detail)
    drop_lease(state, command.token)
    _take_back(state, key, command.token, grant)
    _advance(state, key)
    return Done(state.index, command.token)


def forsake_lock(state: ClusterState, command: ForsakeLock) -> Verdict:
    """The answer is 0: nobody waits, nobody holds; or the token of the grant that was quicker."""
    key = f"{command.namespace}/{command.name}"
    waiter = state.lock_waiters.get(key, {}).get(command.waiter)
    if waiter is not None and waiter.served == command.served:
        _drop_waiter(state, key, command.waiter, waiter)
        _advance(state, key)
        return Done(state.index, 0)
    token = _token_of(state, key, command.waiter)
    if waiter is not None or not token:
        gone = "is waited for elsewhere" if waiter is not None else "is none any more"
        return Refused(state.index, Refusal.STALE_TOKEN, f"waiter {command.waiter} of lock {key} {gone}")
    grant = state.lock_grants[key][token]
    if not command.release or grant.served != command.served:
        return Done(state.index, token)
    drop_lease(state, token)
    _take_back(state, key, token, grant)
    _advance(state, key)
    return Done(state.index, 0)


def stand_in_line(state: ClusterState, key: str, claim: Claim, member: str = "", session: int = 0) -> None:
    """At its end. Somebody holds the lock, or stands there already."""
    state.lock_waiters.setdefault(key, {})[state.index] = Waiter(claim, state.now_ms, state.index, member, session)
    state.lock_waiting += 1
    if claim.client and state.client_waiters is not None:
        state.client_waiters.setdefault(claim.client, {})[state.index] = key
    _list(state, key, claim, state.index)
    state.touch_lock(key)


def leave_line(state: ClusterState, key: str, id_: int, waiter: Waiter) -> None:
    _drop_waiter(state, key, id_, waiter)
    _advance(state, key)


def hold_place(state: ClusterState, key: str, claim: Claim, waiter: int) -> None:
    """There is room for the claim, which lives as long as its attempt; this command's grant is the attempt's, too."""
    if waiter:
        _drop_waiter(state, key, waiter, state.lock_waiters[key][waiter])
    for token, grant in tuple(state.lock_grants.get(key, {}).items()):
        if grant.free_ms and grant.free_ms <= state.now_ms:
            _forget(state, key, token)
    state.locks.setdefault(key, Lock())
    state.lock_grants.setdefault(key, {})[state.index] = Grant(claim, state.now_ms, state.index, waiter)
    _list(state, key, claim, state.index)
    state.touch_lock(key)


def drop_waiters_of(state: ClusterState, member: str | None) -> None:
    """The member's session ended (None: everybody's): nobody hears what it would have told them."""
    for key in tuple(state.lock_waiters):
        waiters = state.lock_waiters[key].items()
        gone = [(id_, waiter) for id_, waiter in waiters if waiter.member and member in (None, waiter.member)]
        for id_, waiter in gone:
            _drop_waiter(state, key, id_, waiter)
        if gone:
            _advance(state, key)


def waiters_by_client(state: ClusterState) -> dict[int, dict[int, str]]:
    """`ClusterState.client_waiters`, anew."""
    found: dict[int, dict[int, str]] = {}
    for key, waiters in state.lock_waiters.items():
        for id_, waiter in waiters.items():
            if waiter.claim.client:
                found.setdefault(waiter.claim.client, {})[id_] = key
    return found


def drop_waiters_of_client(state: ClusterState, client: int) -> None:
    """Its session ended: nobody is there who would use what they wait for, and others stand behind them."""
    if state.client_waiters is None:
        state.client_waiters = waiters_by_client(state)
    # In an order that does not depend on how long this member has been counting.
    gone = sorted(state.client_waiters.pop(client, {}).items())
    for id_, key in gone:
        _drop_waiter(state, key, id_, state.lock_waiters[key][id_])
    for key in dict.fromkeys([key for _, key in gone]):
        _advance(state, key)


def free_locks_of_attempt(state: ClusterState, run_id: str, token: int, *, lost: bool) -> None:
    """The attempt has ended: so has what it and its processes held and waited for."""
    held = state.lock_owners.get(f"run {run_id}")
    for id_, key in tuple(held.items()) if held else ():
        grant = state.lock_grants.get(key, {}).get(id_)
        if grant is not None and grant.claim.attempt == token:
            drop_lease(state, id_)
            if lost:
                _lose(state, key, id_, grant)
            else:
                _take_back(state, key, id_, grant)
            _advance(state, key)
        waiter = state.lock_waiters.get(key, {}).get(id_)
        if waiter is not None and waiter.claim.attempt == token:
            _drop_waiter(state, key, id_, waiter)
            _advance(state, key)


def _is_due(state: ClusterState, key: str) -> bool:
    at_ms = due_ms(state, key)
    return at_ms is not None and at_ms <= state.now_ms


def _again(state: ClusterState, command: AcquireLock, key: str, known: int) -> Verdict:
    """The claim is there already; whoever asks now is who will be told."""
    waiter = state.lock_waiters.get(key, {}).get(known)
    present = waiter or state.lock_grants[key][known]
    if present.claim != command.claim:
        detail = f"request: {command.claim.request!r} is {present.claim.who}'s claim, and was another one"
        return Refused(state.index, Refusal.CONFLICT, detail)
    if waiter is None:
        state.lock_grants[key][known] = replace(state.lock_grants[key][known], served=state.index)
        return Done(state.index, known)
    if not command.wait:
        return locked(state, key)
    state.lock_waiters[key][known] = replace(waiter, served=state.index, member=command.member, session=command.session)
    return Done(state.index, str(known))


def _grant(state: ClusterState, key: str, claim: Claim, *, served: int, waiter: int = 0) -> int:
    """There is room, and this command has granted nothing yet. The answer is the token."""
    token = state.index
    assert token > state.last_token, "a token names one grant"
    state.last_token = token
    if claim.ttl_ms or claim.client:
        namespace, _, name = key.partition("/")
        begin_lease(state, Lease(LeaseKind.LOCK, claim.ttl_ms or LEASE_MS_MAX, namespace, name, claim.client))
    state.lock_grants.setdefault(key, {})[token] = Grant(claim, state.now_ms, served, waiter)
    _list(state, key, claim, token)
    return token


def _advance(state: ClusterState, key: str) -> None:
    """Something went: clear away what is over, and grant the first in line if there is room and a grant left."""
    for token, grant in tuple(state.lock_grants.get(key, {}).items()):
        if grant.free_ms and grant.free_ms <= state.now_ms:
            _forget(state, key, token)
    first = first_in_line(state, key)
    if first is not None:
        _serve(state, key, *first)
    if key not in state.lock_waiters and key not in state.lock_grants:
        del state.locks[key]
    state.touch_lock(key)


def _serve(state: ClusterState, key: str, id_: int, waiter: Waiter) -> None:
    """It is the first in line."""
    if waiter.is_run:
        _call(state, key, waiter)
    elif state.last_token < state.index and room_for(state, key, state.locks[key], waiter.claim):
        _drop_waiter(state, key, id_, waiter)
        _grant(state, key, waiter.claim, served=waiter.served, waiter=id_)


def _call(state: ClusterState, key: str, waiter: Waiter) -> None:
    """It is a run's turn, which needs more than the lock: the planner places it."""
    if room_for(state, key, state.locks[key], waiter.claim):
        state.touch(state.runs[waiter.claim.run_id].job_uid)


def _end_lock(state: ClusterState, lease_id: int, lease: Lease) -> None:
    key = f"{lease.namespace}/{lease.name}"
    _lose(state, key, lease_id, state.lock_grants[key][lease_id])
    _advance(state, key)


def _lose(state: ClusterState, key: str, token: int, grant: Grant) -> None:
    """It is in force no more; its place stays taken for the delay."""
    state.happened("lock", "lost", key, owner=grant.claim.owner, token=token)
    if not grant.claim.delay_ms:
        _take_back(state, key, token, grant)
        return
    _unlist(state, key, grant.claim, token)
    state.lock_grants[key][token] = replace(grant, free_ms=state.now_ms + grant.claim.delay_ms)


def _take_back(state: ClusterState, key: str, token: int, grant: Grant) -> None:
    _unlist(state, key, grant.claim, token)
    _forget(state, key, token)


def _forget(state: ClusterState, key: str, token: int) -> None:
    del state.lock_grants[key][token]
    if not state.lock_grants[key]:
        del state.lock_grants[key]


def _drop_waiter(state: ClusterState, key: str, id_: int, waiter: Waiter) -> None:
    del state.lock_waiters[key][id_]
    if not state.lock_waiters[key]:
        del state.lock_waiters[key]
    state.lock_waiting -= 1
    if waiter.claim.client and state.client_waiters is not None:
        state.client_waiters.get(waiter.claim.client, {}).pop(id_, None)  # its session, if it has ended, is not there
    _unlist(state, key, waiter.claim, id_)
    state.tell("waiter", "", str(id_))


def _token_of(state: ClusterState, key: str, waiter: int) -> int:
    """Token in force that this waiter was granted; 0: none."""
    grants = state.lock_grants.get(key, {}).items()
    return next((token for token, grant in grants if grant.waiter == waiter and not grant.free_ms), 0)


def _list(state: ClusterState, key: str, claim: Claim, id_: int) -> None:
    state.lock_requests.setdefault(key, {})[claim.request] = id_
    state.lock_owners.setdefault(claim.who, {})[id_] = key


def _unlist(state: ClusterState, key: str, claim: Claim, id_: int) -> None:
    requests, owned = state.lock_requests[key], state.lock_owners[claim.who]
    del requests[claim.request], owned[id_]
    if not requests:
        del state.lock_requests[key]
    if not owned:
        del state.lock_owners[claim.who]


ENDS[LeaseKind.LOCK] = _end_lock
CLIENT_ENDS.append(drop_waiters_of_client)
