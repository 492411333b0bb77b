"""Capacity: no more attempts at once than a job, a node or a pool may have, and a fair line for a full pool."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.capacity import counted
from peercron.core.commands import CancelRun, DeletePool, ExpireSession, OpenSession, PutJob, RunJob, SetPool
from peercron.core.job import ManualTrigger, Mode, Overlap
from peercron.core.pace import Concurrency
from peercron.core.planner import Planner
from peercron.core.run import RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal, Refused
from tests.core.builders import NOW, cluster, complaint, definition, done, finished, info, job, node_of, put, refused
from tests.core.invariants import violations


def site(*nodes: str, **changes: Any) -> ClusterState:
    state = cluster(*(nodes or ("a", "b")))
    add(state, "job", **changes)
    return state


def add(state: ClusterState, name: str, **changes: Any) -> None:
    put(state, name, **({"trigger": ManualTrigger(), "overlap": Overlap.ALLOW} | changes))


def run_by_hand(state: ClusterState, name: str = "job") -> str:
    run_id = str(done(state, RunJob(f"default/{name}")).value)
    plan(state)
    return run_id


def plan(state: ClusterState) -> int:
    """The planner's part, until it has nothing more to say; answers how many commands were refused."""
    planner, refusals = Planner(state), 0
    while commands := planner.plan(state.now_ms):
        for command in commands:
            verdict = apply(state, command, state.now_ms)
            refusals += isinstance(verdict, Refused)
            planner.settle(command, verdict)
    assert violations(state) == []
    return refusals


def running(state: ClusterState) -> list[str]:
    return [run.id for run in state.runs.values() if run.state is RunState.RUNNING]


def end(state: ClusterState, run_id: str) -> None:
    done(state, finished(state.runs[run_id]))
    plan(state)


def test_a_job_has_so_many_attempts_at_once() -> None:
    state = site(concurrency=Concurrency(per_job=2))
    runs = [run_by_hand(state) for _ in range(4)]
    assert running(state) == runs[:2]
    assert state.runs[runs[2]].reason == "2 of its job run already (concurrency.per_job)"
    end(state, runs[0])
    assert len(running(state)) == 2


def test_a_node_has_so_many_of_a_job() -> None:
    state = site("a", "b", concurrency=Concurrency(per_node=1))
    runs = [run_by_hand(state) for _ in range(3)]
    assert {node_of(state, state.runs[run_id]) for run_id in runs[:2]} == {"a", "b"}
    assert "with less than 1 of it running" in state.runs[runs[2]].reason
    first = node_of(state, state.runs[runs[0]])
    end(state, runs[0])
    assert node_of(state, state.runs[runs[2]]) == first


def test_a_pool_is_shared_by_jobs_and_served_in_order() -> None:
    state = cluster("a", "b")
    done(state, SetPool("db", 2))
    for name in "xyz":
        add(state, name, pool="db")
    runs = [run_by_hand(state, name) for name in "xyzxyz"]
    assert running(state) == runs[:2]
    assert state.runs[runs[4]].reason == "pool db is full: 2 of 2 run, 2 before it wait"
    assert list(state.pool_lines["db"]) == runs[2:]
    end(state, runs[1])
    assert running(state) == [runs[0], runs[2]]
    for n in (0, 2, 3, 4, 5):
        end(state, runs[n])
    assert (state.runs, state.pool_lines) == ({}, {})


def test_who_comes_when_there_is_room_does_not_pass_those_who_wait() -> None:
    state = cluster("a")
    done(state, SetPool("db", 1))
    add(state, "x", pool="db")
    first, second = run_by_hand(state, "x"), run_by_hand(state, "x")
    done(state, finished(state.runs[first]))
    third = str(done(state, RunJob("default/x")).value)
    assert state.runs[third].state is RunState.QUEUED
    plan(state)
    assert running(state) == [second]


def test_who_leaves_the_line_makes_room() -> None:
    state = cluster("a")
    done(state, SetPool("db", 1))
    add(state, "x", pool="db")
    first, second, third = (run_by_hand(state, "x") for _ in range(3))
    done(state, CancelRun(second))
    end(state, first)
    assert running(state) == [third]


def test_a_larger_pool_calls_those_that_wait_and_a_smaller_one_ends_nothing() -> None:
    state = cluster("a")
    done(state, SetPool("db", 1))
    add(state, "x", pool="db")
    runs = [run_by_hand(state, "x") for _ in range(4)]
    done(state, SetPool("db", 3))
    plan(state)
    assert running(state) == runs[:3]
    done(state, SetPool("db", 0))
    end(state, runs[0])
    assert running(state) == runs[1:3]


def test_a_pool_that_is_not_there_lets_nothing_begin_and_says_how_it_is_made() -> None:
    state = site(pool="db")
    run_id = run_by_hand(state)
    assert state.runs[run_id].reason == "there is no pool db; `peercron pool set db SIZE` makes it"
    done(state, SetPool("db", 1))
    plan(state)
    assert running(state) == [run_id]


def test_a_pool_that_a_job_is_in_stays() -> None:
    state = site(pool="db")
    done(state, SetPool("db", 1))
    assert refused(state, DeletePool("db")) is Refusal.CONFLICT
    add(state, "job")
    done(state, DeletePool("db"))
    assert refused(state, DeletePool("db")) is Refusal.NOT_FOUND


def test_a_job_that_is_put_into_another_pool_waits_there() -> None:
    state = site(pool="db")
    done(state, SetPool("db", 0))
    done(state, SetPool("disk", 1))
    run_id = run_by_hand(state)
    add(state, "job", pool="disk")
    plan(state)
    assert running(state) == [run_id]
    add(state, "job", pool="db")
    waiting = run_by_hand(state)
    assert list(state.pool_lines["db"]) == [waiting]


def test_an_edit_into_a_full_pool_is_found_out_by_the_planner() -> None:
    state = site("a")
    done(state, ExpireSession("id-a", 1))
    run_id = run_by_hand(state)
    add(state, "job", pool="db")
    done(state, SetPool("db", 0))
    done(state, OpenSession(info("a"), 2))
    plan(state)
    assert list(state.pool_lines["db"]) == [run_id]
    done(state, SetPool("db", 1))
    plan(state)
    assert running(state) == [run_id]


def test_who_is_called_and_has_no_node_does_not_hold_up_those_behind_it() -> None:
    state = cluster("a", "b")
    done(state, SetPool("db", 1))
    add(state, "x", pool="db", nodes=("b",))
    add(state, "y", pool="db", nodes=("a",))
    first, second, third = run_by_hand(state, "y"), run_by_hand(state, "x"), run_by_hand(state, "y")
    assert list(state.pool_lines["db"]) == [second, third]
    done(state, ExpireSession("id-b", 1))
    end(state, first)
    assert running(state) == [third]
    done(state, OpenSession(info("b"), 2))
    plan(state)
    assert list(state.pool_lines["db"]) == [second]
    end(state, third)
    assert running(state) == [second]


def test_a_lost_attempt_gives_its_place_back() -> None:
    state = cluster("a", "b")
    done(state, SetPool("db", 1))
    add(state, "x", pool="db")
    first, second = run_by_hand(state, "x"), run_by_hand(state, "x")
    done(state, ExpireSession(state.runs[first].attempts[-1].member, 1))
    plan(state)
    assert len(running(state)) == 1
    assert {first, second} == set(state.runs)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"concurrency": Concurrency(-1)}, "concurrency"),
        ({"concurrency": Concurrency(per_job=257)}, "concurrency"),
        ({"concurrency": Concurrency(1), "mode": Mode.TURNS}, "concurrency"),
        ({"pool": "a b"}, "pool"),
    ],
)
def test_what_cannot_be_counted_is_named(changes: dict[str, Any], field: str) -> None:
    assert complaint(cluster("a"), PutJob(definition(**changes))) == field
    assert refused(cluster("a"), SetPool("a b", 1)) is Refusal.INVALID
    assert refused(cluster("a"), SetPool("a", -1)) is Refusal.INVALID


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_limit_is_ever_exceeded_and_nobody_is_forgotten(dice: Random) -> None:
    state = cluster("a", "b")
    done(state, SetPool("db", 2))
    add(state, "x", pool="db", concurrency=Concurrency(per_node=1))
    add(state, "y", pool="db", concurrency=Concurrency(per_job=1))
    add(state, "z", pool="db")
    session = 1
    for _ in range(40):
        deed = dice.random()
        if deed < 0.5:
            run_by_hand(state, dice.choice("xyz"))
        elif deed < 0.9 and running(state):
            end(state, dice.choice(running(state)))
        elif deed < 0.95:
            session += 1
            done(state, OpenSession(info("a"), session), state.now_ms + 100_000)
            plan(state)
        elif state.runs:
            done(state, CancelRun(dice.choice(list(state.runs))))
            plan(state)
        found = counted(state)
        assert state.occupied in (None, found)
        assert found.get("\ndb", 0) <= 2
        assert found.get(job(state, "y").uid, 0) <= 1
        assert all(found.get(f"{job(state, 'x').uid}\nid-{node}", 0) <= 1 for node in "ab")
    state.now_ms += 10**6
    for _ in range(200):
        plan(state)
        for run_id in running(state):
            end(state, run_id)
    assert (state.runs, NOW) == ({}, NOW)
