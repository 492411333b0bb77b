"""Grant: what may hold up a run whose turn has come, and what it means to wait and to be granted an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from peercron.core.apply.exclusion import stand_for_lock, take_lock
from peercron.core.apply.hold import until_its_time
from peercron.core.apply.pool import leave, stand
from peercron.core.capacity import job_full, occupy, pool_full
from peercron.core.exclusion import lock_taken
from peercron.core.job import Job
from peercron.core.member import Member
from peercron.core.run import Attempt, AttemptState, Run, RunState
from peercron.core.shards import SHARED
from peercron.core.state import ClusterState

NEXT_GRANT = "waits for a grant of its own"
#: The level from which on an attempt says why it is where it is.
WHY_LEVEL = 2


def held_up(state: ClusterState, job: Job, run: Run) -> str:
    """Why the run has to wait; empty: it has not. One that is shared needs no attempt itself, so no room for it."""
    hurdles = (until_its_time,) if is_shared(job, run) else HURDLES
    return next(filter(None, (hurdle(state, job, run) for hurdle in hurdles)), "")


def is_shared(job: Job, run: Run) -> bool:
    """Whether the run is done by its shards."""
    return not run.parent and (run.definition or job.definition).mode in SHARED


def _no_grant_left(state: ClusterState, job: Job, run: Run) -> str:
    return NEXT_GRANT if state.last_token == state.index else ""


#: What may hold up a run whose turn has come, in this order: each says why, or nothing.
HURDLES: tuple[Callable[[ClusterState, Job, Run], str], ...] = (
    until_its_time,
    job_full,
    pool_full,
    lock_taken,
    _no_grant_left,
)


def wait(state: ClusterState, run: Run, reason: str) -> None:
    state.unplaced.setdefault(run.id, state.index)
    if run.reason != reason:
        state.runs[run.id] = replace(run, reason=reason)
    job = state.jobs[run.job_uid]
    if not is_shared(job, run):  # its shards stand in these lines
        stand(state, run)
        stand_for_lock(state, job, run)


def grant(state: ClusterState, job: Job, run: Run, member: Member, why: str) -> None:
    token, holder = state.index, member.info.id
    assert token > state.last_token, "a token names one attempt"
    attempt = Attempt(
        *(len(run.attempts) + 1, holder, member.session, token, AttemptState.ASSIGNED, state.now_ms),
        why=why if state.level >= WHY_LEVEL else "",
    )
    state.runs[run.id] = replace(
        run,
        state=RunState.RUNNING,
        attempts=(*run.attempts, attempt),
        reason="",
        definition=run.definition or job.definition,
        not_before_ms=0,
    )
    state.unplaced.pop(run.id, None)
    occupy(state, state.runs[run.id], holder)
    leave(state, run)
    take_lock(state, job, run, token)
    state.live_attempts.setdefault(holder, {})[run.id] = token
    state.last_token = token
    state.happened("run", "assigned", run.job_key, run=run.id, node=member.info.name, attempt=attempt.n, token=token)
