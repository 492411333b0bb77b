"""Retries: as many as were asked for, after the pauses that were asked for, where they were wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core import retry as retries
from peercron.core.apply import apply
from peercron.core.commands import CancelRun, ExpireSession, OpenSession, PlaceRun, PutJob
from peercron.core.job import Guarantee, Overlap
from peercron.core.limits import ATTEMPTS_MAX, RETRIES_MAX
from peercron.core.pace import Backoff, Retry, RetryOn
from peercron.core.planner import Planner
from peercron.core.run import Attempt, AttemptState, Run, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    complaint,
    definition,
    done,
    entries,
    finished,
    fired,
    info,
    node_of,
    only_run,
    outcomes,
    put,
    refused,
    run_row,
    started,
)

SLOT = NOW + SECOND
PLAIN = Retry(2, Backoff.FIXED, 5_000, jitter=False)


def running(*names: str, **changes: object) -> ClusterState:
    state = cluster(*(names or ("a", "b")))
    put(state, **({"retry": PLAIN} | changes))
    fired(state, SLOT, next_ms=-1)
    return state


def fail(state: ClusterState, now_ms: int = SLOT, outcome: AttemptState = AttemptState.FAILED) -> None:
    done(state, finished(only_run(state), outcome, reason="exit code 1", exit_code=1), now_ms)


def again(state: ClusterState, now_ms: int) -> Run:
    """The planner's part: the run gets its next attempt when it is due, and not before."""
    planner = Planner(state)
    assert planner.plan(now_ms - 1) == []
    assert planner.next_due_ms() == now_ms
    commands = planner.plan(now_ms)
    assert commands == [PlaceRun(only_run(state).id)]
    done(state, commands[0], now_ms)
    return only_run(state)


@pytest.mark.parametrize("outcome", [AttemptState.FAILED, AttemptState.TIMED_OUT])
def test_a_failed_attempt_is_followed_by_another_after_a_pause(outcome: AttemptState) -> None:
    state = running()
    fail(state, outcome=outcome)
    waiting = only_run(state)
    assert (waiting.state, waiting.not_before_ms) == (RunState.QUEUED, SLOT + 5_000)
    assert waiting.reason == "exit code 1; attempt 2 after 5000 ms"
    assert refused(state, PlaceRun(waiting.id), SLOT + 4_999) is Refusal.NOT_READY
    run = again(state, SLOT + 5_000)
    assert (run.state, run.not_before_ms, attempt_of(run).n) == (RunState.RUNNING, 0, 2)
    done(state, finished(run), SLOT + 6_000)
    assert outcomes(state) == {SLOT: "succeeded"}
    assert entries(state)[SLOT].attempts == 2


def test_after_the_last_one_the_failure_is_the_outcome() -> None:
    state = running()
    for n in range(3):
        fail(state, SLOT + 5_000 * n)
        if n < 2:
            again(state, SLOT + 5_000 * (n + 1))
    assert outcomes(state) == {SLOT: "failed"}
    assert (entries(state)[SLOT].attempts, entries(state)[SLOT].reason) == (3, "exit code 1")
    assert not state.live_runs


def test_without_a_retry_a_failure_is_final() -> None:
    state = running(retry=Retry())
    fail(state)
    assert outcomes(state) == {SLOT: "failed"}


def test_a_run_that_shall_end_is_not_tried_again() -> None:
    state = running()
    done(state, CancelRun(only_run(state).id))
    fail(state)
    assert outcomes(state) == {SLOT: "failed"}


def test_a_run_that_waits_for_its_next_attempt_can_be_cancelled() -> None:
    state = running()
    fail(state)
    done(state, CancelRun(only_run(state).id))
    assert outcomes(state) == {SLOT: "cancelled"}
    assert (state.unplaced, state.runs) == ({}, {})


def test_it_is_alive_meanwhile_and_blocks_the_next_slot() -> None:
    state = running()
    fail(state)
    fired(state, SLOT + SECOND)
    assert entries(state)[SLOT + SECOND].reason.endswith("was still waiting (overlap forbid, 1 alive)")


def test_those_behind_it_wait_too() -> None:
    state = running(overlap=Overlap.QUEUE_ALL)
    fail(state)
    fired(state, SLOT + SECOND)
    assert [run.state for run in state.runs.values()] == [RunState.QUEUED, RunState.QUEUED]
    assert list(state.unplaced) == [next(iter(state.runs))]


def test_what_starts_once_is_not_retried() -> None:
    state = cluster("a")
    changes = {"guarantee": Guarantee.AT_MOST_ONCE, "retry": PLAIN}
    assert complaint(state, PutJob(definition(**changes))) == "retry"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (Retry(-1), "retry.max"),
        (Retry(RETRIES_MAX + 1), "retry.max"),
        (Retry(1, base_ms=-1), "retry.base, retry.cap"),
        (Retry(1, base_ms=2, cap_ms=1), "retry.base, retry.cap"),
    ],
)
def test_bounds_of_a_retry(wrong: Retry, key: str) -> None:
    assert complaint(cluster("a"), PutJob(definition(retry=wrong))) == key


# Where.


def test_the_next_attempt_is_on_a_node_that_has_not_failed() -> None:
    state = running("a", "b", "c", retry=replace(PLAIN, max=3))
    where = [node_of(state, only_run(state))]
    for n in range(3):
        fail(state, SLOT + 5_000 * n)
        where.append(node_of(state, again(state, SLOT + 5_000 * (n + 1))))
    assert sorted(where[:3]) == ["a", "b", "c"]
    assert where[3] != where[2]


def test_with_nobody_else_it_is_the_same_node() -> None:
    state = running("a")
    fail(state)
    assert node_of(state, again(state, SLOT + 5_000)) == "a"


def test_it_stays_where_it_was_if_that_is_wanted_and_possible() -> None:
    state = running("a", "b", retry=replace(PLAIN, on=RetryOn.SAME_NODE))
    first = node_of(state, only_run(state))
    fail(state)
    second = again(state, SLOT + 5_000)
    assert node_of(state, second) == first
    fail(state, SLOT + 5_000)
    done(state, ExpireSession(f"id-{first}", 1), SLOT + 6_000)
    assert node_of(state, again(state, SLOT + 10_000)) != first


# How long.


def failed(attempts: int, retry: Retry, run_id: str = "1/1") -> Run:
    rows = [Attempt(n + 1, "id-a", 1, n + 1, AttemptState.FAILED, NOW) for n in range(attempts)]
    pinned = definition(retry=retry)
    return Run(run_id, "1", "default/job", 1, False, RunState.QUEUED, NOW, attempts=tuple(rows), definition=pinned)


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [
        (Backoff.FIXED, [100, 100, 100, 100]),
        (Backoff.LINEAR, [100, 200, 300, 400]),
        (Backoff.EXPONENTIAL, [100, 200, 400, 500]),
    ],
)
def test_pauses_grow_as_asked_up_to_the_cap(backoff: Backoff, pauses: list[int]) -> None:
    retry = Retry(4, backoff, 100, 500, jitter=False)
    assert [retries.pause_after_failure_ms(failed(n, retry)) for n in (1, 2, 3, 4)] == pauses


@given(st.text(max_size=9), st.integers(1, RETRIES_MAX), st.integers(0, 10_000))
def test_jitter_is_the_same_everywhere_and_takes_at_most_half(run_id: str, attempts: int, base_ms: int) -> None:
    retry = Retry(RETRIES_MAX, Backoff.FIXED, base_ms, 10_000)
    pause_ms = retries.pause_after_failure_ms(failed(attempts, retry, run_id))
    assert base_ms // 2 <= pause_ms <= base_ms
    assert pause_ms == retries.pause_after_failure_ms(failed(attempts, retry, run_id))


def test_jitter_parts_what_failed_together() -> None:
    pauses = {retries.pause_after_failure_ms(failed(1, Retry(1), f"1/{n}")) for n in range(100)}
    assert len(pauses) > 90


# Losses.


def lose(state: ClusterState, session: int, now_ms: int) -> None:
    """The only node comes back anew, and what it held is lost."""
    done(state, OpenSession(info("a"), session), now_ms)


def test_a_run_that_is_lost_again_and_again_slows_down() -> None:
    state = running("a", retry=Retry())
    now_ms, pauses = SLOT, []
    for n in range(1, ATTEMPTS_MAX):
        lose(state, n + 1, now_ms)
        run = only_run(state)
        pauses.append(max(0, run.not_before_ms - now_ms))
        if run.state is RunState.QUEUED:
            run = again(state, run.not_before_ms)
        now_ms = state.now_ms
    assert pauses[0] == 0
    assert all(500 << n <= pause <= 1_000 << n for n, pause in enumerate(pauses[1:7]))
    assert all(30_000 <= pause <= 60_000 for pause in pauses[7:])
    lose(state, ATTEMPTS_MAX + 1, now_ms)
    assert outcomes(state) == {SLOT: "lost"}


def test_members_of_an_older_language_know_no_pause() -> None:
    state = ClusterState()
    done(state, OpenSession(info("a", level=1), 1))
    put(state)
    fired(state, SLOT)
    for session in (2, 3, 4):
        done(state, OpenSession(info("a", level=1), session), SLOT)
        assert only_run(state).state is RunState.RUNNING


def test_a_loss_is_not_counted_as_a_failure() -> None:
    state = running("a", retry=replace(PLAIN, max=1))
    lose(state, 2, SLOT)
    fail(state)
    assert only_run(state).state is RunState.QUEUED
    again(state, SLOT + 5_000)
    fail(state, SLOT + 5_000)
    assert outcomes(state) == {SLOT: "failed"}


def test_the_sum_of_all_attempts_is_bounded() -> None:
    state = running("a", retry=Retry(RETRIES_MAX, Backoff.FIXED, 0, 0))
    for n in range(ATTEMPTS_MAX):
        run = only_run(state)
        if run.state is RunState.QUEUED:
            done(state, PlaceRun(run.id), state.now_ms)
            run = only_run(state)
        assert attempt_of(run).n == n + 1
        done(state, finished(run, AttemptState.FAILED), state.now_ms)
    assert outcomes(state) == {SLOT: "failed"}


# The planner.


def test_a_plan_that_came_too_early_is_made_again() -> None:
    """Its leader's clock was ahead of the time in the log."""
    state = running()
    fail(state)
    planner = Planner(state)
    (command,) = planner.plan(SLOT + 5_000)
    verdict = apply(state, command, SLOT + 4_000)
    planner.settle(command, verdict)
    assert planner.next_due_ms() == SLOT + 5_000
    (command,) = planner.plan(SLOT + 5_000)
    done(state, command, SLOT + 5_000)
    assert only_run(state).state is RunState.RUNNING


def test_a_retry_keeps_the_run_and_its_idempotency_key() -> None:
    state = running()
    before = only_run(state)
    done(state, started(before))
    fail(state)
    run = again(state, SLOT + 5_000)
    assert run.id == before.id
    assert attempt_of(run).token > attempt_of(before).token
    assert run_row(state, run.id).definition == before.definition


def test_any_node_is_as_good_as_another_where_the_job_says_so() -> None:
    state = running(retry=Retry(2, Backoff.FIXED, 0, jitter=False, on=RetryOn.ANY))
    run = only_run(state)
    done(state, finished(run, AttemptState.FAILED))
    candidates = list(state.members.values())
    assert retries.preferred(state.runs[run.id], candidates) is candidates


def test_a_run_that_has_not_been_tried_has_no_preference() -> None:
    state = running()
    candidates = list(state.members.values())
    assert retries.preferred(replace(only_run(state), attempts=()), candidates) is candidates


@given(st.text(), st.integers(1, 1_000))
def test_a_stable_number_is_the_same_and_in_its_bounds(seed: str, below: int) -> None:
    assert 0 <= retries.stable(seed, below) < below
    assert retries.stable(seed, below) == retries.stable(seed, below)
