"""Jitter: slots of many jobs at one instant start apart, each at an instant of its own that is always the same."""

from __future__ import annotations

from peercron.core.apply.hold import jittered_ms
from peercron.core.commands import PlaceRun, PutJob, RunJob
from peercron.core.job import Job, ManualTrigger
from peercron.core.run import RunState
from peercron.core.verdict import Refusal
from tests.core.builders import NOW, SECOND, cluster, complaint, definition, done, fired, only_run, put, refused

SLOT = NOW + SECOND
SPREAD = 30_000


def test_a_slot_waits_for_its_offset_and_keeps_its_name() -> None:
    state = cluster("a")
    row = put(state, jitter_ms=SPREAD)
    fired(state, SLOT)
    run = only_run(state)
    assert (run.id, run.slot_ms, run.state) == (f"{row.uid}/{SLOT}", SLOT, RunState.QUEUED)
    assert run.not_before_ms == jittered_ms(row, SLOT)
    assert run.reason == f"starts {run.not_before_ms - SLOT} ms after its slot (jitter)"
    assert refused(state, PlaceRun(run.id), run.not_before_ms - 1) is Refusal.NOT_READY
    done(state, PlaceRun(run.id), run.not_before_ms)
    assert only_run(state).state is RunState.RUNNING


def test_a_slot_that_is_late_already_starts_at_once() -> None:
    state = cluster("a")
    put(state, jitter_ms=SPREAD)
    fired(state, SLOT, now_ms=SLOT + SPREAD)
    assert only_run(state).state is RunState.RUNNING


def test_a_run_by_hand_does_not_wait() -> None:
    state = cluster("a")
    put(state, jitter_ms=SPREAD, trigger=ManualTrigger())
    done(state, RunJob("default/job"))
    assert only_run(state).state is RunState.RUNNING


def test_offsets_are_spread_over_the_whole_width() -> None:
    jobs = [Job(f"{n:x}", definition(jitter_ms=SPREAD), 1, NOW, NOW) for n in range(1_000)]
    offsets = [jittered_ms(job, SLOT) - SLOT for job in jobs]
    assert all(0 <= offset <= SPREAD for offset in offsets)
    assert all(80 <= sum(n * 3_000 <= offset < (n + 1) * 3_000 for offset in offsets) <= 120 for n in range(10))
    assert jittered_ms(jobs[0], SLOT) != jittered_ms(jobs[0], SLOT + SECOND)


def test_a_day_is_the_most() -> None:
    assert complaint(cluster("a"), PutJob(definition(jitter_ms=24 * 3_600_000 + 1))) == "jitter"
