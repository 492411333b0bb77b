"""What is not understood is told so, and not passed over. Requests made up from the description found most of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.conftest import Site

LONG = "999999999999999w"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where"),
    [
        ("POST", "/v1/clients", {"ttl": LONG}, 422, "ttl"),
        ("POST", "/v1/queues/default/q:nack", {"token": 1, "delay": LONG}, 422, "delay"),
        ("POST", "/v1/jobs/a:backfill", {"from": "2026-01-01T00:00:00Z", "to": "x", "dry_run": 1}, 422, "dry_run"),
        ("GET", f"/v1/jobs?wait={LONG}", None, 400, "query.wait"),
        ("GET", "/v1/status?consistency=weak", None, 400, "query.consistency"),
        ("GET", "/livez?verbose=much", None, 400, "query.verbose"),
        ("GET", f"/v1/jobs?index={10**15 + 1}", None, 400, "query.index"),
        ("GET", "/v1/events?follow=0&from=1&last=all", None, 400, "query.last"),
        ("GET", "/v1/state/default/?from=1", None, 400, "query.from"),
    ],
)
async def test_it_is_named(site: Site, method: str, path: str, body: Any, status: int, where: str) -> None:
    answer = await site.ask(method, path, body)
    assert (answer.status, answer.json["errors"][0]["path"]) == (status, where)


async def test_the_largest_index_is_one(site: Site) -> None:
    assert (await site.get(f"/v1/jobs?index={10**15}&wait=0s")).status == 200


@pytest.mark.parametrize(
    ("header", "path"),
    [("Idempotency-Since", "/v1/cluster:pause"), ("Idempotency-Key", "/v1/cluster:pause"), ("Last-Event-ID", "")],
)
async def test_a_header_is_read_also_where_nothing_comes_of_it(site: Site, header: str, path: str) -> None:
    junk = {header: "" if header == "Idempotency-Key" else "1.x"}
    answer = await (site.ask("POST", path, headers=junk) if path else site.get("/v1/state/default/", headers=junk))
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, f"header.{header}")
    assert not site.node.state.paused


@pytest.mark.parametrize(("name", "text"), [("If-Match", "x"), ("If-None-Match", '"42"')])
async def test_a_condition_that_is_none_protects_nobody(site: Site, name: str, text: str) -> None:
    headers = {"If-None-Match": "*", name: text}
    answer = await site.ask("PUT", "/v1/state/default/k", b"1", headers=headers)
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, f"header.{name}")


async def test_a_whole_number_may_have_a_point(site: Site) -> None:
    await site.ask("POST", "/v1/queues/default/q/items", {"payload": 1, "priority": 2.0})
    token = (await site.ask("POST", "/v1/queues/default/q:receive", {"max": 1.0})).json["token"]
    acked = await site.ask("POST", "/v1/queues/default/q:ack", {"token": float(token)})
    assert (acked.status, acked.json["left"]) == (200, 0)
    assert (await site.ask("POST", "/v1/state/default/n:incr", {"by": 3.0})).json["value"] == 3
    assert (await site.ask("PUT", "/v1/pools/db", {"size": 2.0})).json["size"] == 2
    assert (await site.ask("POST", "/v1/state/default/n:incr", {"by": 3.5})).status == 422


async def test_a_delivery_is_not_extended_by_the_token_of_something_else(site: Site) -> None:
    client = (await site.ask("POST", "/v1/clients", {})).json["client"]
    answer = await site.ask("POST", "/v1/queues/default/q:extend", {"token": client})
    assert (answer.status, answer.json["code"], site.node.renewed) == (409, "stale_token", [])


async def test_no_client_is_no_client_in_whichever_words(site: Site) -> None:
    answer = await site.ask("POST", "/v1/locks/default/l:acquire", {"owner": "a", "client": 0, "run": None})
    assert (answer.status, answer.json["expires_in"]) == (200, 30.0)


@pytest.mark.parametrize(
    "path", ["/v1/jobs/a:run", "/v1/members/n1:drain", "/v1/queues/default/q:ack", "/v1/locks/default/l:renew"]
)
async def test_a_deed_is_no_name(site: Site, path: str) -> None:
    answer = await site.ask("PUT", path, {"shell": "true"})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_who_does_not_say_who_it_is_may_say_so(site: Site) -> None:
    await site.put_job()
    run = await site.run_job()
    body = {"token": run["attempts"][0]["token"], "data": 1}
    answer = await site.ask("POST", f"/v1/runs/{run['id']}:checkpoint", body)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/state/-x/"), ("POST", "/v1/queues/default/%20:receive"), ("GET", "/v1/queues/.a/b")],
)
async def test_nothing_can_be_of_that_name(site: Site, method: str, path: str) -> None:
    assert (await site.ask(method, path)).status == 422


async def test_params_are_judged_also_where_nobody_waits_for_the_event(site: Site) -> None:
    answer = await site.ask("POST", "/v1/events/restocked", {"params": {"no name": 1}})
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "params")
