"""What a node tells a monitor, and that it costs little."""

from __future__ import annotations

from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from peercron.core.commands import OpenClient, PutItem
from peercron.core.verdict import Done
from peercron.http import census
from peercron.meters import Readings
from tests.http.conftest import NOW_MS, Site, StartSite


async def scraped(site: Site) -> dict[str, Any]:
    """Metric -> its family."""
    answer = await site.get("/metrics")
    assert answer.status == 200, answer.text
    return {family.name: family for family in prometheus(answer.text)}


async def value(site: Site, name: str, **labels: str) -> float:
    """Of the samples of that name with these labels, together."""
    families = (await scraped(site)).values()
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


async def test_every_metric_is_explained_and_named_by_the_conventions(site: Site) -> None:
    await site.put_job()
    families = await scraped(site)
    own = {name: family for name, family in families.items() if name.startswith("peercron_")}
    assert len(own) > 50
    assert {family.type for family in own.values()} == {"gauge", "counter", "histogram"}
    for name, family in own.items():
        assert family.documentation.endswith("."), name
        assert not name.endswith(("_total", "_count", "_ms")), name
        assert all(sample.name == f"{name}_total" for sample in family.samples if family.type == "counter"), name
        if family.type == "histogram":
            assert name.endswith("_seconds"), name


async def test_a_scraper_that_asks_for_openmetrics_gets_it(site: Site) -> None:
    answer = await site.get(
        "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    )
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "peercron_jobs" in {family.name for family in openmetrics(answer.text)}


async def test_no_quorum_is_needed(site: Site) -> None:
    site.node.has_leader = False
    assert await value(site, "peercron_has_leader") == 0
    assert site.node.barriers == 0


async def test_jobs_and_runs_are_counted_as_they_come(site: Site) -> None:
    await site.put_job("a")
    await site.put_job("b")
    await site.ask("POST", "/v1/jobs/b:pause")
    assert await value(site, "peercron_jobs", state="active") == 1
    assert await value(site, "peercron_jobs", state="paused") == 1
    run = await site.run_job("a")
    assert await value(site, "peercron_attempts_running", member="n1") == 1
    assert await value(site, "peercron_runs_created_total", by="hand") == 1
    await site.node.start_attempt(run["id"])
    await site.node.finish_attempt(run["id"], exit_code=3)
    ended = {"namespace": "default", "job_name": "a", "outcome": "failed"}
    assert await value(site, "peercron_runs_finished_total", **ended) == 1
    assert await value(site, "peercron_attempts_finished_total", outcome="failed") == 1
    assert await value(site, "peercron_attempt_duration_seconds_count") == 1
    assert await value(site, "peercron_runs_alive") == 0
    again = await site.run_job("a")
    await site.node.finish_attempt(again["id"])
    last = {"namespace": "default", "job_name": "a"}
    assert await value(site, "peercron_job_last_success_timestamp_seconds", **last) == NOW_MS / 1_000


async def test_queues_tell_their_depth_and_their_oldest_item(site: Site) -> None:
    for payload in (b"1", b"2"):
        await site.node.do(PutItem("default", "mail", payload))
    await site.ask("POST", "/v1/queues/default/mail:receive", {"max": 1})
    site.clock.advance(90)
    mail = {"namespace": "default", "queue": "mail"}
    assert await value(site, "peercron_queue_items", **mail) == 2
    assert await value(site, "peercron_queue_items_in_flight", **mail) == 1
    assert await value(site, "peercron_queue_oldest_item_age_seconds", **mail) == 90


async def test_an_item_that_is_delayed_is_not_old(site: Site) -> None:
    await site.node.do(PutItem("default", "mail", b"1", delay_ms=60_000))
    await site.node.do(PutItem("default", "mail", b"2"))
    site.clock.advance(1)
    assert await value(site, "peercron_queue_oldest_item_age_seconds", queue="mail") == 1


async def test_queues_beyond_the_limit_are_told_together(site: Site) -> None:
    for n in range(census.QUEUES_SHOWN_MAX + 3):
        await site.node.do(PutItem("default", f"q{n}", b"1"))
    items = (await scraped(site))["peercron_queue_items"].samples
    assert len(items) == census.QUEUES_SHOWN_MAX + 1
    assert items[-1].labels == {"namespace": "", "queue": "other"}
    assert items[-1].value == 3


async def test_locks_and_sessions_are_counted(site: Site) -> None:
    done = await site.node.do(OpenClient("c", 30_000))
    assert isinstance(done, Done)
    for owner in ("a", "b"):
        asked = {"owner": owner, "ttl": "30s", "wait": "0s"}
        await site.ask("POST", "/v1/locks/default/db:acquire", asked)
    assert await value(site, "peercron_locks_held") == 1
    assert await value(site, "peercron_leases", kind="client") == 1
    assert await value(site, "peercron_leases", kind="lock") == 1


async def test_the_consensus_tells_how_it_stands(site: Site) -> None:
    site.node.at = Readings(
        leads=True,
        commit=9,
        applied=8,
        campaigns=2,
        leader_changes=3,
        offsets_ms={"n2": -12.5},
        due_ms=NOW_MS - 2_500,
    )
    site.node.meters.proposals["done"] += 1
    site.node.meters.flush_s.observe(0.003)
    assert await value(site, "peercron_is_leader") == 1
    assert await value(site, "peercron_term") == 7
    assert await value(site, "peercron_log_commit_index") == 9
    assert await value(site, "peercron_elections_total") == 2
    assert await value(site, "peercron_leader_changes_total") == 3
    assert await value(site, "peercron_proposals_total", outcome="done") == 1
    assert await value(site, "peercron_clock_offset_seconds", peer="n2") == -0.0125
    assert await value(site, "peercron_planner_overdue_seconds") == 2.5
    assert await value(site, "peercron_log_fsync_duration_seconds_bucket", le="0.0025") == 0
    assert await value(site, "peercron_log_fsync_duration_seconds_bucket", le="0.005") == 1


async def test_what_only_the_leader_knows_only_the_leader_tells(site: Site) -> None:
    assert (await scraped(site))["peercron_member_behind_entries"].samples
    site.node.at = Readings(leads=False)
    families = await scraped(site)
    assert not families["peercron_member_behind_entries"].samples
    assert not families["peercron_planner_overdue_seconds"].samples


async def test_requests_are_counted_by_route_and_class(site: Site) -> None:
    await site.put_job()
    await site.get("/v1/jobs/hello")
    await site.get("/v1/jobs/none")
    await site.get("/nowhere/at/all")
    route = {"method": "GET", "route": "/v1/jobs/{name}"}
    assert await value(site, "peercron_http_requests_total", status="2xx", **route) == 1
    assert await value(site, "peercron_http_requests_total", status="4xx", **route) == 1
    assert await value(site, "peercron_http_requests_total", route="unmatched", method="", status="4xx") == 1
    assert await value(site, "peercron_http_request_duration_seconds_count", **route) == 2


async def test_nodes_of_one_process_count_each_for_itself(start_site: StartSite) -> None:
    first, second = await start_site("n1"), await start_site("n2")
    await first.get("/v1/jobs")
    assert await value(first, "peercron_http_requests_total", route="/v1/jobs") == 1
    assert await value(second, "peercron_http_requests_total", route="/v1/jobs") == 0
