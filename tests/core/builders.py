"""Rows and small clusters for the tests of the core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from peercron.core.apply import apply
from peercron.core.commands import AttemptFinished, AttemptStarted, Command, Fire, OpenSession, PutJob
from peercron.core.history import entries_of, find_run, recent_runs
from peercron.core.job import CommandTask, Definition, EveryTrigger, Job
from peercron.core.level import LEVEL
from peercron.core.member import MemberInfo, Role
from peercron.core.run import Attempt, AttemptState, LedgerEntry, Run
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict

NOW = 1_000_000
SECOND = 1_000
HOUR = 3_600_000


def definition(name: str = "job", **changes: Any) -> Definition:
    return replace(Definition(name, EveryTrigger(SECOND), CommandTask(("true",))), **changes)


def info(name: str, **changes: Any) -> MemberInfo:
    return replace(
        MemberInfo(f"id-{name}", name, f"{name}:7400", f"{name}:8400", role=Role.VOTER, level=LEVEL), **changes
    )


def cluster(*names: str) -> ClusterState:
    """A cluster at NOW in which each of these nodes has its session 1 open."""
    state = ClusterState()
    for name in names:
        done(state, OpenSession(info(name), 1))
    return state


def done(state: ClusterState, command: Command, now_ms: int = NOW) -> Done:
    verdict = apply(state, command, now_ms)
    assert isinstance(verdict, Done), verdict
    return verdict


def refused(state: ClusterState, command: Command, now_ms: int = NOW) -> Refusal:
    return code(apply(state, command, now_ms))


def complaint(state: ClusterState, command: Command, now_ms: int = NOW) -> str:
    """The field that an invalid command was refused for."""
    verdict = apply(state, command, now_ms)
    assert code(verdict) is Refusal.INVALID
    return getattr(verdict, "detail", "").split(":")[0]


def code(verdict: Verdict) -> Refusal:
    assert isinstance(verdict, Refused), verdict
    return verdict.code


def put(state: ClusterState, name: str = "job", *, now_ms: int = NOW, **changes: Any) -> Job:
    done(state, PutJob(definition(name, **changes)), now_ms)
    return job(state, name)


def job(state: ClusterState, name: str = "job") -> Job:
    return state.jobs[state.job_uids[f"default/{name}"]]


def fire(state: ClusterState, *slots: int, name: str = "job", **changes: Any) -> Fire:
    """The plan that steps the job over these slots, from where it stands."""
    row = job(state, name)
    after_ms = state.cursors[row.uid].after_ms
    through_ms = slots[-1] if slots else after_ms
    plan = Fire(row.uid, row.revision, after_ms, tuple(slots), through_ms, next_ms=through_ms + SECOND)
    return replace(plan, **changes)


def fired(state: ClusterState, *slots: int, name: str = "job", now_ms: int | None = None, **changes: Any) -> Done:
    """Step the job over these slots, by default at the instant of the last."""
    return done(state, fire(state, *slots, name=name, **changes), slots[-1] if now_ms is None else now_ms)


def only_run(state: ClusterState, name: str = "job") -> Run:
    """The one live run of the job."""
    (run_id,) = state.live_runs[job(state, name).uid]
    return state.runs[run_id]


def attempt_of(run: Run) -> Attempt:
    """Its live attempt."""
    assert run.live_attempt is not None, run
    return run.live_attempt


def node_of(state: ClusterState, run: Run) -> str:
    """Name of the node that holds the run."""
    return state.members[attempt_of(run).member].info.name


def started(run: Run) -> AttemptStarted:
    return AttemptStarted(run.id, attempt_of(run).token, NOW)


def finished(run: Run, outcome: AttemptState = AttemptState.SUCCEEDED, **changes: Any) -> AttemptFinished:
    return replace(AttemptFinished(run.id, attempt_of(run).token, outcome, NOW, exit_code=0), **changes)


def run_row(state: ClusterState, run_id: str) -> Run:
    """The run, alive or ended."""
    run = find_run(state, run_id)
    assert run is not None, run_id
    return run


def all_runs(state: ClusterState) -> list[Run]:
    """Every run that is alive or kept in full, in order of creation."""
    return list(recent_runs(state))[::-1]


def outcomes(state: ClusterState, name: str = "job") -> dict[int, str]:
    """Slot -> outcome in the job's ledger."""
    return {slot_ms: entry.outcome.value for slot_ms, entry in entries(state, name).items()}


def entries(state: ClusterState, name: str = "job") -> dict[int, LedgerEntry]:
    return {entry.slot_ms: entry for entry in entries_of(state, job(state, name).uid)}
