"""Runs and attempts: results count only with the live token, lines move on, and old rows make room."""

from __future__ import annotations

import pytest

from peercron.core.commands import AttemptFinished, CancelRun, ExpireSession, OpenSession, PlaceRun, RunJob
from peercron.core.history import entries_of, pack_run, runs_of
from peercron.core.job import Overlap
from peercron.core.limits import OUTPUT_TAIL_BYTES_MAX, REASON_LENGTH_MAX, RUNS_KEPT_PER_JOB
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    all_runs,
    attempt_of,
    cluster,
    done,
    entries,
    finished,
    fired,
    info,
    job,
    node_of,
    only_run,
    outcomes,
    put,
    refused,
    run_row,
    started,
)

SLOT = NOW + SECOND


def running(*names: str) -> ClusterState:
    state = cluster(*(names or ("a",)))
    put(state)
    fired(state, SLOT)
    return state


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "timed_out", "cancelled"])
def test_the_end_of_an_attempt_is_the_outcome_of_its_slot(outcome: str) -> None:
    state = running()
    run = only_run(state)
    done(state, finished(run, AttemptState(outcome), reason="why", output_tail="said", exit_code=3))
    entry = entries(state)[SLOT]
    assert (entry.outcome.value, entry.reason, entry.attempts) == (outcome, "why", 1)
    assert (entry.member, entry.token) == ("id-a", attempt_of(run).token)
    last = run_row(state, run.id).attempts[-1]
    assert (last.exit_code, last.output_tail, last.finished_ms) == (3, "said", NOW)
    assert (state.live_runs, state.live_attempts) == ({}, {})


def test_a_result_is_no_living_state() -> None:
    state = running()
    assert refused(state, finished(only_run(state), AttemptState.STARTED)) is Refusal.INVALID


def test_a_start_is_told_once_and_may_be_repeated() -> None:
    state = running()
    done(state, started(only_run(state)))
    done(state, started(only_run(state)))
    assert attempt_of(only_run(state)).state is AttemptState.STARTED


def test_a_superseded_token_changes_nothing_but_leaves_a_note() -> None:
    state = running("a", "b")
    old = only_run(state)
    done(state, ExpireSession(attempt_of(old).member, 1))
    new = only_run(state)
    assert refused(state, started(old)) is Refusal.STALE_TOKEN
    assert refused(state, finished(old)) is Refusal.STALE_TOKEN
    assert attempt_of(only_run(state)) == attempt_of(new)
    assert "succeeded" in only_run(state).attempts[0].note
    refused(state, finished(old, AttemptState.FAILED))
    assert "succeeded" in only_run(state).attempts[0].note
    done(state, finished(new, AttemptState.FAILED))
    assert outcomes(state) == {SLOT: "failed"}


def test_a_result_comes_once() -> None:
    state = running()
    run = only_run(state)
    done(state, finished(run))
    assert refused(state, finished(run, AttemptState.FAILED)) is Refusal.STALE_TOKEN
    assert outcomes(state) == {SLOT: "succeeded"}
    assert run_row(state, run.id).attempts[0].note == ""


def test_a_result_of_a_run_that_nobody_knows_is_stale() -> None:
    assert refused(cluster("a"), AttemptFinished("1/1", 1, AttemptState.FAILED, NOW)) is Refusal.STALE_TOKEN


def test_an_attempt_that_its_node_reports_lost_is_made_again() -> None:
    state = running("a", "b")
    holder = node_of(state, only_run(state))
    done(state, finished(only_run(state), AttemptState.LOST, reason="out of memory"))
    run = only_run(state)
    assert attempt_of(run).n == 2
    assert node_of(state, run) != holder
    assert run.attempts[0].reason == "out of memory"


def test_reports_are_clipped_and_never_refused() -> None:
    state = running()
    run = only_run(state)
    output = "ä" * OUTPUT_TAIL_BYTES_MAX
    done(state, finished(run, reason="y" * 9_999, output_tail="x" + output))
    last = run_row(state, run.id).attempts[-1]
    assert last.output_tail == output[: OUTPUT_TAIL_BYTES_MAX // 2]
    assert len(last.reason) == REASON_LENGTH_MAX


def test_a_cut_output_has_no_half_characters() -> None:
    state = running()
    run = only_run(state)
    done(state, finished(run, output_tail="ä" * OUTPUT_TAIL_BYTES_MAX + "x"))
    tail = run_row(state, run.id).attempts[-1].output_tail
    assert set(tail) == {"ä", "x"}
    assert len(tail.encode()) == OUTPUT_TAIL_BYTES_MAX - 1


def test_cancelling_a_running_run_asks_its_node() -> None:
    state = running()
    assert done(state, CancelRun(only_run(state).id)).value == "running"
    assert done(state, CancelRun(only_run(state).id)).value == "running"
    done(state, finished(only_run(state), AttemptState.CANCELLED, reason="stopped"))
    assert entries(state)[SLOT].reason == "cancelled on request"


def test_a_run_that_ends_by_itself_before_the_cancellation_reaches_it_keeps_its_outcome() -> None:
    state = running()
    done(state, CancelRun(only_run(state).id))
    done(state, finished(only_run(state)))
    assert outcomes(state) == {SLOT: "succeeded"}


def test_cancelling_a_queued_run_ends_it_and_the_line_moves_on() -> None:
    state = cluster()
    uid = put(state, overlap=Overlap.QUEUE_ALL).uid
    for n in range(1, 4):
        fired(state, NOW + n * SECOND)
    first, second, third = state.live_runs[uid]
    assert list(state.unplaced) == [first]
    assert done(state, CancelRun(first)).value == "cancelled"
    assert list(state.unplaced) == [second]
    done(state, CancelRun(third))
    assert state.live_runs[uid] == (second,)
    assert refused(state, CancelRun(first)) is Refusal.CONFLICT
    assert refused(state, CancelRun("1/1")) is Refusal.NOT_FOUND


def test_a_run_without_a_node_waits_and_is_placed_when_one_comes() -> None:
    state = cluster()
    put(state, nodes=("b",))
    fired(state, SLOT)
    run = only_run(state)
    assert (run.state, bool(run.reason)) == (RunState.QUEUED, True)
    done(state, OpenSession(info("a"), 1))
    assert refused(state, PlaceRun(run.id)) is Refusal.NOT_READY
    done(state, OpenSession(info("b"), 1))
    assert done(state, PlaceRun(run.id)).value == attempt_of(only_run(state)).token
    assert refused(state, PlaceRun(run.id)) is Refusal.NOT_READY
    assert refused(state, PlaceRun("1/1")) is Refusal.NOT_FOUND


def test_a_run_that_waits_for_another_cannot_be_placed() -> None:
    state = cluster("a")
    uid = put(state, overlap=Overlap.QUEUE_ONE).uid
    fired(state, SLOT)
    fired(state, SLOT + SECOND)
    second = state.live_runs[uid][1]
    assert refused(state, PlaceRun(second)) is Refusal.NOT_READY


def test_an_edit_of_the_overlap_lets_the_line_go_or_closes_it() -> None:
    state = cluster("a")
    uid = put(state, overlap=Overlap.QUEUE_ALL).uid
    for n in range(1, 4):
        fired(state, NOW + n * SECOND)
    put(state, overlap=Overlap.ALLOW)
    assert list(state.unplaced) == list(state.live_runs[uid][1:])
    put(state, overlap=Overlap.QUEUE_ALL)
    assert state.unplaced == {}
    done(state, finished(state.runs[state.live_runs[uid][0]]))
    assert only_live_states(state) == [RunState.RUNNING, RunState.QUEUED]


def only_live_states(state: ClusterState) -> list[RunState]:
    return [state.runs[run_id].state for run_id in state.live_runs[job(state).uid]]


def test_what_a_run_does_is_pinned_at_its_first_grant() -> None:
    state = cluster()
    put(state, timeout_ms=1)
    fired(state, SLOT)
    pinned = put(state, timeout_ms=2).definition
    done(state, OpenSession(info("a"), 1))
    done(state, PlaceRun(only_run(state).id))
    put(state, timeout_ms=3)
    done(state, OpenSession(info("a"), 2))
    assert attempt_of(only_run(state)).n == 2
    assert only_run(state).definition == pinned
    done(state, finished(only_run(state)))
    assert [run.definition for run in all_runs(state)] == [None]


def end_runs(state: ClusterState, count: int, *, name: str = "job", **changes: object) -> list[str]:
    """Start and end so many runs of the job; the ids of those that are kept in full, the oldest first."""
    put(state, name)
    for n in range(count):
        done(state, RunJob(f"default/{name}"), NOW + n)
        done(state, finished(only_run(state, name), **changes))
    return [run.id for run in runs_of(state, job(state, name).uid)][::-1]


def test_many_jobs_share_the_room_for_ended_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    state = cluster("a")
    one = len(pack_run(all_runs(state)[0])) if end_runs(state, 1) else 0
    monkeypatch.setattr("peercron.core.apply.ledger.RUNS_KEPT_BYTES", 6 * one + 20)
    assert len(end_runs(state, 9)) == 6
    put(state, "other")
    assert len(end_runs(state, 1)) == 3
    # One that is too large for the room that its job has is kept all the same, alone.
    assert len(end_runs(state, 1, output_tail="x" * 9 * one)) == 1


def test_many_jobs_share_the_room_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.core.apply.ledger.LEDGER_KEPT", 8)
    state = cluster("a")
    end_runs(state, 9)
    uid = job(state).uid
    assert len(state.ledger[uid]) == 8
    put(state, "other")
    end_runs(state, 1)
    assert len(state.ledger[uid]) == 4
    assert [entry.run_id for entry in entries_of(state, uid)][-1] == all_runs(state)[-1].id


def test_the_last_runs_are_kept_in_full_and_all_in_the_ledger() -> None:
    state = cluster("a")
    uid = put(state).uid
    for n in range(RUNS_KEPT_PER_JOB + 5):
        done(state, RunJob("default/job"), NOW + n)
        done(state, finished(only_run(state)))
    assert len(state.ledger[uid]) == RUNS_KEPT_PER_JOB + 5
    assert state.runs == {}
    ended = [run.id for run in runs_of(state, uid)]
    assert len(ended) == RUNS_KEPT_PER_JOB
    assert ended[::-1] == [entry.run_id for entry in entries_of(state, uid)][5:]
