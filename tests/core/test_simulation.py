"""Simulation: what it says is what the production planner and apply do, also with a node down."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from peercron.core.check import Check, CommandProbe, EndpointProbe
from peercron.core.commands import AttemptStarted, SetPool
from peercron.core.happening import Happening
from peercron.core.job import (
    AtTrigger,
    CronTrigger,
    EveryTrigger,
    Guarantee,
    Losers,
    ManualTrigger,
    Mode,
    OnAbsent,
    Overlap,
)
from peercron.core.pace import Concurrency
from peercron.core.simulation import cluster_of, simulate, without
from peercron.core.slice_simulation import slice_happenings
from peercron.core.slices import Share, Slices
from peercron.core.state import ClusterState
from tests.core.builders import HOUR, definition, done, fired, only_run
from tests.core.invariants import violations

MIDNIGHT = 1_800_057_600_000


def hours(state: ClusterState, count: int = 6, lasting_ms: int = 1_000) -> list[Happening]:
    found = list(simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + count * HOUR, lasting_ms=lasting_ms))
    assert violations(state) == []
    return found


def site(*rows: Any, nodes: tuple[str, ...] = ("a", "b")) -> ClusterState:
    return cluster_of(tuple(rows), nodes, MIDNIGHT)


def hourly(name: str = "job", **changes: Any) -> Any:
    return definition(name, **({"trigger": CronTrigger("0 * * * *")} | changes))


def test_slots_start_where_and_when_they_would() -> None:
    found = hours(site(hourly(mode=Mode.STANDBY, nodes=("a", "b"))))
    assert [(row.at_ms, row.node, row.what) for row in found] == [
        (MIDNIGHT + n * HOUR, "a", "starts") for n in range(1, 7)
    ]


def test_with_a_node_down_another_does_the_work() -> None:
    state = site(hourly(mode=Mode.STANDBY, nodes=("a", "b")))
    assert without(state, "a")
    assert {row.node for row in hours(state)} == {"b"}
    assert not without(state, "nobody")


def test_what_comes_after_follows() -> None:
    found = hours(site(hourly("a"), definition("b", trigger=ManualTrigger(), after=("default/a",))), 2)
    assert [(row.job, row.at_ms - MIDNIGHT) for row in found][:2] == [("default/a", HOUR), ("default/b", HOUR + 1_000)]


def test_slots_that_come_to_nothing_say_why() -> None:
    found = hours(site(hourly()), 4, lasting_ms=HOUR + 1)
    assert [row.what for row in found] == ["starts", "skipped", "starts", "skipped"]
    assert "overlap forbid" in found[1].reason


def starts(found: list[Happening]) -> list[tuple[int, str]]:
    assert {row.what for row in found} == {"starts"}, found
    return [(row.at_ms - MIDNIGHT, row.node) for row in found]


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_of_those_who_contend_one_starts_and_the_next_slot_comes_to_something(guarantee: Guarantee) -> None:
    found = hours(site(hourly(mode=Mode.CONTEND, losers=Losers.SKIP, guarantee=guarantee)), 3)
    assert starts(found) == [(HOUR, "a"), (2 * HOUR, "a"), (3 * HOUR, "a")]


def test_those_who_contend_and_wait_start_in_turn() -> None:
    found = hours(site(hourly(mode=Mode.CONTEND, losers=Losers.WAIT)), 2)
    assert starts(found) == [(HOUR, "a"), (HOUR + 1_000, "b"), (2 * HOUR, "a")]


def test_who_is_down_does_not_contend() -> None:
    state = site(hourly(mode=Mode.CONTEND))
    without(state, "a")
    assert starts(hours(state, 2))[0] == (HOUR, "b")


@pytest.mark.parametrize("sync", [False, True])
def test_in_parallel_all_start_at_the_same_time(sync: bool) -> None:
    found = hours(site(hourly(mode=Mode.PARALLEL, sync=sync), nodes=("a", "b", "c")), 2)
    assert starts(found) == [(n * HOUR, node) for n in (1, 2) for node in "abc"]


def test_in_order_they_start_one_after_another() -> None:
    found = hours(site(hourly(mode=Mode.PARALLEL, order=("b", "a"))), 1, lasting_ms=5_000)
    assert starts(found) == [(HOUR, "b")]
    found = hours(site(hourly(mode=Mode.PARALLEL, order=("b", "a"))), 2, lasting_ms=5_000)
    assert starts(found)[:2] == [(HOUR, "b"), (HOUR + 5_000, "a")]


def test_what_goes_into_a_queue_is_pulled_from_it() -> None:
    found = hours(site(hourly(mode=Mode.QUEUE, queue="default/mail", concurrency=Concurrency(per_node=1))), 3)
    assert [at for at, _ in starts(found)] == [HOUR, 2 * HOUR, 3 * HOUR]


def test_what_is_replaced_is_cancelled_at_once() -> None:
    found = hours(site(hourly(overlap=Overlap.REPLACE)), 3, lasting_ms=10 * HOUR)
    assert [at for at, _ in starts(found)] == [HOUR, 2 * HOUR, 3 * HOUR]


def test_what_runs_already_does_not_start_again_and_ends_in_its_time() -> None:
    state = site(hourly())
    fired(state, MIDNIGHT + HOUR)
    run = only_run(state)
    done(state, AttemptStarted(run.id, run.attempts[-1].token, MIDNIGHT + HOUR), MIDNIGHT + HOUR)
    found = list(simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + 4 * HOUR, lasting_ms=HOUR + 1))
    assert [(row.what, row.at_ms - MIDNIGHT) for row in found] == [
        ("skipped", 2 * HOUR), ("starts", 3 * HOUR), ("skipped", 4 * HOUR),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.CONTEND, Mode.PARALLEL])
def test_a_run_lasts_as_long_as_the_last_success_however_many_there_are_between(mode: Mode) -> None:
    state = site(hourly(mode=mode, losers=Losers.SKIP))
    hours(state, 1, lasting_ms=5_000)
    list(simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + 2 * HOUR - 1, lasting_ms=5_000))
    found = list(simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + 60 * HOUR, lasting_ms=HOUR + 1))
    assert {row.what for row in found} == {"starts"}, "no run lasts for more than an hour"


def test_in_a_new_cluster_all_nodes_are_well() -> None:
    checks = (Check("web", CommandProbe(("true",))), Check("port", EndpointProbe("", 80)))
    assert len(starts(hours(site(hourly(checks=checks)), 3))) == 3


def test_slices_are_the_nodes_own_and_their_slots_are_told_too() -> None:
    rows = (hourly(), definition("own", trigger=EveryTrigger(2_000), mode=Mode.SLICE, slice_ms=10_000))
    found = list(simulate(site(*rows), from_ms=MIDNIGHT, through_ms=MIDNIGHT + 20_000, lasting_ms=1))
    own = [row for row in found if row.job == "default/own"]
    assert [row.at_ms - MIDNIGHT for row in own] == list(range(2_000, 20_001, 2_000))
    assert [row.what for row in own].count("missed") == 2
    assert {row.reason for row in own if row.what == "missed"} == {
        "2000 ms were left of its slice; the last 2500 ms of each are the guard band"
    }
    begin = (MIDNIGHT // 10_000) % 2
    assert {row.node for row in own[:4] if row.node} == {"ab"[begin]}
    assert {row.node for row in own[4:9] if row.node} == {"ab"[1 - begin]}
    state = site(*rows)
    without(state, "a")
    found = list(simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + HOUR, lasting_ms=1))
    assert {row.node for row in found if row.node} == {"b"}
    assert "it is node a's, which is down" in {row.reason for row in found}
    assert [row.at_ms for row in found] == sorted(row.at_ms for row in found)
    assert (found[0].at_ms, found[-1].job) == (MIDNIGHT + 2_000, "default/own")


def test_in_slices_too_a_run_blocks_the_next() -> None:
    row = definition("own", trigger=EveryTrigger(2_000), mode=Mode.SLICE, slice_ms=10_000)
    found = list(simulate(site(row), from_ms=MIDNIGHT, through_ms=MIDNIGHT + 8_000, lasting_ms=3_000))
    assert [row.what for row in found] == ["starts", "skipped", "starts", "missed"]


def test_slices_end_with_the_job_s_slots_and_nobody_s_are_not_told() -> None:
    once = definition("own", trigger=AtTrigger(MIDNIGHT + 2_000), mode=Mode.SLICE, slice_ms=10_000)
    assert [row.at_ms - MIDNIGHT for row in hours(site(once), 1)] == [2_000]
    every = definition("own", trigger=EveryTrigger(2_000), mode=Mode.SLICE, slice_ms=10_000)
    state = site(every)
    (uid,) = state.jobs
    state.slices[uid] = Slices((Share(MIDNIGHT, 10_000, ()),))  # as where no voter is left that could run it
    assert hours(state, 1) == []


def test_in_slices_too_where_means_some_nodes_only() -> None:
    elsewhere = definition("own", trigger=EveryTrigger(2_000), mode=Mode.SLICE, slice_ms=10_000, where='name == "b"')
    found = [row for row in hours(site(elsewhere), 1) if "guard band" not in row.reason]
    assert {(row.node, row.reason) for row in found} == {("b", ""), ("", "node a is not where the job wants to run")}


def test_what_a_leader_fires_is_no_node_s_own() -> None:
    filled = hourly(mode=Mode.SLICE, slice_ms=10_000, on_absent=OnAbsent.FILL)
    for row in (hourly(), filled):
        state = site(row)
        (uid,) = state.jobs
        own = slice_happenings(state, uid, from_ms=MIDNIGHT, through_ms=MIDNIGHT + 2 * HOUR, lasting_ms=1)
        assert list(own) == []
        assert [found.what for found in hours(state, 2)] == ["starts", "starts"]


def test_a_pool_holds_runs_back() -> None:
    state = site(hourly("x", pool="db"), hourly("y", pool="db"))
    done(state, SetPool("db", 1), MIDNIGHT)
    found = hours(state, 1, lasting_ms=5_000)
    assert [row.at_ms - MIDNIGHT for row in found] == [HOUR]
    state = site(hourly("x", pool="db"), hourly("y", pool="db"))
    done(state, SetPool("db", 1), MIDNIGHT)
    assert [row.at_ms - MIDNIGHT for row in hours(state, 2, lasting_ms=5_000)][:2] == [HOUR, HOUR + 5_000]


def test_the_same_asked_twice_is_answered_the_same() -> None:
    rows = [hourly(f"j{n}", jitter_ms=60_000, overlap=Overlap.ALLOW) for n in range(20)]
    assert hours(site(*rows)) == hours(site(*rows))


def test_as_much_is_worked_out_as_is_taken() -> None:
    state = site(definition(trigger=EveryTrigger(1_000)))
    endless = simulate(state, from_ms=MIDNIGHT, through_ms=MIDNIGHT + 10**12, lasting_ms=1)
    assert len(list(islice(endless, 50))) == 50


def test_jobs_that_the_cluster_would_refuse_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no job default/nobody"):
        site(definition(trigger=ManualTrigger(), after=("default/nobody",)))
