"""Planner: what is due is proposed, once, in time that does not grow with what is not due."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core import planner as planning
from peercron.core import steps
from peercron.core.apply import apply
from peercron.core.commands import (
    ApplyJobs,
    CancelRun,
    Command,
    DeleteJob,
    Fire,
    OpenSession,
    PauseJob,
    PlaceRun,
    PutJob,
)
from peercron.core.job import AtTrigger, CronTrigger, EveryTrigger, ManualTrigger, Misfire, MisfirePolicy, Overlap
from peercron.core.limits import GAP_SLOTS_MAX, LEDGER_KEPT_PER_JOB, SLOTS_PER_FIRE_MAX
from peercron.core.planner import Planner
from peercron.core.schedule import ScheduleError, next_slot
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused
from tests.core.builders import (
    HOUR,
    NOW,
    SECOND,
    cluster,
    definition,
    done,
    entries,
    finished,
    fire,
    fired,
    info,
    job,
    only_run,
    outcomes,
    put,
)


def committed(state: ClusterState, planner: Planner, now_ms: int) -> list[Command]:
    """Plan and apply until there is nothing left to say at this instant."""
    said: list[Command] = []
    while commands := planner.plan(now_ms):
        for command in commands:
            planner.settle(command, apply(state, command, now_ms))
        said += commands
    return said


def fires(commands: list[Command]) -> list[Fire]:
    return [command for command in commands if isinstance(command, Fire)]


def test_a_new_job_is_read_and_then_fires_when_it_is_due() -> None:
    state = cluster("a")
    planner = Planner(state)
    put(state)
    assert planner.next_due_ms() == NOW
    (read,) = fires(committed(state, planner, NOW))
    assert (read.slots, read.next_ms) == ((), NOW + SECOND)
    assert planner.next_due_ms() == NOW + SECOND
    assert planner.plan(NOW + SECOND - 1) == []
    (due,) = fires(committed(state, planner, NOW + SECOND))
    assert (due.slots, due.through_ms, due.next_ms, due.period_ms) == ((NOW + SECOND,), NOW + SECOND, NOW + 2000, 1000)
    assert only_run(state).slot_ms == NOW + SECOND


def test_a_job_that_is_due_at_once_is_read_and_fired_in_one() -> None:
    state = cluster("a")
    put(state, trigger=AtTrigger(NOW - 5))
    (due,) = fires(committed(state, Planner(state), NOW))
    assert (due.slots, due.next_ms) == ((NOW - 5,), -1)


@pytest.mark.parametrize("trigger", [ManualTrigger(), AtTrigger(NOW)])
def test_a_job_without_slots_is_read_once(trigger: Any) -> None:
    state = cluster("a")
    put(state, trigger=trigger)
    planner = Planner(state)
    committed(state, planner, NOW)
    assert state.cursors[job(state).uid].next_ms == -1
    assert planner.next_due_ms() is None
    another = Planner(state)
    assert another.plan(NOW) == []
    assert another.next_due_ms() is None


def test_a_new_leader_takes_in_many_jobs_over_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.core.planner.JOBS_SEEN_PER_PLAN_MAX", 2)
    state = cluster()
    names = [f"job-{n}" for n in range(5)]
    for name in names:
        put(state, name, trigger=EveryTrigger(SECOND), overlap=Overlap.ALLOW)
    for name in names:
        fired(state, NOW + SECOND, name=name)
    done(state, OpenSession(info("a"), 1))
    now_ms, planner, turns = NOW + 2 * SECOND, Planner(state), []
    while (due_ms := planner.next_due_ms()) is not None and due_ms <= now_ms and len(turns) < 9:
        turns.append(planner.plan(now_ms))
    # Two jobs and two waiting runs in each.
    assert [len(commands) for commands in turns] == [4, 4, 2]
    assert len({repr(command) for commands in turns for command in commands}) == 10


def test_what_changes_before_a_new_leader_has_seen_it_is_planned_as_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peercron.core.planner.JOBS_SEEN_PER_PLAN_MAX", 1)
    state = cluster("a")
    for name in ("first", "edited", "deleted"):
        put(state, name, trigger=EveryTrigger(SECOND))
        committed(state, Planner(state), NOW)
    planner, now_ms = Planner(state), NOW + SECOND
    put(state, "edited", trigger=EveryTrigger(7 * SECOND))
    done(state, DeleteJob("default/deleted"))
    uids = []
    while (due_ms := planner.next_due_ms()) is not None and due_ms <= now_ms:
        uids += [command.job_uid for command in planner.plan(now_ms) if isinstance(command, Fire)]
    assert sorted(uids) == sorted([job(state, "first").uid, job(state, "edited").uid])


def test_a_plan_on_its_way_is_not_made_again() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    assert len(planner.plan(NOW)) == 1
    assert planner.plan(NOW) == []
    assert planner.next_due_ms() is None


def test_a_plan_with_an_unknown_end_is_made_again() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    (plan,) = planner.plan(NOW)
    planner.settle(plan, None)
    assert planner.plan(NOW) == [plan]


def test_a_plan_that_is_settled_late_does_no_harm() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    (first,) = planner.plan(NOW)
    verdict = apply(state, first, NOW)
    (second,) = planner.plan(NOW + SECOND)
    planner.settle(first, verdict)
    planner.settle(first, None)
    assert planner.plan(NOW + SECOND) == []
    assert isinstance(apply(state, second, NOW + SECOND), Done)


def test_a_plan_that_was_overtaken_is_made_anew() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    planner.plan(NOW)
    edited = put(state, trigger=EveryTrigger(2 * SECOND))
    (plan,) = fires(planner.plan(NOW))
    assert plan.revision == edited.revision


def test_a_race_is_planned_again_at_once_and_a_defect_after_a_rest() -> None:
    for code, rests in ((Refusal.STALE_PLAN, False), (Refusal.STALE_SESSION, True), (Refusal.INTERNAL, True)):
        state = cluster("a")
        put(state)
        planner = Planner(state)
        (plan,) = planner.plan(NOW)
        planner.settle(plan, Refused(9, code, "why"))
        assert bool(planner.plan(NOW)) is not rests
        assert bool(planner.problems) is rests
        if rests:
            due_ms = planner.next_due_ms()
            assert due_ms is not None
            assert planner.plan(due_ms) != []


def test_a_trigger_that_this_machine_cannot_read_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(trigger: Any, after_ms: int, uid: str) -> int | None:
        if isinstance(trigger, CronTrigger):
            raise ScheduleError("timezone: 'Mars/Olympus' is not known")
        return next_slot(trigger, after_ms, uid)

    monkeypatch.setattr(steps, "next_slot", old)
    state = cluster("a")
    put(state, "x", trigger=CronTrigger("* * * * *", "Mars/Olympus"))
    put(state, "y")
    planner = Planner(state)
    assert [plan.job_uid for plan in fires(committed(state, planner, NOW))] == [job(state, "y").uid]
    assert planner.problems == {job(state, "x").uid: "timezone: 'Mars/Olympus' is not known"}
    put(state, "x")
    committed(state, planner, NOW)
    assert planner.problems == {}


def test_a_defect_in_one_schedule_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trigger: Any, after_ms: int, uid: str) -> int | None:
        return next_slot(trigger, after_ms, uid) if isinstance(trigger, EveryTrigger) else 1 // 0

    monkeypatch.setattr(steps, "next_slot", broken)
    state = cluster("a")
    put(state, "x", trigger=CronTrigger("* * * * *"))
    put(state, "y")
    planner = Planner(state)
    assert len(committed(state, planner, NOW)) == 1
    assert "ZeroDivisionError" in planner.problems[job(state, "x").uid]


def test_slots_that_went_by_without_a_leader_are_skipped_and_those_after_it_missed() -> None:
    state = cluster("a")
    put(state)
    now_ms = NOW + 5 * SECOND
    committed(state, Planner(state, leading_since_ms=NOW + 2 * SECOND), now_ms)
    assert list(outcomes(state).values()) == ["skipped", "skipped", "missed", "missed"]
    assert only_run(state).slot_ms == now_ms
    assert "no leader" in entries(state)[NOW + SECOND].reason


def test_a_deleted_job_is_planned_no_more() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    committed(state, planner, NOW)
    done(state, DeleteJob("default/job"))
    assert planner.plan(NOW + HOUR) == []
    assert planner.next_due_ms() is None


def test_a_paused_job_is_planned_like_any_other() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    done(state, PauseJob("default/job"))
    committed(state, planner, NOW + SECOND)
    assert outcomes(state) == {NOW + SECOND: "skipped"}


def test_time_that_the_state_has_seen_does_not_go_back_under_a_new_leader() -> None:
    state = cluster("a")
    put(state)
    done(state, OpenSession(info("a"), 2), NOW + SECOND)
    assert fires(Planner(state).plan(NOW - HOUR))[0].slots == (NOW + SECOND,)


def test_a_new_leader_plans_what_the_old_one_planned() -> None:
    state = cluster("a")
    for n in range(5):
        put(state, f"j{n}")
    old = Planner(state)
    committed(state, old, NOW)
    old.close()
    assert state.changed_jobs is None
    assert Planner(state).plan(NOW + SECOND) == old.plan(NOW + SECOND)


def test_a_gap_is_walked_in_several_plans_and_every_slot_has_its_entry() -> None:
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.LATEST))
    planner = Planner(state)
    now_ms = NOW + 600 * SECOND
    walked = fires(committed(state, planner, now_ms))
    assert [(len(plan.slots), plan.later) for plan in walked] == [(256, 344), (256, 88), (88, 0)]
    assert set(outcomes(state)) == {NOW + n * SECOND for n in range(1, 600)}
    assert only_run(state).slot_ms == now_ms
    assert planner.next_due_ms() == now_ms + SECOND


def test_a_gap_of_years_costs_a_few_plans() -> None:
    state = cluster("a")
    put(state)
    now_ms = NOW + 10 * 365 * 24 * HOUR
    walked = fires(committed(state, Planner(state), now_ms))
    assert sum(len(plan.slots) for plan in walked) == GAP_SLOTS_MAX
    assert len(walked) == -(-GAP_SLOTS_MAX // SLOTS_PER_FIRE_MAX)
    summary = entries(state)[now_ms - GAP_SLOTS_MAX * SECOND]
    assert f"since {NOW}" in summary.reason
    assert len(state.ledger[job(state).uid]) == LEDGER_KEPT_PER_JOB - 1  # the newest slot is a run


def test_a_gap_that_a_new_leader_goes_on_with_fires_once() -> None:
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.EARLIEST), overlap=Overlap.ALLOW)
    now_ms = NOW + 600 * SECOND
    done(state, Planner(state).plan(now_ms)[0], now_ms)
    committed(state, Planner(state), now_ms)
    assert only_run(state).slot_ms == NOW + SECOND


def test_one_turn_lists_a_bounded_number_of_slots() -> None:
    state = cluster("a")
    for n in range(20):
        put(state, f"j{n}")
    planner = Planner(state)
    committed(state, planner, NOW)
    now_ms = NOW + 24 * HOUR
    first = fires(planner.plan(now_ms))
    assert sum(len(plan.slots) + plan.later for plan in first) < 2 * GAP_SLOTS_MAX + 1
    due_ms = planner.next_due_ms()
    assert due_ms is not None
    assert due_ms <= now_ms


def test_new_jobs_do_not_keep_due_ones_waiting_nor_the_other_way_round() -> None:
    state = cluster("a")
    put(state, "old")
    planner = Planner(state)
    committed(state, planner, NOW)
    done(state, ApplyJobs(tuple(definition(f"n{n}") for n in range(1_000))))
    plans = fires(planner.plan(NOW + SECOND))
    assert plans[0].job_uid == job(state, "old").uid
    assert 1 < len(plans) < 200


def test_waiting_runs_are_placed_when_a_node_comes() -> None:
    state = cluster()
    put(state)
    planner = Planner(state)
    committed(state, planner, NOW + SECOND)
    assert planner.plan(NOW + SECOND) == []
    done(state, OpenSession(info("a"), 1))
    assert planner.next_due_ms() is not None
    assert planner.plan(NOW + SECOND) == [PlaceRun(only_run(state).id)]
    assert planner.plan(NOW + SECOND) == []


def test_runs_that_one_command_left_without_a_grant_are_placed_in_the_next_turn() -> None:
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.ALL), overlap=Overlap.ALLOW)
    planner = Planner(state)
    said = committed(state, planner, NOW + 3 * SECOND)
    assert [type(command) for command in said] == [Fire, PlaceRun, PlaceRun]
    assert {run.state.value for run in state.runs.values()} == {"running"}


def test_a_waiting_run_is_placed_when_its_job_is_edited() -> None:
    state = cluster("a")
    put(state, nodes=("b",))
    planner = Planner(state)
    committed(state, planner, NOW + SECOND)
    put(state, nodes=("a",))
    assert PlaceRun(only_run(state).id) in committed(state, planner, NOW + SECOND)


def test_a_placement_that_was_not_ready_waits_for_a_change() -> None:
    state = cluster("a")
    put(state, nodes=("b",))
    planner = Planner(state)
    committed(state, planner, NOW + SECOND)
    done(state, OpenSession(info("b"), 1))
    (place,) = planner.plan(NOW + SECOND)
    planner.settle(place, Refused(9, Refusal.NOT_READY, "nobody"))
    assert planner.plan(NOW + SECOND) == []
    done(state, OpenSession(info("b"), 2))
    assert planner.plan(NOW + SECOND) == [place]
    planner.settle(place, None)
    assert planner.plan(NOW + SECOND) == [place]
    done(state, CancelRun(only_run(state).id))
    planner.settle(place, None)
    assert planner.plan(NOW + SECOND) == []


def test_a_full_line_of_plans_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PLANS_IN_FLIGHT_MAX", 3)
    state = cluster("a")
    for n in range(5):
        put(state, f"j{n}")
    planner = Planner(state)
    plans = planner.plan(NOW)
    assert len(plans) == 3
    assert planner.next_due_ms() is None
    planner.settle(plans[0], apply(state, plans[0], NOW))
    assert len(planner.plan(NOW)) == 1


def test_what_is_not_due_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(trigger: Any, after_ms: int, uid: str) -> int | None:
        asked.append(uid)
        return next_slot(trigger, after_ms, uid)

    state = cluster("a")
    for n in range(300):
        put(state, f"idle{n}", trigger=EveryTrigger(24 * HOUR, NOW - 1))
    put(state, "busy")
    planner = Planner(state)
    committed(state, planner, NOW)
    monkeypatch.setattr(steps, "next_slot", counted)
    for n in range(1, 11):
        committed(state, planner, NOW + n * SECOND)
        done(state, finished(only_run(state, "busy")))
    assert set(asked) == {job(state, "busy").uid}


def test_the_plans_of_a_planner_fit_the_state_they_were_made_from() -> None:
    state = cluster("a")
    put(state, trigger=CronTrigger("*/7 * * * * *", "Europe/Berlin"))
    planner = Planner(state)
    for n in range(40):
        for command in planner.plan(NOW + n * 5 * SECOND):
            assert isinstance(apply(state, command, NOW + n * 5 * SECOND), Done)
    assert outcomes(state)


def test_the_builder_of_these_tests_makes_the_plans_that_the_planner_makes() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    committed(state, planner, NOW)
    (plan,) = planner.plan(NOW + SECOND)
    assert plan == fire(state, NOW + SECOND, period_ms=SECOND)


def test_a_put_during_a_plan_on_its_way_keeps_one_position() -> None:
    state = cluster("a")
    put(state)
    planner = Planner(state)
    committed(state, planner, NOW)
    (plan,) = planner.plan(NOW + SECOND)
    done(state, PutJob(definition(timeout_ms=7)))
    planner.settle(plan, apply(state, plan, NOW + SECOND))
    (again,) = planner.plan(NOW + SECOND)
    assert isinstance(again, Fire)
    assert again.slots == (NOW + SECOND,)
    done(state, again, NOW + SECOND)
    assert only_run(state).slot_ms == NOW + SECOND
