"""Contend and the barrier: what the nodes of a shared run say of themselves."""

from __future__ import annotations

from dataclasses import replace

from peercron.core.apply import shards
from peercron.core.apply.run import advance
from peercron.core.commands import AttemptReady, Contend
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def contend(state: ClusterState, command: Contend) -> Verdict:
    """The order of these in the log is the order of the line: the first runs. The answer is the shard's number."""
    member = state.members.get(command.member)
    if member is None or not member.open or member.session != command.session:
        detail = f"session {command.session} is not the open one of {command.member}"
        return Refused(state.index, Refusal.STALE_SESSION, detail)
    called = state.contests.get(command.run_id, ())
    if command.member not in called:
        return Refused(state.index, Refusal.NOT_READY, f"{command.member} is not asked about run {command.run_id}")
    withdraw(state, command.run_id, command.member)
    run = state.runs[command.run_id]
    shards.add(state, run, run.shards, command.member)
    state.runs[run.id] = replace(run, shards=run.shards + 1)
    advance(state, run.job_uid)
    state.touch(run.job_uid)
    return Done(state.index, run.shards)


def attempt_ready(state: ClusterState, command: AttemptReady) -> Verdict:
    """Its process stands at the barrier."""
    run = state.runs.get(command.run_id)
    attempt = run.live_attempt if run is not None else None
    if run is None or attempt is None or attempt.token != command.token:
        detail = f"token {command.token} is not that of a live attempt of run {command.run_id}"
        return Refused(state.index, Refusal.STALE_TOKEN, detail)
    if attempt.state is AttemptState.ASSIGNED:
        ready = replace(attempt, state=AttemptState.READY)
        state.runs[run.id] = replace(run, attempts=(*run.attempts[:-1], ready))
        advance(state, run.job_uid)
        state.touch(run.job_uid)
    return Done(state.index, command.token)


def withdraw_everywhere(state: ClusterState, member_id: str) -> None:
    """Its session has ended: it answers no more."""
    for run_id in [run_id for run_id, called in state.contests.items() if member_id in called]:
        run = state.runs[run_id]
        withdraw(state, run_id, member_id)
        advance(state, run.job_uid)
        state.touch(run.job_uid)


def withdraw(state: ClusterState, run_id: str, member_id: str) -> None:
    left = tuple([called for called in state.contests[run_id] if called != member_id])
    if left:
        state.contests[run_id] = left
    else:
        del state.contests[run_id]
