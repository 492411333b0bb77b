"""The cluster's pause: slots and events are skipped with the reason, and the next one fires."""

from __future__ import annotations

from peercron.core.commands import PauseCluster, PauseJob, ResumeCluster, ResumeJob, RunJob
from peercron.core.job import ManualTrigger, Mode
from peercron.core.slice_duty import plan_of
from tests.core.builders import NOW, SECOND, cluster, done, entries, finished, fired, job, only_run, outcomes, put


def test_slots_of_a_pause_are_skipped_with_the_reason() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseCluster())
    fired(state, NOW + SECOND)
    assert entries(state)[NOW + SECOND].reason == "the cluster was paused"
    done(state, ResumeCluster(), NOW + 3 * SECOND)
    fired(state, NOW + 2 * SECOND, NOW + 3 * SECOND, now_ms=NOW + 3 * SECOND)
    assert set(outcomes(state).values()) == {"skipped"}
    fired(state, NOW + 4 * SECOND)
    assert only_run(state).slot_ms == NOW + 4 * SECOND


def test_a_job_that_is_paused_by_itself_stays_so() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseJob("default/job"))
    done(state, PauseCluster())
    done(state, ResumeCluster())
    fired(state, NOW + SECOND)
    assert entries(state)[NOW + SECOND].reason == "the job was paused"
    done(state, ResumeJob("default/job"), NOW + SECOND)
    fired(state, NOW + 2 * SECOND)
    assert only_run(state).slot_ms == NOW + 2 * SECOND


def test_what_is_run_by_hand_and_what_runs_goes_on() -> None:
    state = cluster("a")
    put(state)
    fired(state, NOW + SECOND)
    done(state, PauseCluster())
    done(state, finished(only_run(state)))
    done(state, RunJob("default/job"))
    assert only_run(state).live_attempt is not None


def test_events_are_skipped_too() -> None:
    state = cluster("a")
    put(state, "up", trigger=ManualTrigger())
    put(state, "down", trigger=ManualTrigger(), after=("default/up",))
    done(state, PauseCluster())
    done(state, RunJob("default/up"))
    done(state, finished(only_run(state, "up")))
    assert [entry.reason for entry in entries(state, "down").values()] == ["the cluster was paused"]


def test_nodes_that_fire_by_themselves_hear_of_it() -> None:
    state = cluster("a")
    put(state, mode=Mode.SLICE, slice_ms=10_000)
    state.changed_slices = {}
    done(state, PauseCluster())
    uid = job(state).uid
    assert list(state.changed_slices) == [uid]
    plan = plan_of(state, uid)
    assert plan is not None
    assert plan.job.paused
    done(state, ResumeCluster(), NOW + SECOND)
    plan = plan_of(state, uid)
    assert plan is not None
    assert (plan.job.paused, plan.cursor.paused_through_ms) == (False, NOW + SECOND)
