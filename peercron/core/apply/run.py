"""Runs: how a slot becomes a run, waits its turn, gets a node, and ends.

Life of a run, and the table that says where it is (`live_runs` holds it from the first state to the last but one):

    admit ─▶ QUEUED in line ─▶ QUEUED, unplaced ─▶ RUNNING, live_attempts ─▶ ended_runs and ledger
             (its turn has      (no node, or the    │
              not come)          grant of this      └─ attempt lost ─▶ back to QUEUED
                                 command is spent)

A command grants at most one attempt, so that its index is a token that names one attempt for ever. Runs that were left
without one wait in `unplaced`, and the leader's planner proposes a PlaceRun for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from peercron.core import placement
from peercron.core.apply import ledger, standing
from peercron.core.apply.delivery import settle_item
from peercron.core.apply.exclusion import leave_lock, stand_for_lock, take_lock
from peercron.core.apply.hold import jittered_ms, until_its_time
from peercron.core.apply.pool import leave, missing_in_line, stand
from peercron.core.capacity import job_full, occupy, pool_full
from peercron.core.commands import CancelRun, PlaceRun
from peercron.core.exclusion import lock_taken, missing_in_lock_line
from peercron.core.history import find_run
from peercron.core.job import Job, Overlap
from peercron.core.limits import RECENT_RUNS_KEPT
from peercron.core.member import Member
from peercron.core.params import Params
from peercron.core.placement import Choice
from peercron.core.policy import Admission, admission
from peercron.core.run import LIVE_RUN_STATES, Attempt, AttemptState, Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

NEXT_GRANT = "waits for a grant of its own"
#: The level from which on an attempt says why it is where it is.
WHY_LEVEL = 2


def admit(
    state: ClusterState,
    job: Job,
    run_id: str,
    slot_ms: int,
    *,
    manual: bool = False,
    params: Params = (),
    cause: str = "",
    granting: bool = True,
) -> bool:
    """Let a slot meet the overlap policy: it becomes a run (True), or a ledger entry that says why not.

    Without `granting` its attempt is left to a command of its own: the grant of this one may be somebody else's.
    """
    assert run_id not in state.runs, "a slot has one run, for ever"
    live = live_runs(state, job.uid)
    queued = sum(run.state is RunState.QUEUED for run in live)
    what = admission(job.definition.overlap, live=len(live), queued=queued)
    if what is Admission.SKIP:
        reason = _blocked_by(job.definition.overlap, live)
        ledger.record_slot(state, job.uid, run_id, slot_ms, RunState.SKIPPED, reason, manual=manual)
        return False
    if what is Admission.REPLACE:
        for run in live:
            cancel(state, run, f"replaced by run {run_id}")
    enqueue(state, job, run_id, slot_ms, manual=manual, params=params, cause=cause, granting=granting)
    return True


def enqueue(
    state: ClusterState,
    job: Job,
    run_id: str,
    slot_ms: int,
    *,
    manual: bool = False,
    params: Params = (),
    cause: str = "",
    granting: bool = True,
) -> None:
    """Make the run, at the end of the job's line, and let it go if it is its turn."""
    live = state.live_runs.get(job.uid, ())
    run = Run(
        *(run_id, job.uid, job.key, slot_ms, manual, RunState.QUEUED),
        created_ms=state.now_ms,
        reason=f"waits for run {live[0]}" if live else "",
        params=params,
        cause=cause,
        not_before_ms=0 if manual else jittered_ms(job, slot_ms),
    )
    begin(state, job, run, granting=granting)


def begin(state: ClusterState, job: Job, run: Run, *, granting: bool = True) -> None:
    """A new run stands behind the job's others, and goes if it may."""
    state.runs[run.id] = run
    count(state, run.id)
    state.live_runs[job.uid] = (*state.live_runs.get(job.uid, ()), run.id)
    if granting:
        take_turn(state, job, run)
    elif turn_has_come(state, job, run):
        _wait(state, run, NEXT_GRANT)


def count(state: ClusterState, run_id: str) -> None:
    """The run is the newest of all."""
    state.recent_runs[state.run_count % RECENT_RUNS_KEPT] = run_id
    state.run_count += 1


def live_runs(state: ClusterState, job_uid: str) -> list[Run]:
    """The job's live runs in order of creation."""
    return [state.runs[run_id] for run_id in state.live_runs.get(job_uid, ())]


def _blocked_by(overlap: Overlap, live: list[Run]) -> str:
    blocker = live[0]
    doing = "was still running" if blocker.state is RunState.RUNNING else "was still waiting"
    return f"run {blocker.id} {doing} (overlap {overlap.value}, {len(live)} alive)"


def turn_has_come(state: ClusterState, job: Job, run: Run) -> bool:
    """Under `allow`, and with an item of a queue, nobody waits for anybody; otherwise the first live run goes."""
    return bool(run.delivery) or job.definition.overlap is Overlap.ALLOW or state.live_runs[job.uid][0] == run.id


def take_turn(state: ClusterState, job: Job, run: Run) -> None:
    """Give a queued run its attempt if its turn has come, nothing holds it up and a node is there; else it waits where
    it will be found, and says what for.
    """
    if not turn_has_come(state, job, run):
        return
    held_up = _held_up(state, job, run)
    choice = Choice(None, held_up) if held_up else placement.choose(state, job, run)
    if choice.member is None:
        _wait(state, run, choice.why)
    else:
        _grant(state, job, run, choice.member, choice.why)
        standing.remember(state, job, choice.member)


def _held_up(state: ClusterState, job: Job, run: Run) -> str:
    return next(filter(None, (hurdle(state, job, run) for hurdle in HURDLES)), "")


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


def _wait(state: ClusterState, run: Run, reason: str) -> None:
    state.unplaced.setdefault(run.id, state.index)
    if run.reason != reason:
        state.runs[run.id] = replace(run, reason=reason)
    stand(state, run)
    stand_for_lock(state, state.jobs[run.job_uid], run)


def _grant(state: ClusterState, job: Job, run: Run, member: Member, why: str) -> None:
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


def advance(state: ClusterState, job_uid: str) -> None:
    """After a run ended: the first in line goes, if it is one that waited for that."""
    job, line = state.jobs.get(job_uid), state.live_runs.get(job_uid)
    if job is None or line is None:
        return
    first = state.runs[line[0]]
    if first.state is RunState.QUEUED and first.id not in state.unplaced:
        take_turn(state, job, first)


def reline(state: ClusterState, job: Job) -> None:
    """After the overlap policy changed: who waits for a node now, and who for an earlier run."""
    for run in live_runs(state, job.uid):
        if run.state is not RunState.QUEUED:
            continue
        if turn_has_come(state, job, run):
            state.unplaced.setdefault(run.id, state.index)
        else:
            state.unplaced.pop(run.id, None)
            leave(state, run)
            leave_lock(state, run)


def end(state: ClusterState, run: Run, outcome: RunState, reason: str) -> None:
    """Write the outcome of a live run whose last attempt, if any, has ended. The caller lets the line advance."""
    assert run.live_attempt is None, "an attempt ends before its run"
    assert outcome not in LIVE_RUN_STATES, "an outcome is final"
    ended = replace(
        run,
        state=outcome,
        finished_ms=state.now_ms,
        reason=reason,
        definition=None,
        not_before_ms=0,
        checkpoint=b"",
        delivery=0,
    )
    if run.delivery:
        settle_item(state, run.delivery, reason, done=outcome is RunState.SUCCEEDED)
    del state.runs[run.id]
    state.unplaced.pop(run.id, None)
    leave(state, run)
    leave_lock(state, run)
    line = tuple(run_id for run_id in state.live_runs[run.job_uid] if run_id != run.id)
    if line:
        state.live_runs[run.job_uid] = line
    else:
        del state.live_runs[run.job_uid]
    ledger.record_run(state, ended)
    state.touch(run.job_uid)
    if run.job_uid in state.deleted_jobs:
        ledger.bury(state)


def cancel(state: ClusterState, run: Run, reason: str) -> None:
    """End a queued run at once; ask the node of a running one to end it. The caller lets the line advance."""
    if run.state is RunState.QUEUED:
        end(state, run, RunState.CANCELLED, reason)
    elif not run.cancel_requested:
        state.runs[run.id] = replace(run, cancel_requested=True, reason=reason)
        state.touch(run.job_uid)


def cancel_run(state: ClusterState, command: CancelRun) -> Verdict:
    run = find_run(state, command.run_id)
    if run is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no run {command.run_id}")
    if run.state not in LIVE_RUN_STATES:
        return Refused(state.index, Refusal.CONFLICT, f"run {run.id} has ended: {run.state.value}")
    cancel(state, run, "cancelled on request")
    advance(state, run.job_uid)
    return Done(state.index, (RunState.CANCELLED if run.state is RunState.QUEUED else RunState.RUNNING).value)


def place_run(state: ClusterState, command: PlaceRun) -> Verdict:
    run = find_run(state, command.run_id)
    if run is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no run {command.run_id}")
    if run.id not in state.unplaced:
        return Refused(state.index, Refusal.NOT_READY, f"run {run.id} waits for no node: it is {run.state.value}")
    job = state.jobs[run.job_uid]
    held_up = _held_up(state, job, run)
    if held_up and not missing_in_line(state, job, run) and not missing_in_lock_line(state, job, run):
        return Refused(state.index, Refusal.NOT_READY, held_up)
    in_line = run.id in state.pool_lines.get(job.definition.pool, ())
    if not in_line and not placement.eligible(state, job.definition):
        return Refused(state.index, Refusal.NOT_READY, placement.NO_NODE)
    # Who is called to its pool and has no node steps out of the line, so that those behind it are not held up.
    take_turn(state, job, run)
    state.touch(run.job_uid)
    return Done(state.index, state.last_token)
