"""Jobs after others: each end is heard once, a join fires once, and nobody waits for himself."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.commands import ApplyJobs, CancelRun, DeleteJob, ExpireSession, OpenSession, PauseJob, PutJob, RunJob
from peercron.core.history import entries_of, find_run
from peercron.core.job import (
    EveryTrigger,
    Guarantee,
    ManualTrigger,
    Overlap,
)
from peercron.core.limits import AFTER_MAX, FOLLOWERS_MAX
from peercron.core.order import cycle
from peercron.core.pace import Require
from peercron.core.planner import Planner
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from tests.core.builders import (
    NOW,
    cluster,
    complaint,
    definition,
    done,
    finished,
    info,
    job,
    only_run,
    put,
    refused,
    started,
)
from tests.core.invariants import History


def chain(*jobs: tuple[str, tuple[str, ...]], **changes: Any) -> ClusterState:
    state = cluster("a")
    for name, after in jobs:
        add(state, name, *after, **changes)
    return state


def add(state: ClusterState, name: str, *after: str, **changes: Any) -> None:
    put(state, name, trigger=ManualTrigger(), after=tuple(f"default/{key}" for key in after), **changes)


def ends(state: ClusterState, name: str, outcome: AttemptState = AttemptState.SUCCEEDED) -> None:
    """A run of the job by hand, from its beginning to its end."""
    done(state, RunJob(f"default/{name}"))
    grant(state)
    done(state, finished(only_run(state, name), outcome))
    grant(state)


def grant(state: ClusterState) -> None:
    """The planner's part: what waits only for a grant of its own gets it."""
    planner = Planner(state)
    while commands := planner.plan(state.now_ms):
        for command in commands:
            planner.settle(command, apply(state, command, state.now_ms))


def said(state: ClusterState, name: str) -> list[tuple[str, str]]:
    """What the ledger says of a job: outcome and reason."""
    return [(entry.outcome.value, entry.reason) for entry in entries_of(state, job(state, name).uid)]


def test_a_job_runs_after_the_end_of_another() -> None:
    state = chain(("a", ()), ("b", ("a",)))
    ends(state, "a")
    run = only_run(state, "b")
    assert (run.state, run.manual) == (RunState.RUNNING, False)
    assert run.id.startswith(f"{job(state, 'b').uid}/e")
    done(state, finished(run))
    assert said(state, "b") == [("succeeded", "")]
    assert find_run(state, run.id).id == run.id  # type: ignore[union-attr]
    assert state.joins == {}


def test_the_event_is_the_slot() -> None:
    state = chain(("a", ()), ("b", ("a",)))
    done(state, RunJob("default/a"))
    verdict = done(state, finished(only_run(state, "a")))
    assert only_run(state, "b").id == f"{job(state, 'b').uid}/e{verdict.index}"


@pytest.mark.parametrize(
    ("require", "first", "second", "runs"),
    [
        (Require.ALL_SUCCEEDED, "succeeded", "succeeded", 1),
        (Require.ALL_SUCCEEDED, "failed", "succeeded", 0),
        (Require.ALL_SUCCEEDED, "succeeded", "timed_out", 0),
        (Require.ALL_DONE, "failed", "succeeded", 1),
        (Require.ALL_DONE, "failed", "cancelled", 1),
        (Require.ANY_SUCCEEDED, "succeeded", "failed", 1),
        (Require.ANY_SUCCEEDED, "failed", "failed", 0),
        (Require.ANY_SUCCEEDED, "succeeded", "succeeded", 2),
    ],
)
def test_what_is_required(require: Require, first: str, second: str, runs: int) -> None:
    state = chain(("a", ()), ("b", ()))
    add(state, "c", "a", "b", require=require, overlap=Overlap.ALLOW)
    ends(state, "a", AttemptState(first))
    early = require is Require.ANY_SUCCEEDED and first == "succeeded"
    assert len(state.live_runs.get(job(state, "c").uid, ())) == early
    ends(state, "b", AttemptState(second))
    assert len(state.live_runs.get(job(state, "c").uid, ())) == runs
    assert state.joins == {}


def test_a_join_that_is_not_met_says_which_job_is_to_blame() -> None:
    state = chain(("a", ()), ("b", ()), ("c", ("a", "b")))
    ends(state, "a", AttemptState.FAILED)
    assert said(state, "c") == []
    ends(state, "b")
    assert said(state, "c") == [("skipped", "default/a failed (require all_succeeded)")]


def test_a_skip_is_told_down_the_chain() -> None:
    state = chain(("a", ()), ("b", ("a",)), ("c", ("b",)), ("d", ("c",)))
    add(state, "tidy", "c", require=Require.ALL_DONE)
    ends(state, "a", AttemptState.FAILED)
    assert said(state, "c") == [("skipped", "default/b skipped (require all_succeeded)")]
    assert said(state, "d") == [("skipped", "default/c skipped (require all_succeeded)")]
    assert only_run(state, "tidy").state is RunState.RUNNING


def test_what_was_heard_again_takes_the_place_of_what_was_heard_before() -> None:
    state = chain(("a", ()), ("b", ()), ("c", ("a", "b")))
    ends(state, "a", AttemptState.FAILED)
    ends(state, "a")
    ends(state, "b")
    done(state, finished(only_run(state, "c")))
    assert said(state, "c") == [("succeeded", "")]
    ends(state, "b")
    assert "c" not in {run.job_key for run in state.runs.values()}
    assert len(state.joins) == 1


def test_a_paused_job_hears_and_skips() -> None:
    state = chain(("a", ()), ("b", ("a",)))
    done(state, PauseJob("default/b"))
    ends(state, "a")
    assert said(state, "b") == [("skipped", "the job was paused")]


def test_a_job_meets_its_own_overlap_policy() -> None:
    state = chain(("a", ()), ("b", ("a",)))
    ends(state, "a")
    ends(state, "a")
    assert said(state, "b")[0][0] == "skipped"
    assert "overlap forbid" in said(state, "b")[0][1]


def test_an_attempt_that_is_lost_for_good_is_an_end() -> None:
    state = cluster("a")
    add(state, "a", guarantee=Guarantee.AT_MOST_ONCE)
    add(state, "b", "a", require=Require.ALL_DONE)
    done(state, RunJob("default/a"))
    done(state, started(only_run(state, "a")))
    done(state, ExpireSession("id-a", 1))
    assert only_run(state, "b").state is RunState.QUEUED
    done(state, OpenSession(info("a"), 2))
    grant(state)
    assert only_run(state, "b").state is RunState.RUNNING


def test_two_ends_in_one_command_are_two_events() -> None:
    state = chain(("a", ()), overlap=Overlap.QUEUE_ALL)
    add(state, "b", "a", require=Require.ALL_DONE, overlap=Overlap.ALLOW)
    for _ in range(3):
        done(state, RunJob("default/a"))
    first, second, third = state.live_runs[job(state, "a").uid]
    done(state, CancelRun(second))
    done(state, CancelRun(third))
    done(state, finished(state.runs[first]))
    assert len(state.live_runs[job(state, "b").uid]) == 3


def test_a_long_chain_is_no_deep_recursion() -> None:
    state = cluster("a")
    names = [f"j{n}" for n in range(2_000)]
    rows = [definition(names[0], trigger=ManualTrigger())]
    rows += [definition(n, trigger=ManualTrigger(), after=(f"default/{b}",)) for b, n in pairwise(names)]
    done(state, ApplyJobs(tuple(reversed(rows))))
    ends(state, names[0], AttemptState.FAILED)
    assert said(state, names[-1])[0][0] == "skipped"


# Who comes after whom.


def test_a_circle_is_refused_and_named() -> None:
    state = chain(("a", ()), ("b", ("a",)), ("c", ("b",)))
    verdict = apply(state, PutJob(definition("a", trigger=ManualTrigger(), after=("default/c",))), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.code is Refusal.INVALID
    assert verdict.detail == (
        "after: they wait for each other: default/a after default/c after default/b after default/a"
    )
    assert job(state, "a").definition.after == ()


def test_a_circle_through_another_namespace_and_within_one_file_is_found() -> None:
    state = cluster("a")
    rows = (
        definition("a", trigger=ManualTrigger(), after=("ops/b",)),
        definition("b", namespace="ops", trigger=ManualTrigger(), after=("default/a",)),
    )
    verdict = apply(state, ApplyJobs(rows), NOW)
    assert isinstance(verdict, Refused)
    assert "default/a after ops/b after default/a" in verdict.detail
    assert state.jobs == {}


def test_nobody_comes_after_himself_or_after_nobody() -> None:
    state = cluster("a")
    assert complaint(state, PutJob(definition(trigger=ManualTrigger(), after=("default/job",)))) == "after"
    assert complaint(state, PutJob(definition(trigger=ManualTrigger(), after=("default/nobody",)))) == "after"


def test_the_jobs_of_a_file_may_stand_in_any_order() -> None:
    state = cluster("a")
    rows = [definition("b", trigger=ManualTrigger(), after=("default/a",)), definition("a", trigger=ManualTrigger())]
    done(state, ApplyJobs(tuple(rows)))
    ends(state, "a")
    assert only_run(state, "b").state is RunState.RUNNING


def test_who_is_followed_cannot_be_deleted_alone() -> None:
    state = chain(("a", ()), ("b", ("a",)), owner="file")
    assert refused(state, DeleteJob("default/a")) is Refusal.CONFLICT
    rest = (definition("b", trigger=ManualTrigger(), after=("default/a",), owner="file"),)
    verdict = apply(state, ApplyJobs(rest, prune_owner="file"), NOW)
    assert isinstance(verdict, Refused)
    assert verdict.detail == "after: there is no job default/a, after which default/b comes"
    done(state, ApplyJobs((), prune_owner="file"))
    assert (state.jobs, state.followers) == ({}, {})
    state = chain(("a", ()), ("b", ("a",)))
    done(state, DeleteJob("default/b"))
    done(state, DeleteJob("default/a"))


def test_an_edit_of_the_order_begins_anew() -> None:
    state = chain(("a", ()), ("b", ()), ("c", ("a", "b")))
    ends(state, "a")
    add(state, "c", "b", "a")
    assert state.joins == {}
    add(state, "c", "b")
    assert list(state.followers) == ["default/b"]
    ends(state, "b")
    assert only_run(state, "c").state is RunState.RUNNING


def test_a_run_of_a_job_that_had_the_name_before_is_not_heard_of() -> None:
    state = chain(("a", ()))
    done(state, RunJob("default/a"))
    old = only_run(state, "a")
    done(state, DeleteJob("default/a"))
    add(state, "a")
    add(state, "b", "a", require=Require.ALL_DONE)
    done(state, finished(old, AttemptState.CANCELLED))
    assert job(state, "b").uid not in state.live_runs


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"after": ("default/a",), "trigger": EveryTrigger(1_000)}, "after"),
        ({"after": ("default/a", "default/a")}, "after"),
        ({"after": ("a",)}, "after"),
        ({"after": ("default/a b",)}, "after"),
        ({"after": tuple(f"default/a{n}" for n in range(AFTER_MAX + 1))}, "after"),
        ({"require": Require.ALL_DONE}, "require"),
    ],
)
def test_what_is_no_order_is_named(changes: dict[str, Any], field: str) -> None:
    state = chain(("a", ()))
    assert complaint(state, PutJob(definition("b", **{"trigger": ManualTrigger()} | changes))) == field


def test_a_job_is_followed_by_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.core.apply.order.FOLLOWERS_MAX", 2)
    state = chain(("a", ()), ("b", ("a",)), ("c", ("a",)))
    assert complaint(state, PutJob(definition("d", trigger=ManualTrigger(), after=("default/a",)))) == "after"
    add(state, "c", "a", "b")
    assert FOLLOWERS_MAX == 1_000


# Twins.


def naive_cycle(edges: dict[int, tuple[int, ...]]) -> bool:
    """Whoever is left when those that wait for nobody go, again and again, waits in a circle or for one."""
    left = dict(edges)
    while gone := [key for key, after in left.items() if not any(up in left for up in after)]:
        for key in gone:
            del left[key]
    return bool(left)


@given(st.dictionaries(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=3).map(tuple)))
def test_circles_are_found_as_by_trying(edges: dict[int, tuple[int, ...]]) -> None:
    whole = {key: edges.get(key, ()) for key in range(7)}
    found = cycle([str(key) for key in whole], lambda key: tuple(map(str, whole[int(key)])))
    assert bool(found) == naive_cycle(whole)
    if found:
        assert found[0] == found[-1]
        assert all(int(later) in whole[int(earlier)] for earlier, later in pairwise(found))


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_each_end_is_heard_once(dice: Random) -> None:
    """Runs of a and b end in any order: c, which wants all, runs as often as the rounds that can be counted by hand."""
    state = chain(("a", ()), ("b", ()))
    add(state, "c", "a", "b", require=Require.ALL_DONE, overlap=Overlap.ALLOW)
    history, heard, rounds = History(), set[str](), 0
    for _ in range(12):
        name = dice.choice("ab")
        ends(state, name, dice.choice((AttemptState.SUCCEEDED, AttemptState.FAILED)))
        assert history.violations(state) == []
        heard.add(name)
        if len(heard) == 2:
            heard, rounds = set(), rounds + 1
    assert len(state.live_runs.get(job(state, "c").uid, ())) == rounds
