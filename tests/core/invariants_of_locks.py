"""What must hold of locks in every state, computed anew from the rows."""

from __future__ import annotations

from collections.abc import Iterator

from peercron.core.apply.lock import waiters_by_client
from peercron.core.lease import LeaseKind
from peercron.core.lock import Grant, LockKind
from peercron.core.state import ClusterState


def locks(state: ClusterState) -> Iterator[str]:
    """Sentences about what is wrong with locks."""
    for check in (_holders, _lines_of_locks, _listed_locks, _held_by_runs):
        yield from check(state)


def in_force(state: ClusterState, key: str) -> dict[int, Grant]:
    return {token: grant for token, grant in state.lock_grants.get(key, {}).items() if not grant.free_ms}


def _holders(state: ClusterState) -> Iterator[str]:
    """Never too many hold a lock, and what holds it lives."""
    if set(state.locks) != state.lock_grants.keys() | state.lock_waiters.keys():
        yield "locks are not those that are held or waited for"
    for key, lock in state.locks.items():
        held = in_force(state, key)
        shared = sum(grant.claim.shared for grant in held.values())
        fits = shared == len(held) or len(held) == 1 if lock.kind is LockKind.RW else len(held) <= lock.permits
        if not fits:
            yield f"lock {key} is held by {len(held)}, {shared} of them shared"
        for token, grant in held.items():
            yield from _held_lock(state, key, token, grant)
    leased = {lease_id for lease_id, lease in state.leases.items() if lease.kind is LeaseKind.LOCK}
    held_tokens = {token for key in state.locks for token in in_force(state, key)}
    if not leased <= held_tokens:
        yield f"leases {leased - held_tokens} are those of locks that nobody holds"


def _held_lock(state: ClusterState, key: str, token: int, grant: Grant) -> Iterator[str]:
    claim, lease = grant.claim, state.leases.get(token)
    if (claim.ttl_ms or claim.client) and (lease is None or f"{lease.namespace}/{lease.name}" != key):
        yield f"grant {token} of lock {key} has no lease"
    if claim.client and claim.client not in state.leases:
        yield f"grant {token} of lock {key} has outlived its client"
    run = state.runs.get(claim.run_id)
    attempt = run.live_attempt if run is not None else None
    if claim.run_id and (attempt is None or attempt.token != claim.attempt):
        yield f"grant {token} of lock {key} has outlived its attempt"
    if not 0 < token <= state.last_token:
        yield f"token {token} of lock {key} lies in the future"


def _lines_of_locks(state: ClusterState) -> Iterator[str]:
    counted = waiters_by_client(state)
    if not counted.keys() <= state.leases.keys():
        yield f"clients {counted.keys() - state.leases.keys()} have ended and stand in line"
    if state.client_waiters is not None and {c: ids for c, ids in state.client_waiters.items() if ids} != counted:
        yield f"waiters by client are {state.client_waiters}, not {counted}"
    for key, line in state.lock_waiters.items():
        if list(line) != sorted(line):
            yield f"the line of lock {key} is not in the order in which they came"
        for id_, waiter in line.items():
            if waiter.is_run:
                if waiter.claim.run_id not in state.unplaced:
                    yield f"run {waiter.claim.run_id} stands in the line of lock {key} and waits for nothing"
                continue
            member = state.members.get(waiter.member)
            if member is None or not member.open or member.session != waiter.session:
                yield f"waiter {id_} of lock {key} is served by a session that is not open"
        made_to_wait = state.index == max(line) and len(line) == 1 and not line[state.index].is_run
        if made_to_wait and key not in state.lock_grants:
            yield f"somebody was made to wait for lock {key}, which was free"
    if state.lock_waiting != sum(map(len, state.lock_waiters.values())):
        yield "lock_waiting is not the number of those who wait"


def _listed_locks(state: ClusterState) -> Iterator[str]:
    claims = [
        (key, id_, row.claim)
        for key in state.locks
        for id_, row in [*in_force(state, key).items(), *state.lock_waiters.get(key, {}).items()]
    ]
    if {(k, c.request): i for k, i, c in claims} != {
        (key, request): id_ for key, table in state.lock_requests.items() for request, id_ in table.items()
    }:
        yield "lock_requests are not those of grants and waiters"
    if {(c.who, i): k for k, i, c in claims} != {
        (who, id_): key for who, table in state.lock_owners.items() for id_, key in table.items()
    }:
        yield "lock_owners are not those of grants and waiters"


def _held_by_runs(state: ClusterState) -> Iterator[str]:
    """An attempt of a job with a lock holds it, under its own token."""
    for run in state.runs.values():
        attempt = run.live_attempt
        for key in state.locks:
            held = [token for token, grant in in_force(state, key).items() if grant.claim.request == f"run {run.id}"]
            if held and (attempt is None or held != [attempt.token]):
                yield f"run {run.id} holds lock {key} by {held}, and not by its attempt"
