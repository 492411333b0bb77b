"""What goes on now, in one answer."""

from __future__ import annotations

from peercron.core.commands import AcquireLock, PutItem
from peercron.core.job import Cursor
from peercron.core.lock import Claim
from peercron.http import overview
from tests.http.conftest import NOW_MS, Site


def coming(site: Site, name: str, at_ms: int | None) -> None:
    """The leader has found out when the job's next slot is."""
    state = site.node.state
    state.cursors[state.job_uids[f"default/{name}"]] = Cursor(NOW_MS, at_ms)


async def test_a_screen_has_what_goes_on(site: Site) -> None:
    await site.put_job("a")
    run = await site.run_job("a")
    await site.node.start_attempt(run["id"])
    await site.node.do(PutItem("default", "mail", b"1"))
    await site.ask("POST", "/v1/locks/default/db:acquire", {"owner": "me", "ttl": "30s", "wait": "0s"})
    seen = (await site.get("/v1/overview")).json
    assert seen["status"]["leader"] == "n1"
    counts = {"jobs": 1, "runs": 1, "waiting": 0, "queues": 1, "items": 1, "locks": 1, "waiters": 0}
    assert seen["counts"] == counts
    (row,) = seen["runs"]
    row_of_run = {"id": run["id"], "job": "default/a", "node": "n1", "attempt": 1, "state": "started"}
    assert row_of_run.items() <= row.items()
    assert [(queue["name"], queue["items"]) for queue in seen["queues"]] == [("mail", 1)]
    assert [lock["holders"][0]["owner"] for lock in seen["locks"]] == ["me"]
    assert seen["events"][-1]["what"] == "started"


async def test_the_next_slots_are_the_soonest_of_jobs_that_are_not_paused(site: Site) -> None:
    for n, name in enumerate(("c", "a", "b", "paused", "never", "unread")):
        await site.put_job(name)
        coming(site, name, {"never": -1, "unread": None}.get(name, NOW_MS + 1_000 * (3 - n)))
    await site.ask("POST", "/v1/jobs/paused:pause")
    asked = await site.get("/v1/overview?limit=2")
    assert [row["job"] for row in asked.json["coming"]] == ["default/b", "default/a"]
    site.clock.advance(overview.COMING_S)
    assert len((await site.get("/v1/overview")).json["coming"]) == 3
    await site.ask("POST", "/v1/cluster:pause")
    site.clock.advance(overview.COMING_S)
    assert (await site.get("/v1/overview")).json["coming"] == []


async def test_of_more_jobs_than_are_kept_the_soonest_are(site: Site) -> None:
    count = overview.ROWS_MAX + 5
    for n in range(count):
        await site.put_job(f"j{n}")
        coming(site, f"j{n}", NOW_MS + (n * 37 % count) * 1_000)
    rows = (await site.get(f"/v1/overview?limit={overview.ROWS_MAX}")).json["coming"]
    assert len(rows) == overview.ROWS_MAX
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert rows[0]["job"] == "default/j0"


async def test_the_fullest_queues_and_the_longest_lines_come_first(site: Site) -> None:
    for name, items in (("few", 1), ("many", 3), ("some", 2)):
        for _ in range(items):
            await site.node.do(PutItem("default", name, b"1"))
    for lock, owners in (("held", 1), ("wanted", 2)):
        for owner in range(owners):
            claim = Claim(f"{lock}-{owner}", 30_000, f"{lock}-{owner}")
            await site.node.do(AcquireLock("default", lock, claim, wait=True, member="id-n1", session=1))
    seen = (await site.get("/v1/overview?limit=2")).json
    assert [queue["name"] for queue in seen["queues"]] == ["many", "some"]
    assert [(lock["name"], lock["waiting"]) for lock in seen["locks"]] == [("wanted", 1), ("held", 0)]


async def test_it_can_be_had_without_a_leader(site: Site) -> None:
    site.node.has_leader = False
    assert (await site.get("/v1/overview")).status == 503
    assert (await site.get("/v1/overview?consistency=stale")).json["status"]["leader"] is None
