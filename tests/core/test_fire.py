"""Fire: a plan steps a cursor once, and each slot it passes is decided once."""

from __future__ import annotations

from typing import Any

import pytest

from peercron.core.commands import DeleteJob, PauseJob
from peercron.core.job import Misfire, MisfirePolicy, Overlap
from peercron.core.limits import LEDGER_KEPT_PER_JOB, QUEUED_SLOTS_MAX, SLOTS_PER_FIRE_MAX
from peercron.core.run import RunState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    HOUR,
    NOW,
    SECOND,
    cluster,
    complaint,
    done,
    entries,
    finished,
    fire,
    fired,
    job,
    only_run,
    outcomes,
    put,
    refused,
    run_row,
)

SLOTS = tuple(NOW + n * SECOND for n in range(1, 6))
LATER = NOW + 2 * HOUR


def test_a_due_slot_becomes_a_run_and_the_cursor_moves_behind_it() -> None:
    state = cluster("a")
    row = put(state)
    assert fired(state, SLOTS[0]).value == 1
    assert only_run(state).id == f"{row.uid}/{SLOTS[0]}"
    assert (state.cursors[row.uid].after_ms, state.cursors[row.uid].next_ms) == (SLOTS[0], SLOTS[1])


def test_the_same_plan_twice_is_one() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.ALLOW)
    plan = fire(state, SLOTS[0])
    done(state, plan, SLOTS[0])
    assert refused(state, plan, LATER) is Refusal.STALE_PLAN
    assert len(state.runs) == 1


def test_a_plan_from_before_an_edit_or_a_deletion_is_refused() -> None:
    state = cluster("a")
    put(state)
    plan = fire(state, SLOTS[0])
    put(state, timeout_ms=5)
    assert refused(state, plan, LATER) is Refusal.STALE_PLAN
    plan = fire(state, SLOTS[0])
    done(state, DeleteJob("default/job"))
    assert refused(state, plan, LATER) is Refusal.STALE_PLAN


def test_a_pause_does_not_make_a_plan_stale() -> None:
    state = cluster("a")
    put(state)
    plan = fire(state, SLOTS[0])
    done(state, PauseJob("default/job"))
    done(state, plan, LATER)
    assert outcomes(state) == {SLOTS[0]: "skipped"}


def test_nothing_is_fired_before_its_time() -> None:
    state = cluster("a")
    put(state)
    assert refused(state, fire(state, SLOTS[0]), SLOTS[0] - 1) is Refusal.STALE_PLAN


def test_a_plan_without_slots_says_when_the_next_one_is() -> None:
    state = cluster("a")
    row = put(state)
    done(state, fire(state, next_ms=SLOTS[3]))
    assert (state.cursors[row.uid].after_ms, state.cursors[row.uid].next_ms) == (NOW, SLOTS[3])


@pytest.mark.parametrize(
    ("slots", "changes", "named"),
    [
        ((SLOTS[1], SLOTS[0]), {}, "slots"),
        ((SLOTS[0], SLOTS[0]), {}, "slots"),
        ((NOW,), {}, "slots"),
        ((SLOTS[0], SLOTS[1]), {"through_ms": SLOTS[0]}, "through_ms"),
        ((), {"through_ms": NOW - 1}, "through_ms"),
        ((SLOTS[0],), {"next_ms": SLOTS[0]}, "next_ms"),
        ((), {"unlisted_through_ms": SLOTS[0]}, "unlisted_through_ms"),
        ((SLOTS[0],), {"unlisted_through_ms": NOW - 1}, "unlisted_through_ms"),
        ((SLOTS[0],), {"unlisted_through_ms": SLOTS[0]}, "slots"),
        (tuple(range(NOW + 1, NOW + SLOTS_PER_FIRE_MAX + 2)), {}, "slots"),
    ],
)
def test_a_plan_that_no_planner_makes_is_refused(slots: tuple[int, ...], changes: dict[str, Any], named: str) -> None:
    state = cluster("a")
    row = put(state)
    assert complaint(state, fire(state, *slots, **changes), LATER) == named
    assert state.cursors[row.uid].after_ms == NOW
    assert state.ledger == {}


def test_of_several_due_slots_the_policy_chooses_and_the_others_are_missed_with_a_reason() -> None:
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.LATEST))
    fired(state, *SLOTS)
    assert outcomes(state) == dict.fromkeys(SLOTS[:-1], "missed")
    assert only_run(state).slot_ms == SLOTS[-1]
    assert all("latest" in entry.reason for entry in entries(state).values())


def test_a_slot_older_than_the_window_is_missed() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOTS[0], now_ms=SLOTS[0] + HOUR + 1)
    assert outcomes(state) == {SLOTS[0]: "missed"}


def test_a_gap_in_several_plans_fires_what_one_plan_would_have_fired() -> None:
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.EARLIEST))
    fired(state, *SLOTS[:2], now_ms=LATER - HOUR, later=3)
    first = only_run(state)
    assert first.slot_ms == SLOTS[0]
    done(state, finished(first))
    fired(state, *SLOTS[2:4], now_ms=LATER - HOUR, later=1)
    fired(state, SLOTS[4], now_ms=LATER - HOUR)
    assert outcomes(state) == {SLOTS[0]: "succeeded"} | dict.fromkeys(SLOTS[1:], "missed")
    fired(state, NOW + HOUR)
    assert only_run(state).slot_ms == NOW + HOUR


def test_what_is_too_much_to_list_is_one_entry() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOTS[4], unlisted_through_ms=SLOTS[3])
    assert outcomes(state) == {SLOTS[3]: "missed"}
    assert f"since {NOW}" in entries(state)[SLOTS[3]].reason


def test_what_is_too_much_to_list_without_a_leader_is_skipped() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOTS[4], unlisted_through_ms=SLOTS[3], leaderless_through_ms=SLOTS[3])
    assert outcomes(state) == {SLOTS[3]: "skipped"}
    assert only_run(state).slot_ms == SLOTS[4]


def test_what_is_too_much_to_list_in_a_pause_is_skipped() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseJob("default/job"))
    fired(state, SLOTS[4], unlisted_through_ms=SLOTS[3])
    assert outcomes(state) == {SLOTS[3]: "skipped", SLOTS[4]: "skipped"}


def test_forbid_skips_and_names_the_run_in_the_way() -> None:
    state = cluster("a")
    put(state)
    fired(state, SLOTS[0])
    fired(state, SLOTS[1])
    assert outcomes(state) == {SLOTS[1]: "skipped"}
    assert only_run(state).id in entries(state)[SLOTS[1]].reason
    done(state, finished(only_run(state)))
    fired(state, SLOTS[2])
    assert only_run(state).slot_ms == SLOTS[2]


def test_allow_runs_side_by_side() -> None:
    state = cluster("a", "b")
    put(state, overlap=Overlap.ALLOW)
    fired(state, SLOTS[0])
    fired(state, SLOTS[1])
    assert {run.state for run in state.runs.values()} == {RunState.RUNNING}
    assert {len(held) for held in state.live_attempts.values()} == {1}


def test_queue_one_keeps_one_in_line() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.QUEUE_ONE)
    for slot in SLOTS[:3]:
        fired(state, slot)
    assert outcomes(state) == {SLOTS[2]: "skipped"}
    done(state, finished(run_row(state, f"{job(state).uid}/{SLOTS[0]}")))
    run = only_run(state)
    assert (run.slot_ms, run.state) == (SLOTS[1], RunState.RUNNING)


def test_queue_all_runs_in_order_and_its_line_is_bounded() -> None:
    state = cluster("a")
    uid = put(state, overlap=Overlap.QUEUE_ALL).uid
    slots = [NOW + n * SECOND for n in range(1, QUEUED_SLOTS_MAX + 4)]
    for slot in slots:
        fired(state, slot)
    assert set(outcomes(state)) == set(slots[QUEUED_SLOTS_MAX + 1 :])
    order = []
    while uid in state.live_runs:
        run = state.runs[state.live_runs[uid][0]]
        order.append(run.slot_ms)
        done(state, finished(run))
    assert order == slots[: QUEUED_SLOTS_MAX + 1]


def test_replace_ends_the_running_one_first() -> None:
    state = cluster("a", "b")
    uid = put(state, overlap=Overlap.REPLACE).uid
    for slot in SLOTS[:3]:
        fired(state, slot)
    first, last = (state.runs[run_id] for run_id in state.live_runs[uid])
    assert (first.slot_ms, first.cancel_requested) == (SLOTS[0], True)
    assert (last.slot_ms, last.state) == (SLOTS[2], RunState.QUEUED)
    assert outcomes(state) == {SLOTS[1]: "cancelled"}
    done(state, finished(first))
    assert (only_run(state).slot_ms, only_run(state).state) == (SLOTS[2], RunState.RUNNING)


def test_the_ledger_keeps_the_newest() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseJob("default/job"))
    slots = [NOW + n for n in range(1, LEDGER_KEPT_PER_JOB + 11)]
    for at in range(0, len(slots), SLOTS_PER_FIRE_MAX):
        fired(state, *slots[at : at + SLOTS_PER_FIRE_MAX])
    assert list(outcomes(state)) == slots[10:]
