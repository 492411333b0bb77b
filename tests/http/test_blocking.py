"""Reads that wait: woken by a change of what was asked for, and by nothing else."""

from __future__ import annotations

import asyncio

from peercron.http.answers import LastChanges
from tests.http.conftest import Answer, Site


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
