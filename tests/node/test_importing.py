"""Jobs of imported classes: applied once per start, only what changed, and nobody else's."""

from __future__ import annotations

import pytest

from peercron.core.apply import apply
from peercron.core.commands import ApplyJobs, PauseJob, PutJob
from peercron.core.state import ClusterState
from peercron.jobspec import JobsDocument, read_document, read_job
from peercron.node.importing import wanted
from tests.core.builders import NOW, cluster, done


def document(*names: str, **more: object) -> JobsDocument:
    jobs = [{"name": name, "class": f"acme:{name.title()}", "every": "1m"} | more for name in names]
    return read_document({"version": 1, "owner": "import:acme", "jobs": jobs})


def brought(state: ClusterState, told: JobsDocument) -> ApplyJobs | None:
    command = wanted(state, told)
    if command is not None:
        done(state, command)
    return command


def test_the_same_code_changes_nothing() -> None:
    state = cluster("a")
    assert brought(state, document("x", "y")) is not None
    assert brought(state, document("x", "y")) is None


def test_the_code_that_started_last_has_the_last_word() -> None:
    state = cluster("a")
    brought(state, document("x", "y"))
    brought(state, document("x", "z", timeout="5s"))
    assert set(state.job_uids) == {"default/x", "default/z"}
    uid = state.job_uids["default/x"]
    assert state.jobs[uid].definition.timeout_ms == 5_000


def test_a_job_of_somebody_else_stays_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    state = cluster("a")
    done(state, PutJob(read_job({"name": "x", "shell": "true"}).definition))
    brought(state, document("x", "y"))
    assert state.jobs[state.job_uids["default/x"]].definition.owner == ""
    assert "default/y" in state.job_uids
    assert [record.message for record in caplog.records] == ["import_skipped"]
    assert brought(state, document("x", "y")) is None


def test_a_pause_is_an_operators_word() -> None:
    state = cluster("a")
    brought(state, document("x", paused=True))
    uid = state.job_uids["default/x"]
    assert state.jobs[uid].paused
    brought(state, document("x", "y", paused=False))
    assert state.jobs[uid].paused
    apply(state, PauseJob("default/y"), NOW)
    brought(state, document("x", "y", "z"))
    assert state.jobs[state.job_uids["default/y"]].paused
