"""Slice duty: what becomes of a node's own slots when they have come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.apply.configuration import configure
from peercron.core.check import Check, CommandProbe
from peercron.core.commands import DrainMember, PauseJob, ResumeJob
from peercron.core.job import EveryTrigger, Misfire, MisfirePolicy, Mode, Overlap
from peercron.core.limits import LIVE_RUNS_PER_JOB_MAX, SLICE_GUARD_MS, SLICE_ROOM_MS_MIN
from peercron.core.member import Configuration, Role, Seat
from peercron.core.restore import Stage
from peercron.core.run import RunState
from peercron.core.slice_duty import Go, Mind, Plan, decide, plan_of, unfit_here
from peercron.core.slices import SliceEntry
from tests.core.builders import NOW, SECOND, cluster, done, job, put

TEN = 10 * SECOND
#: The first slice of `a` that is wholly behind NOW: slices of two nodes, the even ones are its own.
BEGIN = NOW + 2 * TEN


def plan(**changes: Any) -> Plan:
    state = cluster("a", "b")
    changes = {"trigger": EveryTrigger(SECOND), "kill_grace_ms": 400, "mode": Mode.SLICE, "slice_ms": TEN} | changes
    put(state, **changes)
    found = plan_of(state, job(state).uid)
    assert found is not None
    return found


def fates(of: Plan, *slots: int, now_ms: int | None = None, **mind: Any) -> list[Any]:
    decided = decide(of, slots, Mind("a", slots[-1] if now_ms is None else now_ms, **mind))
    assert [each.slot_ms for each in decided] == list(slots)
    return ["go" if isinstance(each, Go) else (each.outcome.value, each.reason) for each in decided]


def test_a_slot_that_has_just_come_is_started_with_what_is_left_of_its_slice() -> None:
    (go,) = decide(plan(), [BEGIN], Mind("a", BEGIN + 30))
    assert isinstance(go, Go)
    assert go.room.kill_ms == TEN - SLICE_GUARD_MS - 30
    assert go.room.stop_ms == go.room.kill_ms - 400


def test_too_late_in_its_slice_nothing_starts() -> None:
    last_ms = BEGIN + TEN - SLICE_GUARD_MS - SLICE_ROOM_MS_MIN
    assert fates(plan(), BEGIN, now_ms=last_ms) == ["go"]
    assert fates(plan(), BEGIN, now_ms=last_ms + 1) == [
        ("missed", "2699 ms were left of its slice; the last 2500 ms of each are the guard band")
    ]
    assert fates(plan(), BEGIN, now_ms=BEGIN + TEN) == [("missed", "node a was held up until its slice was over")]


def test_what_went_by_while_it_was_down_says_so_and_what_is_left_of_its_slice_is_used() -> None:
    now_ms = BEGIN + 3 * SECOND
    slots = (BEGIN - 2 * TEN + 5_000, BEGIN + 1_000, BEGIN + 2_000)
    assert fates(plan(), *slots, now_ms=now_ms, down_through_ms=now_ms - 1) == [
        ("missed", "node a was down"),
        ("missed", "a later slot was due as well (misfire policy latest)"),
        "go",
    ]


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_the_misfire_policy_chooses_within_the_slice(policy: MisfirePolicy) -> None:
    of = plan(misfire=Misfire(policy), overlap=Overlap.ALLOW)
    slots = [BEGIN + n * SECOND for n in range(3)]
    started = [n for n, fate in enumerate(fates(of, *slots)) if fate == "go"]
    assert started == {"latest": [2], "earliest": [0], "all": [0, 1, 2], "skip": []}[policy.value]


def test_a_run_that_is_alive_blocks_the_next_unless_the_job_allows_it() -> None:
    ((outcome, reason),) = fates(plan(), BEGIN, alive=1)
    assert (outcome, reason) == ("skipped", "an earlier run was alive on node a (overlap forbid, 1 alive)")
    assert fates(plan(overlap=Overlap.ALLOW), BEGIN, alive=1) == ["go"]
    ((outcome, _),) = fates(plan(overlap=Overlap.ALLOW), BEGIN, alive=LIVE_RUNS_PER_JOB_MAX)
    assert outcome == "skipped"
    of = plan(misfire=Misfire(MisfirePolicy.ALL))
    assert [fate == "go" for fate in fates(of, BEGIN, BEGIN + SECOND)] == [True, False]


def test_in_doubt_nothing_starts_and_the_reason_is_told() -> None:
    assert fates(plan(), BEGIN, BEGIN + SECOND, doubt="it is odd") == [("missed", "it is odd")] * 2


def test_in_doubt_nothing_starts_of_what_came_while_it_was_down_either() -> None:
    mind = {"now_ms": BEGIN + 2 * SECOND, "down_through_ms": BEGIN + 2 * SECOND, "doubt": "it is odd"}
    assert fates(plan(), BEGIN - TEN - SECOND, BEGIN + SECOND, **mind) == [
        ("missed", "node a was down"),
        ("missed", "it is odd"),
    ]


def test_what_came_in_a_doubt_that_is_over_says_so_and_what_came_after_it_starts() -> None:
    mind = {"now_ms": BEGIN + 2 * SECOND, "refused_through_ms": BEGIN + SECOND, "refused_why": "it was odd"}
    assert fates(plan(), BEGIN - TEN - SECOND, BEGIN + SECOND, BEGIN + 2 * SECOND, **mind) == [
        ("missed", "node a refused its slices: it was odd"),
        ("missed", "node a refused its slices: it was odd"),
        "go",
    ]


def test_slots_of_a_pause_are_skipped_also_when_they_are_seen_after_it() -> None:
    state = cluster("a")
    put(state, trigger=EveryTrigger(SECOND), mode=Mode.SLICE, slice_ms=TEN)
    done(state, PauseJob("default/job"))
    paused = plan_of(state, job(state).uid)
    assert paused is not None
    assert fates(paused, BEGIN) == [("skipped", "the job was paused")]
    done(state, ResumeJob("default/job"), BEGIN)
    resumed = plan_of(state, job(state).uid)
    assert resumed is not None
    assert fates(resumed, BEGIN, BEGIN + SECOND) == [("skipped", "the job was paused"), "go"]


def test_only_jobs_that_need_no_leader_are_planned_for() -> None:
    state = cluster("a")
    assert plan_of(state, put(state).uid) is None
    assert plan_of(state, "gone") is None


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=12, unique=True), st.integers(0, 30_000), st.sampled_from(Overlap)
)
def test_every_slot_has_one_fate_and_what_starts_ends_before_the_guard_band(
    seconds: list[int], late_ms: int, overlap: Overlap
) -> None:
    of = plan(overlap=overlap if overlap in {Overlap.FORBID, Overlap.ALLOW} else Overlap.FORBID)
    own = of.own("a")
    slots = [slot for s in sorted(seconds) if own.owns(slot := NOW + s * SECOND)]
    if not slots:
        return
    now_ms = slots[-1] + late_ms
    decided = decide(of, slots, Mind("a", now_ms))
    assert [each.slot_ms for each in decided] == slots
    for each in decided:
        if isinstance(each, SliceEntry):
            assert each.outcome in {RunState.MISSED, RunState.SKIPPED}
            assert each.reason
        else:
            assert now_ms + each.room.kill_ms <= (each.slot_ms // TEN + 1) * TEN - SLICE_GUARD_MS


def test_what_is_known_of_the_cluster_keeps_a_node_from_its_slices() -> None:
    state = cluster("a", "w", "d")
    roles = {"a": Role.VOTER, "w": Role.WITNESS, "d": Role.VOTER}
    configure(state, Configuration(tuple([Seat(f"id-{n}", n, f"{n}:7400", role) for n, role in roles.items()])))
    done(state, DrainMember("id-d"))
    of = plan()
    assert unfit_here(state, of, "w") == "node w is a witness, which runs nothing"
    assert unfit_here(state, of, "d") == "node d is drained"
    assert unfit_here(state, of, "a") == unfit_here(state, of, "nobody that is known yet") == ""
    elsewhere = plan(where='name == "w"')
    assert unfit_here(state, elsewhere, "a") == "node a is not where the job wants to run"
    state.stage = Stage("r", 1, 1, 1, 0, NOW, ending=True)
    assert unfit_here(state, of, "a") == "everything makes room for a snapshot"


def test_a_check_of_the_job_keeps_a_node_from_its_slices() -> None:
    checked = plan(checks=(Check("pg", CommandProbe(("pg_isready",))),))
    assert unfit_here(cluster("a"), checked, "a").startswith("node a is not well: check pg: a ")
