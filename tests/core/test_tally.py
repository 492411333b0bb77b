"""What is counted of what happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from peercron.core.apply import apply
from peercron.core.apply.ledger import CLUSTER_PAUSED, PAUSED
from peercron.core.apply.restore import adopt
from peercron.core.commands import (
    CloseClient,
    Command,
    DeleteJob,
    ExpireLease,
    ExpireSession,
    OpenClient,
    PauseCluster,
    PauseJob,
    PlaceRun,
    ResumeJob,
    RunJob,
)
from peercron.core.history import unpack_entry
from peercron.core.job import EveryTrigger, Job, Mode, Overlap
from peercron.core.limits import TALLIED_JOBS_MAX
from peercron.core.pace import Retry
from peercron.core.run import AttemptState
from peercron.core.state import ClusterState
from peercron.core.tally import OTHER, REASON_OTHER, Tally, word_for
from tests.core.builders import HOUR, NOW, SECOND, cluster, done, finished, fired, put, started
from tests.core.chance import some_command

JOB = ("default", "job")


def counted(*nodes: str) -> tuple[ClusterState, Tally]:
    state = cluster(*(nodes or ("n1",)))
    state.tally = Tally()
    return state, state.tally


def fire(state: ClusterState, job: Job, slot_ms: int, now_ms: int) -> str:
    fired(state, slot_ms, name=job.definition.name, now_ms=now_ms)
    return f"{job.uid}/{slot_ms}"


def start(state: ClusterState, run_id: str, started_ms: int) -> None:
    done(state, replace(started(state.runs[run_id]), started_ms=started_ms))


def finish(state: ClusterState, run_id: str, outcome: AttemptState, at_ms: int) -> None:
    done(state, finished(state.runs[run_id], outcome, finished_ms=at_ms))


def test_a_run_is_counted_where_it_is_made_started_and_ended() -> None:
    state, tally = counted()
    job = put(state)
    run_id = fire(state, job, NOW + SECOND, NOW + SECOND)
    start(state, run_id, NOW + SECOND + 40)
    finish(state, run_id, AttemptState.SUCCEEDED, NOW + 3 * SECOND)
    assert dict(tally.created) == {"schedule": 1}
    assert tally.runs == {JOB: {"succeeded": 1}}
    assert dict(tally.attempts) == {"succeeded": 1}
    assert tally.succeeded_ms == {JOB: state.now_ms}
    assert (tally.lateness_ms.count, tally.lateness_ms.sum) == (1, 40)
    assert (tally.duration_ms.count, tally.duration_ms.sum) == (1, 1_960)


def test_only_what_had_an_instant_is_late_and_only_at_its_first_attempt() -> None:
    state, tally = counted()
    job = put(state, retry=Retry(max=1, base_ms=1))
    done(state, RunJob(job.key))
    by_hand = next(iter(state.runs))
    start(state, by_hand, NOW + HOUR)
    finish(state, by_hand, AttemptState.SUCCEEDED, NOW + HOUR)
    assert tally.lateness_ms.count == 0
    run_id = fire(state, job, NOW + SECOND, NOW + SECOND)
    start(state, run_id, NOW + SECOND)
    finish(state, run_id, AttemptState.FAILED, NOW + 2 * SECOND)
    assert dict(tally.retries) == {"failed": 1}
    assert tally.lateness_ms.count == 1
    assert dict(tally.created) == {"hand": 1, "schedule": 1}


def test_jitter_is_not_lateness() -> None:
    state, tally = counted()
    job = put(state, jitter_ms=10 * SECOND)
    run_id = fire(state, job, NOW + SECOND, NOW + SECOND)
    due_ms = state.runs[run_id].not_before_ms
    assert due_ms > NOW + SECOND
    done(state, PlaceRun(run_id), due_ms)
    start(state, run_id, due_ms + 5)
    assert (tally.lateness_ms.count, tally.lateness_ms.sum) == (1, 5)


def test_a_lost_attempt_is_counted() -> None:
    state, tally = counted("n1", "n2")
    job = put(state)
    run_id = fire(state, job, NOW + SECOND, NOW + SECOND)
    member = state.runs[run_id].attempts[-1].member
    done(state, ExpireSession(member, 1))
    assert tally.attempts["lost"] == 1
    assert tally.retries["lost"] == 1


@pytest.mark.parametrize("command", [PauseJob("default/job"), PauseCluster()], ids=["job", "cluster"])
def test_a_slot_without_a_run_is_counted_by_its_reason(command: Command) -> None:
    state, tally = counted()
    job = put(state)
    done(state, command)
    fire(state, job, NOW + SECOND, NOW + SECOND)
    word = "job_paused" if isinstance(command, PauseJob) else "cluster_paused"
    assert dict(tally.unmade) == {("skipped", word): 1}
    assert tally.runs == {}


def test_an_overlapping_slot_is_counted_as_one() -> None:
    state, tally = counted()
    job = put(state, overlap=Overlap.FORBID)
    fire(state, job, NOW + SECOND, NOW + SECOND)
    fire(state, job, NOW + 2 * SECOND, NOW + 2 * SECOND)
    assert dict(tally.unmade) == {("skipped", "overlap"): 1}


def test_a_shard_is_no_run() -> None:
    state, tally = counted("n1", "n2")
    job = put(state, mode=Mode.PARALLEL)
    run_id = fire(state, job, NOW + SECOND, NOW + SECOND)
    shards = [run for run in state.runs.values() if run.parent == run_id]
    assert len(shards) == 2
    for shard in shards:
        if state.runs[shard.id].live_attempt is None:
            done(state, PlaceRun(shard.id), NOW + SECOND)
        finish(state, shard.id, AttemptState.SUCCEEDED, NOW + SECOND)
    assert tally.runs == {JOB: {"succeeded": 1}}
    assert dict(tally.created) == {"schedule": 1}
    assert dict(tally.attempts) == {"succeeded": 2}


def test_a_slot_that_is_too_old_is_counted_as_missed() -> None:
    state, tally = counted()
    job = put(state)
    fire(state, job, NOW + SECOND, NOW + 3 * HOUR)
    assert dict(tally.unmade) == {("missed", "misfire"): 1}


def test_the_words_of_reasons_are_few() -> None:
    assert word_for(PAUSED) == "job_paused"
    assert word_for(f"{CLUSTER_PAUSED}; event a/b") == "cluster_paused"
    assert word_for("default/a failed (require all_succeeded)") == "upstream"
    assert word_for("2026-12-24 is a day of calendar holidays, which is excluded") == "calendar"
    assert word_for("something else") == REASON_OTHER


def test_jobs_beyond_the_limit_are_counted_together_and_a_deleted_one_makes_room() -> None:
    state, tally = counted()
    for n in range(TALLIED_JOBS_MAX + 2):
        job = put(state, f"job-{n}")
        done(state, RunJob(job.key))
        finish(state, next(iter(state.runs)), AttemptState.SUCCEEDED, NOW)
    assert len(tally.runs) == TALLIED_JOBS_MAX + 1
    assert tally.runs[OTHER] == {"succeeded": 2}
    done(state, DeleteJob("default/job-0"))
    assert ("default", "job-0") not in tally.runs
    assert len(tally.succeeded_ms) == TALLIED_JOBS_MAX - 1


def test_stocks_follow_the_state_and_are_taken_anew() -> None:
    state, tally = counted()
    put(state, "a")
    put(state, "b")
    done(state, PauseJob("default/a"))
    done(state, PauseJob("default/b"))
    first = done(state, OpenClient("c", 10 * SECOND)).value
    second = done(state, OpenClient("d", 10 * SECOND)).value
    assert (len(tally.paused), tally.leases["client"]) == (2, 2)
    done(state, ResumeJob("default/a"))
    done(state, DeleteJob("default/b"))
    done(state, CloseClient(first))
    done(state, ExpireLease(second))
    assert (len(tally.paused), tally.leases["client"], tally.events["client", "lost"]) == (0, 0, 1)
    restored = cluster("n1")
    put(restored, "z")
    done(restored, PauseJob("default/z"))
    done(restored, OpenClient("e", 10 * SECOND))
    adopt(state, restored)
    assert (list(tally.paused), tally.leases["client"]) == (["default/z"], 1)


def test_who_counts_nothing_applies_the_same() -> None:
    state, _ = counted()
    plain = cluster("n1")
    for each in (state, plain):
        job = put(each, trigger=EveryTrigger(SECOND))
        fire(each, job, NOW + SECOND, NOW + SECOND)
    assert state == plain


def decided(state: ClusterState) -> Counter[str]:
    """Outcome -> entries of the ledger, over all jobs."""
    return Counter(
        unpack_entry(uid, packed).outcome.value for uid, entries in state.ledger.items() for packed in entries
    )


@pytest.mark.parametrize("seed", range(6))
def test_every_entry_of_the_ledger_is_counted_once_and_stocks_are_right(seed: int) -> None:
    dice, now_ms = Random(seed), 1_000_000
    state = ClusterState(tally=Tally())
    tally = state.tally
    assert tally is not None
    for _ in range(400):
        now_ms += dice.choice((0, 1, 1_000, 5_000))
        before, counted_before, generation = decided(state), told_of(tally), state.generation
        deleted = tally.events["job", "deleted"]
        apply(state, some_command(dice, state), now_ms)
        twin = Tally()
        twin.take_stock(state)
        assert (tally.paused.keys(), +tally.leases) == (twin.paused.keys(), +twin.leases)
        # A snapshot brings a past with it that did not happen here; what was told of a deleted job is not any more.
        if (state.generation, tally.events["job", "deleted"]) == (generation, deleted):
            assert told_of(tally) - counted_before == decided(state) - before


def told_of(tally: Tally) -> Counter[str]:
    """The same as `decided`, as it was counted."""
    told = Counter[str]()
    for outcomes in tally.runs.values():
        told += outcomes
    for (outcome, _), n in tally.unmade.items():
        told[outcome] += n
    return told
