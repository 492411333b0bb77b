"""Placement in mode single: the least loaded who may, evenly, and not who has just lost the run."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.apply.configuration import configure
from peercron.core.commands import ExpireSession, OpenSession, RunJob
from peercron.core.job import Job, Mode, Overlap
from peercron.core.member import Configuration, Role, Seat
from peercron.core.placement import barred, choose, eligible
from peercron.core.run import Attempt, AttemptState, Run, RunState
from peercron.core.state import ClusterState
from tests.core.builders import (
    NOW,
    SECOND,
    attempt_of,
    cluster,
    definition,
    done,
    fired,
    info,
    node_of,
    only_run,
    put,
)


def run(run_id: str = "1/1", lost_by: str = "") -> Run:
    lost = Attempt(1, f"id-{lost_by}", 1, 1, AttemptState.LOST, NOW)
    return Run(run_id, "1", "default/job", 1, False, RunState.QUEUED, NOW, attempts=(lost,) if lost_by else ())


def chosen(state: ClusterState, of: Run | None = None, *nodes: str) -> str | None:
    job = Job("1", definition(nodes=nodes), 1, NOW, NOW)
    member = choose(state, job, of or run()).member
    return member.info.name if member else None


def load(state: ClusterState, name: str, count: int) -> None:
    state.live_attempts[f"id-{name}"] = {f"load/{n}": n for n in range(count)}


def test_the_least_loaded_is_chosen() -> None:
    state = cluster("a", "b", "c")
    for name, count in (("a", 2), ("b", 1), ("c", 3)):
        load(state, name, count)
    assert chosen(state) == "b"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 99), st.integers(-1, 4))
def test_the_choice_is_that_of_a_brute_force(loads: list[int], slot: int, loser: int) -> None:
    state = cluster(*[f"n{n}" for n in range(len(loads))])
    for n, count in enumerate(loads):
        load(state, f"n{n}", count)
    others = [n for n in range(len(loads)) if n != loser] or list(range(len(loads)))
    least = min(loads[n] for n in others)
    name = chosen(state, run(f"1/{slot}", f"n{loser}" if 0 <= loser < len(loads) else ""))
    assert name in {f"n{n}" for n in others if loads[n] == least}


def test_equals_share_evenly_and_by_name_alone() -> None:
    shares = Counter(chosen(cluster("a", "b", "c"), run(f"1/{slot}")) for slot in range(600))
    assert all(150 < share < 250 for share in shares.values())
    for slot in range(20):
        assert chosen(cluster("a", "b", "c"), run(f"1/{slot}")) == chosen(cluster("c", "a", "b"), run(f"1/{slot}"))


def test_only_who_is_there_and_may_run_is_eligible() -> None:
    state = cluster("a", "b", "c")
    done(state, OpenSession(info("w", role=Role.WITNESS), 1))
    done(state, OpenSession(info("l", role=Role.LEARNER), 1))
    done(state, ExpireSession("id-a", 1))
    assert [member.info.name for member in eligible(state, definition())] == ["b", "c"]
    assert [member.info.name for member in eligible(state, definition(nodes=("a", "c", "w")))] == ["c"]
    assert chosen(state, run(), "a", "w") is None


def test_who_lost_the_run_gets_it_only_if_there_is_nobody_else() -> None:
    state = cluster("a", "b")
    load(state, "b", 9)
    assert chosen(state, run(lost_by="a")) == "b"
    assert chosen(state, run(lost_by="a"), "a") == "a"


def test_work_spreads_as_it_comes() -> None:
    state = cluster("a", "b", "c")
    put(state, overlap=Overlap.ALLOW)
    for _ in range(9):
        done(state, RunJob("default/job"))
    assert Counter(node_of(state, each) for each in state.runs.values()) == {"a": 3, "b": 3, "c": 3}


def test_who_has_no_seat_any_more_and_who_is_elsewhere_are_passed_over_with_the_reason() -> None:
    state = cluster("a", "b")
    done(state, OpenSession(info("c", dc="ams"), 1))
    configure(state, Configuration((Seat("id-a", "a", "a:1"), Seat("id-c", "c", "c:1"))))
    wanted = definition(where='dc != "ams"')
    reasons = {member.info.name: barred(state, wanted, member) for member in state.members.values()}
    assert reasons == {"a": "", "b": "it is no member any more", "c": "it is not where the job wants to run"}


@pytest.mark.parametrize("mode", [Mode.PARALLEL, Mode.CONTEND])
def test_a_run_that_was_begun_alone_goes_on_alone_when_its_job_is_shared_by_now(mode: Mode) -> None:
    state = cluster("a", "b")
    put(state)
    fired(state, NOW + SECOND)
    loser = node_of(state, only_run(state))
    put(state, mode=mode)
    done(state, ExpireSession(f"id-{loser}", 1), NOW + 2 * SECOND)
    run = only_run(state)
    assert (node_of(state, run), attempt_of(run).n, run.shards) == ({"a": "b", "b": "a"}[loser], 2, 0)
