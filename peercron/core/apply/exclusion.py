"""Exclusion: a run stands in the line of its job's lock, and holds it for as long as its attempt lives.

It stands there only while nothing else keeps it from running, so that a run with no node holds up nobody. When its turn
has come the planner is told, and the PlaceRun that grants the attempt grants the lock too, under the same token.
"""

from __future__ import annotations

from peercron.core.apply.hold import until_its_time
from peercron.core.apply.lock import hold_place, leave_line, stand_in_line
from peercron.core.capacity import job_full, pool_full
from peercron.core.exclusion import can_stand, claim_of, lock_taken, place_of
from peercron.core.job import Job
from peercron.core.limits import LOCK_DELAY_MS
from peercron.core.run import Run
from peercron.core.state import ClusterState


def stand_for_lock(state: ClusterState, job: Job, run: Run) -> None:
    """The run waits: in the line of its lock if it is that which it waits for."""
    if not job.definition.lock:
        return
    others = until_its_time(state, job, run) or job_full(state, job, run) or pool_full(state, job, run)
    if others or not lock_taken(state, job, run):
        leave_lock(state, run)
    elif not place_of(state, job, run) and can_stand(state, job):
        stand_in_line(state, job.definition.lock, claim_of(run))


def leave_lock(state: ClusterState, run: Run) -> None:
    """The run waits for no lock any more, whichever its job had."""
    held = state.lock_owners.get(f"run {run.id}")
    for id_, key in tuple(held.items()) if held else ():
        waiter = state.lock_waiters.get(key, {}).get(id_)
        if waiter is not None and not waiter.claim.attempt:
            leave_line(state, key, id_, waiter)


def take_lock(state: ClusterState, job: Job, run: Run, token: int) -> None:
    """The attempt of this token holds the job's lock, which is free for it."""
    if job.definition.lock:
        hold_place(state, job.definition.lock, claim_of(run, token, LOCK_DELAY_MS), place_of(state, job, run))
