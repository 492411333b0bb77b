"""The lock of a job: its runs stand in the line with everybody else, and hold it by the token of their attempt."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import CancelRun, ExpireSession, PlaceRun, PutJob, ReleaseLock, RunJob
from peercron.core.job import ManualTrigger, Overlap
from peercron.core.limits import LOCK_DELAY_MS
from peercron.core.lock import LockKind
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from peercron.jobspec import read_job, render_job
from tests.core.builders import (
    NOW,
    attempt_of,
    cluster,
    complaint,
    definition,
    done,
    finished,
    only_run,
    put,
    refused,
    run_row,
)
from tests.core.invariants import violations
from tests.core.test_lock import ask, holders, line, queue, take


def start(state: ClusterState, name: str, now_ms: int = NOW) -> str:
    """The id of a run by hand."""
    return str(done(state, RunJob(f"default/{name}"), now_ms).value)


def put_locked(state: ClusterState, *names: str, **more: Any) -> None:
    for name in names:
        put(state, name, trigger=ManualTrigger(), lock="default/m", **more)


def lead(state: ClusterState, planner: Planner, now_ms: int = NOW) -> None:
    """The leader's planner, until it has nothing to say."""
    for _ in range(20):
        commands = planner.plan(now_ms)
        for command in commands:
            planner.settle(command, apply(state, command, now_ms))
        if not commands:
            return
    raise AssertionError("the planner goes on and on")


def states(state: ClusterState, *run_ids: str) -> list[str]:
    return [run_row(state, run_id).state.value for run_id in run_ids]


def test_the_attempt_holds_the_lock_by_its_own_token() -> None:
    state = cluster("a")
    put_locked(state, "x")
    run = run_row(state, start(state, "x"))
    assert holders(state) == {f"run {run.id}": attempt_of(run).token}
    assert state.leases == {}, "it lives as long as the attempt"
    done(state, finished(run))
    assert state.locks == {}


def test_jobs_with_one_lock_run_one_after_another() -> None:
    state = cluster("a", "b")
    put_locked(state, "x", "y", "z")
    planner = Planner(state)
    runs = [start(state, name) for name in "xyz"]
    lead(state, planner)
    assert states(state, *runs) == ["running", "queued", "queued"]
    assert run_row(state, runs[1]).reason == f"waits for lock default/m, held by run {runs[0]}"
    for place, run_id in enumerate(runs):
        run = run_row(state, run_id)
        assert holders(state) == {f"run {run_id}": attempt_of(run).token}
        done(state, finished(run))
        lead(state, planner)
        assert states(state, *runs)[: place + 2] == ["succeeded"] * (place + 1) + ["running"] * (place < 2)
        assert violations(state) == []


def test_runs_and_programs_stand_in_one_line() -> None:
    state = cluster("a")
    put_locked(state, "x")
    planner = Planner(state)
    token = take(state, ask("A"))
    run_id = start(state, "x")
    queue(state, ask("B"))
    lead(state, planner)
    assert line(state) == [f"run {run_id}", "B"]
    done(state, ReleaseLock("default", "m", token))
    assert holders(state) == {}
    lead(state, planner)
    assert list(holders(state)) == [f"run {run_id}"]
    done(state, finished(run_row(state, run_id)))
    assert list(holders(state)) == ["B"]


def test_a_lost_attempt_gives_the_lock_back_after_the_delay() -> None:
    state = cluster("a", "b")
    put_locked(state, "x", "y", nodes=("a",))
    planner = Planner(state)
    first, second = start(state, "x"), start(state, "y")
    lead(state, planner)
    put(state, "y", trigger=ManualTrigger(), lock="default/m")
    done(state, ExpireSession("id-a", 1))
    lead(state, planner, NOW + LOCK_DELAY_MS - 1)
    assert holders(state) == {}
    lead(state, planner, NOW + LOCK_DELAY_MS)
    assert list(holders(state)) == [f"run {second}"], f"{first} has no node, and holds up nobody"
    assert attempt_of(run_row(state, second)).token > 0
    assert violations(state) == []


def test_a_run_that_is_cancelled_leaves_the_line() -> None:
    state = cluster("a")
    put_locked(state, "x")
    token = take(state, ask("A"))
    run_id = start(state, "x")
    queue(state, ask("B"))
    done(state, CancelRun(run_id))
    assert line(state) == ["B"]
    done(state, ReleaseLock("default", "m", token))
    assert list(holders(state)) == ["B"]


def test_a_job_that_has_the_lock_no_more_leaves_the_line() -> None:
    state = cluster("a")
    put_locked(state, "x")
    planner = Planner(state)
    take(state, ask("A"))
    run_id = start(state, "x")
    done(state, PutJob(definition("x", trigger=ManualTrigger())))
    assert line(state) == []
    lead(state, planner)
    assert states(state, run_id) == ["running"]


def test_the_runs_of_one_command_stand_in_line_one_by_one() -> None:
    state = cluster("a")
    put_locked(state, "x", overlap=Overlap.ALLOW)
    planner = Planner(state)
    take(state, ask("A"))
    ids = [start(state, "x") for _ in range(3)]
    lead(state, planner)
    assert line(state) == [f"run {run_id}" for run_id in ids]
    assert refused(state, PlaceRun(ids[0])) is Refusal.NOT_READY


def test_a_run_writes_where_others_read() -> None:
    state = cluster("a")
    put(state, trigger=ManualTrigger(), lock="default/r")
    take(state, ask("R", "r", kind=LockKind.RW, shared=True))
    assert states(state, start(state, "job")) == ["queued"]


def test_a_retry_takes_the_lock_anew() -> None:
    state = cluster("a")
    put_locked(state, "x")
    planner = Planner(state)
    run_id = start(state, "x")
    first = attempt_of(run_row(state, run_id)).token
    done(state, finished(only_run(state, "x"), AttemptState.LOST))
    lead(state, planner, NOW + LOCK_DELAY_MS)
    second = attempt_of(run_row(state, run_id)).token
    assert second > first
    assert holders(state) == {f"run {run_id}": second}
    assert run_row(state, run_id).state is RunState.RUNNING


@pytest.mark.parametrize("wrong", ["db", "a/b/c", "/x", "a b/c"])
def test_a_lock_is_named_with_its_namespace(wrong: str) -> None:
    assert complaint(cluster("a"), PutJob(definition(lock=wrong))) == "lock"


def test_a_file_may_name_it_without() -> None:
    spec = read_job({"name": "x", "every": "1s", "shell": "true", "lock": "db"})
    assert spec.definition.lock == "default/db"
    assert render_job(spec.definition)["lock"] == "default/db"
