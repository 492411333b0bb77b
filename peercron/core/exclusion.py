"""Exclusion: the lock of a job: what keeps a run from it, and whether the run stands in its line."""

from __future__ import annotations

from peercron.core.job import Job
from peercron.core.limits import LOCK_WAITERS_MAX
from peercron.core.line import first_in_line, room_for
from peercron.core.lock import Claim, Lock
from peercron.core.run import Run
from peercron.core.state import ClusterState


def claim_of(run: Run, token: int = 0, delay_ms: int = 0) -> Claim:
    """What a run asks of its job's lock; with the token of an attempt: what that attempt holds."""
    return Claim(f"run {run.id}", 0, f"run {run.id}", delay_ms=delay_ms, run_id=run.id, attempt=token)


def lock_taken(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run has to wait for its job's lock; empty: it has none, or may have it."""
    key = job.definition.lock
    if not key:
        return ""
    first = first_in_line(state, key)
    if first is not None and first[0] != place_of(state, job, run):
        return f"waits for lock {key}: others wait before it"
    if room_for(state, key, state.locks.get(key, Lock()), claim_of(run)):
        return ""
    held = [grant.claim.owner for grant in state.lock_grants[key].values() if not grant.free_ms]
    return f"waits for lock {key}, held by {held[-1]}" if held else f"waits for lock {key}, which was lost just now"


def place_of(state: ClusterState, job: Job, run: Run) -> int:
    """Id of the waiter that the run is in its lock's line; 0: it is none."""
    id_ = state.lock_requests.get(job.definition.lock, {}).get(f"run {run.id}", 0)
    return id_ if id_ in state.lock_waiters.get(job.definition.lock, {}) else 0


def can_stand(state: ClusterState, job: Job) -> bool:
    """A command makes one waiter of a lock, which has its index as its id; the others follow with their PlaceRuns."""
    line = state.lock_waiters.get(job.definition.lock, {})
    return len(line) < LOCK_WAITERS_MAX and state.index not in line


def missing_in_lock_line(state: ClusterState, job: Job, run: Run) -> bool:
    """Whether the run waits for its lock and does not stand in its line, and can."""
    return bool(job.definition.lock and lock_taken(state, job, run)) and not (
        place_of(state, job, run) or not can_stand(state, job)
    )
