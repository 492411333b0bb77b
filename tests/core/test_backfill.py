"""Backfill: slots of the past get runs once, in order, and what has succeeded is left alone."""

from __future__ import annotations

import pytest

from peercron.core.apply import apply
from peercron.core.commands import Backfill, PlaceRun
from peercron.core.history import entries_of
from peercron.core.job import Mode, Overlap
from peercron.core.limits import QUEUED_SLOTS_MAX
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import NOW, SECOND, cluster, done, finished, fired, job, only_run, put, refused
from tests.core.invariants import violations

PAST = tuple(NOW - n * SECOND for n in (3, 2, 1))


def work_off(state: ClusterState) -> list[int]:
    """Slots in the order in which they ran, one at a time."""
    ran = []
    while state.runs:
        for run_id in tuple(state.unplaced):
            apply(state, PlaceRun(run_id), NOW)
        (run,) = [run for run in state.runs.values() if run.state is RunState.RUNNING]
        ran.append(run.slot_ms)
        done(state, finished(run))
        assert violations(state) == []
    return ran


def test_slots_run_in_order_one_at_a_time() -> None:
    state = cluster("a", "b")
    put(state)
    verdict = done(state, Backfill("default/job", PAST))
    assert verdict.value == 3
    assert list(state.runs) == [f"{job(state).uid}/m{verdict.index}-{n}" for n in range(3)]
    assert all(run.manual for run in state.runs.values())
    assert work_off(state) == list(PAST)
    assert [(e.slot_ms, e.outcome.value) for e in entries_of(state, job(state).uid)] == [(s, "succeeded") for s in PAST]


def test_what_succeeded_or_is_at_work_is_left_out() -> None:
    state = cluster("a")
    put(state)
    first, second, third = slots = tuple(NOW + n * SECOND for n in (1, 2, 3))
    fired(state, first)
    done(state, finished(only_run(state)), first)
    fired(state, second)
    done(state, finished(only_run(state), AttemptState.FAILED), second)
    assert done(state, Backfill("default/job", slots), third).value == 2
    assert done(state, Backfill("default/job", slots)).value == 0
    assert work_off(state) == [second, third]
    assert done(state, Backfill("default/job", slots, force=True)).value == 3


def test_a_slot_of_the_schedule_meets_them_as_its_overlap_says() -> None:
    state = cluster("a")
    put(state)
    done(state, Backfill("default/job", PAST))
    fired(state, NOW + SECOND)
    assert [e.outcome.value for e in entries_of(state, job(state).uid)] == ["skipped"]


@pytest.mark.parametrize("slots", [(), (NOW + 1,), (NOW, NOW), (NOW, NOW - 1)])
def test_slots_are_of_the_past_and_in_order(slots: tuple[int, ...]) -> None:
    state = cluster("a")
    put(state)
    assert refused(state, Backfill("default/job", slots)) is Refusal.INVALID
    assert not state.runs


def test_too_many_are_refused_as_a_whole() -> None:
    state = cluster("a")
    put(state)
    many = tuple(NOW - n for n in range(QUEUED_SLOTS_MAX, 0, -1))
    assert refused(state, Backfill("default/job", (NOW - 10**6, *many))) is Refusal.LIMIT
    done(state, Backfill("default/job", many[:60]))
    others = tuple(slot - SECOND for slot in many[:60])
    assert refused(state, Backfill("default/job", others)) is Refusal.LIMIT
    assert len(state.runs) == 60


def test_who_would_cancel_them_cannot_have_them() -> None:
    state = cluster("a")
    put(state, overlap=Overlap.REPLACE)
    assert refused(state, Backfill("default/job", PAST)) is Refusal.CONFLICT
    put(state, "alone", mode=Mode.SLICE, slice_ms=10_000)
    assert refused(state, Backfill("default/alone", PAST)) is Refusal.CONFLICT
    assert refused(state, Backfill("default/nobody", PAST)) is Refusal.NOT_FOUND
