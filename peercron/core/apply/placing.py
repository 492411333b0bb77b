"""Placing and cancelling: what the leader's planner and a user ask of one run."""

from __future__ import annotations

from peercron.core import placement
from peercron.core.apply.grant import held_up
from peercron.core.apply.pool import missing_in_line
from peercron.core.apply.run import advance, cancel, end, settle, take_turn
from peercron.core.commands import CancelRun, PlaceRun
from peercron.core.exclusion import missing_in_lock_line
from peercron.core.history import find_run
from peercron.core.limits import REASON_LENGTH_MAX
from peercron.core.placement.lacking import nobody_has
from peercron.core.run import LIVE_RUN_STATES, Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def cancel_run(state: ClusterState, command: CancelRun) -> Verdict:
    run = find_run(state, command.run_id)
    if run is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no run {command.run_id}")
    if run.state not in LIVE_RUN_STATES:
        return Refused(state.index, Refusal.CONFLICT, f"run {run.id} has ended: {run.state.value}")
    cancel(state, run, "cancelled on request")
    advance(state, run.job_uid)
    return Done(state.index, (RunState.CANCELLED if run.state is RunState.QUEUED else RunState.RUNNING).value)


def barrier_is_due(state: ClusterState, run: Run) -> bool:
    """Whether its shards have waited for each other for long enough."""
    return not run.parent and not run.opened_ms and 0 < run.barrier_by_ms <= state.now_ms and run.id in state.runs


def place_run(state: ClusterState, command: PlaceRun) -> Verdict:
    run = find_run(state, command.run_id)
    if run is None:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no run {command.run_id}")
    if barrier_is_due(state, run):
        settle(state, run)
        state.touch(run.job_uid)
        return Done(state.index, state.last_token)
    if run.id not in state.unplaced:
        return Refused(state.index, Refusal.NOT_READY, f"run {run.id} waits for no node: it is {run.state.value}")
    job = state.jobs[run.job_uid]
    waits = held_up(state, job, run)
    if waits and not missing_in_line(state, job, run) and not missing_in_lock_line(state, job, run):
        return Refused(state.index, Refusal.NOT_READY, waits)
    if run.parent:
        state.unplaced.pop(run.id)
        advance(state, run.job_uid)
        state.touch(run.job_uid)
        return Done(state.index, state.last_token)
    in_line = run.id in state.pool_lines.get(job.definition.pool, ())
    if not in_line and not placement.placeable(state, job, run):
        return Refused(state.index, Refusal.NOT_READY, placement.NO_NODE)
    if why := nobody_has(state, run.definition or job.definition, run):
        end(state, run, RunState.FAILED, why[:REASON_LENGTH_MAX])  # the last that might have had it was removed
        advance(state, run.job_uid)
        return Done(state.index, state.last_token)
    # Who is called to its pool and has no node steps out of the line, so that those behind it are not held up.
    take_turn(state, job, run)
    state.touch(run.job_uid)
    return Done(state.index, state.last_token)
