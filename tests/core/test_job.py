"""Jobs: put, applied as a file, deleted, paused, run by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from peercron.core.apply import job as jobs
from peercron.core.apply import ledger
from peercron.core.commands import ApplyJobs, DeleteJob, PauseJob, PutJob, ResumeJob, RunJob
from peercron.core.history import entries_of, find_entry
from peercron.core.job import (
    AtTrigger,
    CommandTask,
    CronTrigger,
    Definition,
    EnvEntry,
    EveryTrigger,
    HttpTask,
    Misfire,
    Overlap,
    SecretSource,
)
from peercron.core.run import AttemptState, RunState
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    HOUR,
    NOW,
    SECOND,
    all_runs,
    cluster,
    complaint,
    definition,
    done,
    finished,
    fired,
    job,
    only_run,
    outcomes,
    put,
    refused,
)


def test_a_new_job_begins_now() -> None:
    state = ClusterState()
    row = put(state)
    assert (row.revision, row.created_ms, row.paused) == (1, NOW, False)
    assert (state.cursors[row.uid].after_ms, state.cursors[row.uid].next_ms) == (NOW, None)


def test_an_instant_that_has_just_gone_by_is_not_lost() -> None:
    state = ClusterState()
    row = put(state, trigger=AtTrigger(NOW - 5))
    assert state.cursors[row.uid].after_ms < NOW - 5
    assert state.cursors[put(state, "later", trigger=AtTrigger(NOW + 5)).uid].after_ms == NOW


def test_an_unchanged_definition_changes_nothing() -> None:
    state = cluster("a")
    before = put(state)
    fired(state, NOW + SECOND)
    cursor = state.cursors[before.uid]
    assert done(state, PutJob(definition())).value == before.revision
    assert job(state) is before
    assert state.cursors[before.uid] is cursor


def test_an_edit_keeps_the_position_unless_the_trigger_changed() -> None:
    state = cluster("a")
    uid = put(state).uid
    fired(state, NOW + SECOND)
    cursor = state.cursors[uid]
    edited = put(state, timeout_ms=5_000)
    assert (edited.uid, edited.revision) == (uid, state.index)
    assert state.cursors[uid] is cursor
    put(state, trigger=EveryTrigger(2_000), now_ms=NOW + HOUR)
    assert (state.cursors[uid].after_ms, state.cursors[uid].next_ms) == (NOW + HOUR, None)


def test_an_edit_does_not_make_decided_time_open_again() -> None:
    state = cluster("a")
    uid = put(state).uid
    fired(state, NOW + HOUR)
    put(state, trigger=AtTrigger(NOW + SECOND), now_ms=NOW + HOUR)
    assert state.cursors[uid].after_ms == NOW + HOUR


def test_a_put_may_insist_on_a_revision() -> None:
    state = ClusterState()
    assert refused(state, PutJob(definition(), if_revision=1)) is Refusal.CONFLICT
    revision = done(state, PutJob(definition(), if_revision=0)).value
    assert refused(state, PutJob(definition(), if_revision=0)) is Refusal.CONFLICT
    assert isinstance(revision, int)
    done(state, PutJob(definition(timeout_ms=1), if_revision=revision))
    assert refused(state, PutJob(definition(), if_revision=revision)) is Refusal.CONFLICT


def test_a_put_leaves_a_pause_alone_unless_it_says_so() -> None:
    state = ClusterState()
    done(state, PutJob(definition(), paused=True))
    put(state, timeout_ms=1)
    assert job(state).paused
    done(state, PutJob(definition(timeout_ms=1), paused=False))
    assert not job(state).paused


def test_a_name_may_come_again_and_its_uid_does_not() -> None:
    state = ClusterState()
    first = put(state)
    done(state, DeleteJob("default/job"))
    assert put(state).uid != first.uid


def test_uids_of_one_file_differ_and_follow_from_the_command() -> None:
    uids = []
    for _ in range(2):
        state = ClusterState()
        done(state, ApplyJobs((definition("x"), definition("y"))))
        uids.append(list(state.jobs))
    assert uids[0] == uids[1]
    assert len(set(uids[0])) == 2


def test_the_cluster_is_full_at_some_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOBS_MAX", 2)
    state = ClusterState()
    put(state, "x")
    put(state, "y", owner="file")
    assert refused(state, PutJob(definition("z"))) is Refusal.LIMIT
    assert refused(state, ApplyJobs((definition("z"),))) is Refusal.LIMIT
    done(state, ApplyJobs((definition("z"),), prune_owner="file"))


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": "a/b"}),
    ("name", {"name": ""}),
    ("name", {"name": "x" * 200}),
    ("name", {"name": "a\n"}),
    ("namespace", {"namespace": "-x"}),
    ("owner", {"owner": "a\nb"}),
    ("nodes", {"nodes": ("a", "a")}),
    ("nodes", {"nodes": ("a b",)}),
    ("nodes", {"nodes": tuple(f"n{n}" for n in range(99))}),
    ("schedule", {"trigger": CronTrigger("")}),
    ("timezone", {"trigger": CronTrigger("* * * * *", "")}),
    ("every", {"trigger": EveryTrigger(99)}),
    ("every, anchor", {"trigger": EveryTrigger(100, -1)}),
    ("at", {"trigger": AtTrigger(-1)}),
    ("command, shell", {"task": CommandTask()}),
    ("command, shell", {"task": CommandTask(("true",), "true")}),
    ("command", {"task": CommandTask(("", "x"))}),
    ("command, shell, cwd, user, env", {"task": CommandTask(("a\0b",))}),
    ("command, shell, cwd, user, env", {"task": CommandTask(shell="x" * 70_000)}),
    ("env", {"task": CommandTask(("a",), env=(EnvEntry("A=B", SecretSource.LITERAL, ""),))}),
    ("env", {"task": CommandTask(("a",), env=(EnvEntry("A", SecretSource.LITERAL, ""),) * 2)}),
    ("env", {"task": CommandTask(("a",), env=tuple(EnvEntry(f"A{n}", SecretSource.ENV, "") for n in range(300)))}),
    ("http.method", {"task": HttpTask("get", "http://x")}),
    ("http.url", {"task": HttpTask("GET", "file:///etc/passwd")}),
    ("http.url", {"task": HttpTask("GET", "http://x/\r\nEvil")}),
    ("http.headers", {"task": HttpTask("GET", "http://x", (("a", "b\r\nc"),))}),
    ("http.body, http.headers", {"task": HttpTask("PUT", "http://x", body=bytes(70_000))}),
    ("http.expect", {"task": HttpTask("GET", "http://x", expect_status=(99,))}),
    ("timeout", {"timeout_ms": -1}),
    ("kill_grace", {"kill_grace_ms": -1}),
    ("misfire.window", {"misfire": Misfire(window_ms=-1)}),
    ("misfire.max", {"misfire": Misfire(max=0)}),
    ("misfire.max", {"misfire": Misfire(max=10_000)}),
]


@pytest.mark.parametrize(("field", "changes"), WRONG)
def test_a_wrong_definition_is_refused_by_the_name_of_its_field(field: str, changes: dict[str, Any]) -> None:
    state = ClusterState()
    wrong: Definition = replace(definition(), **changes)
    assert complaint(state, PutJob(wrong)) == field
    assert state.jobs == {}


def test_a_definition_that_uses_everything_is_taken() -> None:
    state = ClusterState()
    env = (EnvEntry("DSN", SecretSource.FILE, "/run/dsn"),)
    put(state, "x", task=CommandTask(shell="a | b", env=env, cwd="/srv", user="www-data"), nodes=("a", "b-2"))
    call = HttpTask("POST", "https://x/y?z", (("A", "b"),), b"{}", (200, 204))
    done(state, PutJob(definition("y", task=call, namespace="ops.x")))
    put(state, "z", trigger=CronTrigger("0 2 * * *", "Europe/Berlin"), owner="ops/jobs.git", timeout_ms=900_000)


def test_a_file_is_applied_as_a_whole_or_not_at_all() -> None:
    state = ClusterState()
    assert refused(state, ApplyJobs((definition("x"), definition("y", timeout_ms=-1)))) is Refusal.INVALID
    assert refused(state, ApplyJobs((definition("x"), definition("x")))) is Refusal.INVALID
    assert state.jobs == {}
    assert done(state, ApplyJobs((definition("x"), definition("y")))).value == 2
    assert done(state, ApplyJobs((definition("x"), definition("y", timeout_ms=1)))).value == 1
    assert done(state, ApplyJobs((definition("x"), definition("y", timeout_ms=1)))).value == 0


def test_pruning_touches_only_the_jobs_of_its_owner() -> None:
    state = ClusterState()
    put(state, "x", owner="file")
    put(state, "y", owner="file")
    put(state, "z")
    assert done(state, ApplyJobs((definition("x", owner="file"),), prune_owner="file")).value == 1
    assert list(state.job_uids) == ["default/x", "default/z"]


def test_a_file_may_say_of_its_jobs_that_they_pause_and_leaves_the_others_alone() -> None:
    state = ClusterState()
    for name in "xyz":
        put(state, name)
    done(state, PauseJob("default/y"))
    file = ApplyJobs(tuple(definition(name) for name in "xyz"), paused=(("default/x", True), ("default/y", False)))
    assert done(state, file).value == 2
    assert [job(state, name).paused for name in "xyz"] == [True, False, False]
    assert done(state, file).value == 0


def test_a_file_is_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOBS_PER_APPLY_MAX", 1)
    assert refused(ClusterState(), ApplyJobs((definition("x"), definition("y")))) is Refusal.LIMIT


def test_a_seed_is_for_an_empty_cluster() -> None:
    state = ClusterState()
    done(state, ApplyJobs((definition("x"),), only_if_empty=True))
    assert refused(state, ApplyJobs((definition("y"),), only_if_empty=True)) is Refusal.CONFLICT


def test_deletion_cancels_what_waits_and_asks_what_runs_to_end() -> None:
    state = cluster("a")
    row = put(state, overlap=Overlap.QUEUE_ALL)
    for n in range(1, 4):
        fired(state, NOW + n * SECOND)
    first = state.runs[state.live_runs[row.uid][0]]
    done(state, DeleteJob("default/job"))
    (left,) = state.live_runs[row.uid]
    assert left == first.id
    assert state.runs[left].cancel_requested
    assert state.runs[left].definition == row.definition
    done(state, finished(first, AttemptState.CANCELLED))
    assert [entry.outcome for entry in entries_of(state, row.uid)] == [RunState.CANCELLED] * 3
    assert (state.live_runs, state.live_attempts, state.cursors) == ({}, {}, {})


def test_deletion_may_insist_on_a_revision() -> None:
    state = ClusterState()
    row = put(state)
    assert refused(state, DeleteJob("default/nobody")) is Refusal.NOT_FOUND
    assert refused(state, DeleteJob("default/job", row.revision + 1)) is Refusal.CONFLICT
    done(state, DeleteJob("default/job", row.revision))


def test_ledgers_of_deleted_jobs_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DELETED_JOBS_KEPT", 2)
    state = cluster("a")
    uids = [put(state).uid]
    fired(state, NOW + SECOND)
    first = only_run(state)  # it goes on
    done(state, DeleteJob("default/job"))
    for n in range(2, 5):
        uids.append(put(state).uid)
        fired(state, NOW + SECOND * n)
        done(state, finished(only_run(state)))
        done(state, DeleteJob("default/job"))
    assert list(state.deleted_jobs) == [uids[0], uids[3]]
    assert list(state.ledger) == [uids[3]]
    done(state, finished(first, AttemptState.CANCELLED))
    done(state, DeleteJob(put(state).key))
    assert list(state.deleted_jobs) == [uids[3], list(state.deleted_jobs)[-1]]
    assert {run.id for run in all_runs(state)} == {entry.run_id for entry in entries_of(state, uids[3])}


def test_slots_of_a_pause_are_skipped_with_the_reason() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseJob("default/job"))
    fired(state, NOW + SECOND, NOW + 2 * SECOND)
    assert set(outcomes(state).values()) == {"skipped"}
    assert state.live_runs == {}


def test_slots_of_a_pause_that_are_decided_after_it_are_skipped_too() -> None:
    state = cluster("a")
    put(state)
    done(state, PauseJob("default/job"))
    done(state, ResumeJob("default/job"), NOW + 5 * SECOND)
    fired(state, NOW + SECOND, NOW + 5 * SECOND, NOW + 6 * SECOND)
    assert outcomes(state) == {NOW + SECOND: "skipped", NOW + 5 * SECOND: "skipped"}
    assert only_run(state).slot_ms == NOW + 6 * SECOND


def test_pausing_is_no_edit() -> None:
    state = ClusterState()
    row = put(state)
    done(state, PauseJob("default/job"))
    done(state, PauseJob("default/job"))
    assert job(state).revision == row.revision
    assert refused(state, PauseJob("default/nobody")) is Refusal.NOT_FOUND
    assert refused(state, ResumeJob("default/nobody")) is Refusal.NOT_FOUND


def test_a_run_by_hand_passes_through_the_overlap_policy() -> None:
    state = cluster("a")
    row = put(state)
    first, second = (done(state, RunJob("default/job")).value for _ in range(2))
    assert (first, second) == (f"{row.uid}/m3", f"{row.uid}/m4")
    assert only_run(state).id == first
    assert only_run(state).manual
    assert find_entry(state, str(second)).outcome is RunState.SKIPPED
    assert refused(state, RunJob("default/nobody")) is Refusal.NOT_FOUND


def test_a_run_that_has_ended_is_done_again_with_its_slot_and_params() -> None:
    state = cluster("a")
    put(state)
    fired(state, NOW + SECOND)
    first = only_run(state)
    assert refused(state, RunJob("default/job", again=first.id)) is Refusal.CONFLICT
    done(state, finished(first, AttemptState.FAILED))
    again = done(state, RunJob("default/job", again=first.id)).value
    run = only_run(state)
    assert (run.id, run.slot_ms, run.manual) == (again, first.slot_ms, True)
    assert run.cause == f"run {first.id} is done again"
    done(state, finished(run))
    assert outcomes(state)[first.slot_ms] in ("failed", "succeeded"), "each has its own entry"
    given = str(done(state, RunJob("default/job", (("day", "mon"),))).value)
    done(state, finished(only_run(state)))
    done(state, RunJob("default/job", again=given))
    assert only_run(state).params == (("day", "mon"),)


def test_a_slot_without_a_run_is_done_again_too_and_what_is_unknown_is_not() -> None:
    state = cluster("a")
    row = put(state)
    fired(state, NOW + SECOND)
    fired(state, NOW + 2 * SECOND)  # skipped: the first one runs
    done(state, finished(only_run(state)))
    done(state, RunJob("default/job", again=f"{row.uid}/{NOW + 2 * SECOND}"))
    assert only_run(state).slot_ms == NOW + 2 * SECOND
    put(state, "other")
    assert refused(state, RunJob("default/job", again=f"{row.uid}/1")) is Refusal.NOT_FOUND
    assert refused(state, RunJob("default/other", again=f"{row.uid}/{NOW + SECOND}")) is Refusal.NOT_FOUND
