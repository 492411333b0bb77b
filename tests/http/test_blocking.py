"""Reads that wait: woken by a change of what was asked for, and by nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import DeleteJob, PauseJob
from peercron.core.job import Job
from peercron.core.state import ClusterState
from peercron.http import jobs
from peercron.http.answers import LastChanges
from tests.http.conftest import NOW_MS, Answer, Site


async def index_of(site: Site, path: str) -> str:
    return str((await site.get(path)).headers["Peercron-Index"])


async def wait_on(site: Site, path: str, index: str) -> asyncio.Task[Answer]:
    """A read that waits: it has looked, seen no change, and begun to wait."""
    site.node.waiting.clear()
    reading = asyncio.create_task(site.get(f"{path}?index={index}&wait=60s"))
    await site.node.waiting.wait()
    assert not reading.done()
    return reading


async def test_a_change_of_the_resource_wakes(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    reading = await wait_on(site, "/v1/jobs/hello", index)
    await site.ask("POST", "/v1/jobs/hello:pause")
    assert (await reading).json["paused"] is True


async def test_other_changes_do_not_wake(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    reading = await wait_on(site, "/v1/jobs/hello", index)
    site.node.waiting.clear()
    await site.put_job("other")
    await site.node.waiting.wait()
    assert not reading.done()
    await site.put_job(timeout="9s")
    assert (await reading).json["timeout"] == "9s"


async def test_what_changed_meanwhile_is_answered_at_once(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    await site.ask("POST", "/v1/jobs/hello:pause")
    assert (await site.get(f"/v1/jobs/hello?index={index}&wait=60s")).json["paused"] is True


async def test_what_another_reader_has_seen_changing_is_answered_at_once(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    await site.ask("POST", "/v1/jobs/hello:pause")
    await index_of(site, "/v1/jobs/hello")
    assert (await site.get(f"/v1/jobs/hello?index={index}&wait=60s")).json["paused"] is True


async def test_the_time_is_up(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    answer = await site.get(f"/v1/jobs/hello?index={index}&wait=10ms")
    assert (answer.status, answer.json["paused"]) == (200, False)


async def test_a_resource_that_goes_away(site: Site) -> None:
    await site.put_job()
    index = await index_of(site, "/v1/jobs/hello")
    reading = await wait_on(site, "/v1/jobs/hello", index)
    await site.ask("DELETE", "/v1/jobs/hello")
    assert (await reading).status == 404


def test_only_so_many_resources_are_remembered() -> None:
    changes = LastChanges()
    for n in range(10_000):
        changes.changed_at(f"/v1/jobs/{n}", b"x", n)
    # Forgotten means: counts as changed now, never as unchanged.
    assert changes.changed_at("/v1/jobs/0", b"x", 10_000) == 10_000
    assert changes.changed_at("/v1/jobs/9999", b"x", 10_000) == 9_999


async def test_a_long_list_leaves_the_loop_to_others_and_what_changes_meanwhile_is_new(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        await site.put_job(f"job-{n:02d}")
    index, view = site.node.state.index, jobs.job_view
    monkeypatch.setattr("peercron.http.answers.SLICE_S", -1.0)  # a pause after each

    def meddle() -> None:
        apply(site.node.state, DeleteJob("default/job-19"), NOW_MS)
        apply(site.node.state, PauseJob("default/job-00"), NOW_MS)

    def disturbed(state: ClusterState, job: Job) -> dict[str, Any]:
        if job.key == "default/job-05":
            asyncio.get_running_loop().call_soon(meddle)
        return view(state, job)

    monkeypatch.setattr(jobs, "job_view", disturbed)
    answer = await site.get("/v1/jobs")
    # One that is gone by the time its turn comes is left out; one that changed behind our back is told to who asks
    # again, because the answer stands for the moment at which it was begun.
    assert [job["name"] for job in answer.json["jobs"]] == [f"job-{n:02d}" for n in range(19)]
    assert answer.json["jobs"][0]["paused"] is False
    assert answer.headers["Peercron-Index"] == str(index)
    again = await site.get(f"/v1/jobs?index={index}&wait=60s")
    assert again.json["jobs"][0]["paused"] is True
