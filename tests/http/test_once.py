"""Idempotency-Key: a request that comes twice is carried out once, whichever node it comes to."""

from __future__ import annotations

import asyncio

import pytest

from peercron.core.apply import once
from tests.http.conftest import Site, StartSite

KEY = {"Idempotency-Key": "abc"}
COUNTER = "/v1/state/default/n:incr"


async def test_a_retry_is_answered_and_not_carried_out_again(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    told = await first.ask("POST", COUNTER, {"by": 5}, headers=KEY)
    again = await second.ask("POST", COUNTER, {"by": 5}, headers=KEY)
    assert again.json == told.json
    assert told.json["value"] == 5
    assert (again.status, again.headers["ETag"]) == (told.status, told.headers["ETag"])
    assert (await first.get("/v1/state/default/n")).json == 5


async def test_a_retry_with_a_precondition_does_not_meet_its_own_write(site: Site) -> None:
    headers = KEY | {"If-None-Match": "*"}
    told = [await site.ask("PUT", "/v1/state/default/k", b"x", headers=headers) for _ in range(2)]
    assert [answer.status for answer in told] == [200, 200]
    assert (await site.ask("PUT", "/v1/state/default/k", b"x", headers={"If-None-Match": "*"})).status == 412


async def test_a_run_is_started_once(site: Site) -> None:
    await site.put_job()
    ids = {(await site.ask("POST", "/v1/jobs/hello:run", headers=KEY)).json["id"] for _ in range(3)}
    assert len(ids) == 1


async def test_all_that_makes_something_new_makes_it_once(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    for path, body in (
        ("/v1/queues/default/mail/items", {"payload": 1}),
        ("/v1/queues/default/mail:receive", {"max": 1}),
        ("/v1/clients", {"label": "batch/1"}),
        ("/v1/events/restocked", {}),
    ):
        headers = {"Idempotency-Key": path[-20:]}
        told = [await site.ask("POST", path, body, headers=headers) for site in (first, second)]
        index = first.node.state.index
        assert told[0].status < 300
        assert told[0].json == told[1].json, path
        assert (await second.ask("POST", path, body, headers=headers)).json == told[0].json
        assert first.node.state.index == index


async def test_a_lock_that_is_given_back_twice_was_given_back(start_site: StartSite) -> None:
    first, second = await start_site(), await start_site("n2")
    token = (await first.ask("POST", "/v1/locks/default/l:acquire", {"owner": "A"})).json["token"]
    told = [
        await site.ask("POST", "/v1/locks/default/l:release", {"token": token}, headers=KEY) for site in (first, second)
    ]
    assert [answer.status for answer in told] == [200, 200]
    assert (await first.ask("POST", "/v1/locks/default/l:release", {"token": token})).json["code"] == "stale_token"


async def test_a_refusal_is_an_answer_too(site: Site) -> None:
    assert (await site.ask("POST", "/v1/jobs/hello:run", headers=KEY)).status == 404
    await site.put_job()
    assert (await site.ask("POST", "/v1/jobs/hello:run", headers=KEY)).status == 404
    assert (await site.ask("POST", "/v1/jobs/hello:run", headers={"Idempotency-Key": "abd"})).status == 202


@pytest.mark.parametrize(("path", "body"), [(COUNTER, {"by": 6}), ("/v1/state/default/m:incr", {"by": 5})])
async def test_a_key_belongs_to_one_request(site: Site, path: str, body: object) -> None:
    await site.ask("POST", COUNTER, {"by": 5}, headers=KEY)
    answer = await site.ask("POST", path, body, headers=KEY)
    assert (answer.status, answer.json["code"]) == (422, "invalid")
    assert "another request" in answer.json["detail"]


@pytest.mark.parametrize("key", ["", "x" * 121])
async def test_a_key_has_a_length(site: Site, key: str) -> None:
    answer = await site.ask("POST", COUNTER, {}, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, "header.Idempotency-Key")


async def test_what_may_have_been_done_and_is_forgotten_is_not_done_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "ANSWERS_KEPT", 1)
    before = (await site.get("/v1/state/default/")).headers["Peercron-Index"]
    for key in ("abc", "abd"):
        assert (await site.ask("POST", COUNTER, {"by": 5}, headers={"Idempotency-Key": key})).status == 200
    retry = await site.ask("POST", COUNTER, {"by": 5}, headers=KEY | {"Idempotency-Since": before})
    assert (retry.status, retry.json["code"]) == (504, "unknown_outcome")
    assert (await site.get("/v1/state/default/n")).json == 10
    wrong = await site.ask("POST", COUNTER, {}, headers=KEY | {"Idempotency-Since": "x"})
    assert (wrong.status, wrong.json["errors"][0]["path"]) == (400, "header.Idempotency-Since")


@pytest.mark.parametrize("path", [COUNTER, "/v1/locks/default/l:acquire"])
async def test_a_key_that_is_no_text_is_refused_by_name(site: Site, path: str) -> None:
    host = site.url.removeprefix("http://")
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    body = b'{"owner": "me"}' if "locks" in path else b"{}"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Content-Length: %d\r\nIdempotency-Key: a\xff\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"header.Idempotency-Key: must be UTF-8" in answer
