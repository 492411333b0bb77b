"""Mode parallel: a shard on each node; all at once behind a barrier, or one after another; it ends by its quorum."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.commands import (
    AttemptReady,
    CancelRun,
    DeleteJob,
    ExpireSession,
    OpenSession,
    PlaceRun,
    PutJob,
    RunJob,
)
from peercron.core.dispatcher import Release, Start, TellReady, decide
from peercron.core.job import Mode, Overlap, Quorum
from peercron.core.limits import BARRIER_MS_MAX
from peercron.core.placement import NO_NODE
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, Run, RunState
from peercron.core.shards import live_shards
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from peercron.core.views import find_run_view
from tests.core.builders import (
    NOW,
    attempt_of,
    cluster,
    definition,
    done,
    finished,
    info,
    job,
    node_of,
    put,
    refused,
    run_row,
    started,
)
from tests.core.invariants import violations

LATER = NOW + BARRIER_MS_MAX


def running(*nodes: str, now_ms: int = NOW, **changes: Any) -> tuple[ClusterState, str]:
    """A cluster of these in which a parallel job has been run, and all that can be granted is; and the run's id."""
    state = cluster(*(nodes or "abc"))
    put(state, mode=Mode.PARALLEL, **changes)
    run_id = str(done(state, RunJob("default/job"), now_ms).value)
    grant(state)
    return state, run_id


def grant(state: ClusterState, now_ms: int = NOW) -> None:
    """The leader's planner proposes what waits for a grant of its own."""
    planner = Planner(state)
    while commands := [command for command in planner.plan(now_ms) if isinstance(command, PlaceRun)]:
        for command in commands:
            planner.settle(command, done(state, command, now_ms))
    planner.close()
    assert violations(state) == []


def shard(state: ClusterState, node: str) -> Run:
    """The live shard on this node."""
    return next(run for run in state.runs.values() if run.member == f"id-{node}")


def nodes(state: ClusterState, run_id: str) -> list[str]:
    return [node_of(state, each) for each in live_shards(state, run_row(state, run_id)) if each.live_attempt]


def ready(state: ClusterState, *names: str) -> None:
    for name in names:
        run = shard(state, name)
        done(state, AttemptReady(run.id, attempt_of(run).token))


def end(state: ClusterState, name: str, outcome: AttemptState = AttemptState.SUCCEEDED, **changes: Any) -> None:
    done(state, finished(shard(state, name), outcome, **changes))
    grant(state)


def die(state: ClusterState, name: str) -> None:
    done(state, ExpireSession(f"id-{name}", 1))
    grant(state)


def test_there_is_a_shard_on_each_node_and_each_has_a_token_of_its_own() -> None:
    state, run_id = running()
    assert nodes(state, run_id) == ["a", "b", "c"]
    shards = live_shards(state, run_row(state, run_id))
    assert [each.id for each in shards] == [f"{run_id}#{n}" for n in range(3)]
    assert len({attempt_of(each).token for each in shards}) == 3
    assert attempt_of(shards[0]).why == "one shard on each of the 3 nodes that may run it"


def test_the_run_ends_when_all_its_shards_have_and_stands_once_in_the_ledger() -> None:
    state, run_id = running()
    end(state, "a")
    end(state, "b")
    assert run_row(state, run_id).state is RunState.RUNNING
    end(state, "c")
    run = run_row(state, run_id)
    assert (run.state, len(run.ended), state.runs, state.live_runs) == (RunState.SUCCEEDED, 3, {}, {})
    assert run_row(state, f"{run_id}#1").attempts[0].member == "id-b"
    assert len(state.ledger[job(state).uid]) == 1


@pytest.mark.parametrize(
    ("quorum", "fails", "outcome"),
    [
        (Quorum.ALL, 0, RunState.SUCCEEDED),
        (Quorum.ALL, 1, RunState.FAILED),
        (Quorum.MAJORITY, 1, RunState.SUCCEEDED),
        (Quorum.MAJORITY, 2, RunState.FAILED),
        (Quorum.ANY, 2, RunState.SUCCEEDED),
        (Quorum.ANY, 3, RunState.FAILED),
    ],
)
def test_it_succeeds_or_fails_as_a_whole_by_its_quorum(quorum: Quorum, fails: int, outcome: RunState) -> None:
    state, run_id = running(quorum=quorum)
    for n, name in enumerate("abc"):
        end(state, name, AttemptState.FAILED if n < fails else AttemptState.SUCCEEDED, reason="exit code 1")
    run = run_row(state, run_id)
    assert run.state is outcome
    if outcome is RunState.FAILED:
        assert "succeeded" in run.reason
        assert "a failed: exit code 1" in run.reason


def test_count_takes_the_least_loaded() -> None:
    state = cluster("a", "b", "c")
    state.live_attempts["id-b"] = {"load/1": 1}
    put(state, mode=Mode.PARALLEL, count=2)
    run_id = str(done(state, RunJob("default/job")).value)
    del state.live_attempts["id-b"]
    grant(state)
    assert sorted(nodes(state, run_id)) == ["a", "c"]


def test_one_after_another_in_the_jobs_order() -> None:
    state, run_id = running(order=("c", "a", "b"))
    assert nodes(state, run_id) == ["c"]
    end(state, "c")
    assert nodes(state, run_id) == ["a"]
    end(state, "a")
    end(state, "b")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_the_first_that_fails_in_order_is_the_last() -> None:
    state, run_id = running(order=("c", "a", "b"))
    end(state, "c", AttemptState.FAILED, reason="exit code 1")
    run = run_row(state, run_id)
    assert run.state is RunState.FAILED
    assert [(each.member, each.state.value) for each in run.ended[1:]] == [("id-a", "skipped"), ("id-b", "skipped")]


def test_where_any_is_enough_the_order_goes_on_after_a_failure() -> None:
    state, run_id = running(order=("c", "a", "b"), quorum=Quorum.ANY)
    end(state, "c", AttemptState.FAILED)
    assert nodes(state, run_id) == ["a"]
    end(state, "a")
    end(state, "b")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_a_node_of_the_order_that_dies_before_its_turn_stops_it() -> None:
    state, run_id = running(order=("c", "a", "b"))
    die(state, "a")
    end(state, "c")
    run = run_row(state, run_id)
    assert (run.state, [each.state.value for each in run.ended]) == (RunState.LOST, ["succeeded", "lost", "skipped"])


# The barrier.


def test_all_are_prepared_and_nothing_starts_before_the_last_is_ready() -> None:
    state, run_id = running(sync=True)
    (start,) = decide(state, "id-a", 1, ())
    assert isinstance(start, Start)
    assert start.held
    key = start.run.id, start.attempt.token
    assert decide(state, "id-a", 1, (key,)) == [TellReady(*key)]
    ready(state, "a", "b")
    assert decide(state, "id-a", 1, (key,)) == []
    ready(state, "c")
    assert run_row(state, run_id).opened_ms
    assert decide(state, "id-a", 1, (key,)) == [Release(*key)]
    done(state, started(shard(state, "a")))
    assert decide(state, "id-a", 1, (key,)) == []


def test_a_node_that_dies_before_the_barrier_fails_a_run_that_needs_all() -> None:
    state, run_id = running(sync=True)
    ready(state, "a")
    die(state, "c")
    assert all(each.cancel_requested for each in live_shards(state, run_row(state, run_id)))
    for name in "ab":
        end(state, name, AttemptState.CANCELLED)
    run = run_row(state, run_id)
    assert run.state is RunState.LOST
    assert "0 of 3 succeeded, 3 had to (quorum all); c lost" in run.reason


@pytest.mark.parametrize(("quorum", "dead"), [(Quorum.MAJORITY, "c"), (Quorum.ANY, "bc")])
def test_a_node_that_dies_in_the_barrier_does_not_keep_the_others_if_they_are_enough(quorum: Quorum, dead: str) -> None:
    state, run_id = running(sync=True, quorum=quorum)
    left = [name for name in "abc" if name not in dead]
    ready(state, *left)
    assert not run_row(state, run_id).opened_ms
    for name in dead:
        die(state, name)
    assert run_row(state, run_id).opened_ms
    for name in left:
        end(state, name)
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_a_node_that_dies_after_the_barrier_counts_by_the_quorum() -> None:
    for quorum, outcome in ((Quorum.ALL, RunState.LOST), (Quorum.MAJORITY, RunState.SUCCEEDED)):
        state, run_id = running(sync=True, quorum=quorum)
        ready(state, "a", "b", "c")
        die(state, "b")
        end(state, "a")
        end(state, "c")
        assert run_row(state, run_id).state is outcome


def test_the_barrier_does_not_wait_for_ever() -> None:
    state, run_id = running(sync=True, quorum=Quorum.MAJORITY)
    ready(state, "a", "b")
    planner = Planner(state)
    planner.plan(NOW)
    assert planner.next_due_ms() == LATER
    assert PlaceRun(run_id) in planner.plan(LATER)
    done(state, PlaceRun(run_id), LATER)
    assert run_row(state, run_id).opened_ms == LATER
    assert shard(state, "c").cancel_requested
    end(state, "c", AttemptState.CANCELLED)
    end(state, "a")
    end(state, "b")
    assert run_row(state, run_id).state is RunState.SUCCEEDED


def test_a_barrier_that_too_few_reach_in_time_starts_nothing() -> None:
    state, run_id = running(sync=True)
    ready(state, "a", "b")
    done(state, PlaceRun(run_id), LATER)
    assert Planner(state).next_due_ms() is None or PlaceRun(run_id) not in Planner(state).plan(LATER)
    for name in "abc":
        end(state, name, AttemptState.CANCELLED)
    run = run_row(state, run_id)
    assert (run.state, run.opened_ms) == (RunState.TIMED_OUT, 0)
    assert "too few were ready in time" in run.reason


# Its end from outside.


def test_to_cancel_the_run_is_to_cancel_its_shards() -> None:
    state, run_id = running(order=("a", "b", "c"))
    done(state, CancelRun(run_id))
    assert [each.member for each in run_row(state, run_id).ended] == ["id-b", "id-c"]
    end(state, "a", AttemptState.CANCELLED)
    run = run_row(state, run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, "cancelled on request")


def test_a_deleted_job_takes_its_shards_along() -> None:
    state, run_id = running()
    done(state, DeleteJob("default/job"))
    for name in "abc":
        end(state, name, AttemptState.CANCELLED)
    assert run_row(state, run_id).state is RunState.CANCELLED


def test_an_edit_does_not_reach_the_shards_that_wait() -> None:
    state, run_id = running(order=("a", "b"))
    done(state, PutJob(definition(mode=Mode.TURNS, timeout_ms=7)))
    end(state, "a")
    assert nodes(state, run_id) == ["b"]
    assert shard(state, "b").definition == run_row(state, run_id).definition


def test_shards_do_not_count_for_the_overlap() -> None:
    state, _ = running(overlap=Overlap.QUEUE_ONE)
    second = str(done(state, RunJob("default/job")).value)
    assert run_row(state, second).state is RunState.QUEUED
    for name in "abc":
        end(state, name)
    grant(state)
    assert nodes(state, second) == ["a", "b", "c"]


def test_with_nobody_there_it_waits() -> None:
    state, _ = running("a")
    end(state, "a")
    die(state, "a")
    waiting = str(done(state, RunJob("default/job")).value)
    assert run_row(state, waiting).state is RunState.QUEUED
    done(state, OpenSession(info("a"), 2))
    grant(state)
    assert nodes(state, waiting) == ["a"]


def test_the_view_shows_each_shard_with_its_node_alive_and_ended() -> None:
    state, run_id = running(sync=True, quorum=Quorum.MAJORITY)
    ready(state, "a", "b", "c")
    end(state, "b")
    view = find_run_view(state, run_id)
    assert view is not None
    assert (view["mode"], view["barrier_opened_at"]) == ("parallel", "1970-01-01T00:16:40.000Z")
    assert [(row["node"], row["state"]) for row in view["shards"]] == [
        ("a", "running"), ("b", "succeeded"), ("c", "running"),
    ]  # fmt: skip
    whole = find_run_view(state, f"{run_id}#1")
    assert whole is not None
    assert (whole["state"], whole["parent"], whole["attempts"][0]["node"]) == ("succeeded", run_id, "b")


def test_an_order_of_nodes_of_whom_nobody_is_there_waits() -> None:
    state, run_id = running("a", order=("z",))
    assert (state.runs[run_id].state, state.runs[run_id].reason) == (RunState.QUEUED, NO_NODE)
    assert refused(state, PlaceRun(run_id)) is Refusal.NOT_READY, "or the leader would propose it for ever"
    done(state, OpenSession(info("z"), 1))
    grant(state)
    assert nodes(state, run_id) == ["z"]


def test_what_a_shard_says_after_it_was_given_up_is_kept_with_its_run() -> None:
    state, run_id = running("a", "b")
    late = finished(shard(state, "b"))
    done(state, ExpireSession("id-b", 1))
    assert refused(state, late) is Refusal.STALE_TOKEN
    (given_up,) = [each for each in run_row(state, run_id).ended if each.member == "id-b"]
    assert given_up.attempts[-1].note == "reported succeeded after it was given up"
