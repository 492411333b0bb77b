"""What goes wrong is told in one form, whatever it is."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from peercron.core.commands import Command, Once
from peercron.core.verdict import Done
from peercron.errors import Busy, NoLeader, OutcomeUnknown, PeercronError, Refused
from peercron.http.malformed import SERVER_LOG
from tests.http.conftest import Site, StartSite

JOB = {"name": "hello", "every": "1s", "shell": "true"}


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("PUT", "/v1/state/default/", "takes GET,HEAD, not PUT: a name in it is empty"),
        ("POST", "/v1/state/default/:incr", "not POST: a name in it is empty"),
        ("GET", "/v1/jobs/", "there is nothing at /v1/jobs/: a name in it is empty"),
        ("POST", "/v1/queues//mail/items", "there is nothing at /v1/queues//mail/items: a name in it is empty"),
        ("GET", "/v1/job", "there is nothing at /v1/job; /openapi.json lists what there is"),
        ("DELETE", "/v1/status", "/v1/status takes GET,HEAD, not DELETE"),
    ],
)
async def test_where_nothing_is_it_is_said_what_there_would_be(site: Site, method: str, path: str, told: str) -> None:
    assert (await site.ask(method, path)).json["detail"].endswith(told)


@pytest.mark.parametrize(
    ("error", "status", "code", "retryable"),
    [
        (NoLeader(), 503, "no_leader", True),
        (Busy(), 429, "busy", True),
        (OutcomeUnknown(), 504, "unknown_outcome", False),
        (Refused("invalid", "name: x"), 422, "invalid", False),
        (Refused("limit", "too many"), 409, "limit", False),
        (Refused("stale_session", "expired"), 503, "stale_session", True),
        (Refused("internal", "KeyError"), 500, "internal", False),
        (PeercronError("odd"), 500, "error", False),
    ],
)
async def test_each_error_has_its_answer(
    site: Site, error: PeercronError, status: int, code: str, retryable: bool
) -> None:
    site.node.fails = error
    answer = await site.ask("POST", "/v1/jobs", JOB)
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (status, code, retryable)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["detail"] == str(error)
    assert answer.json["status"] == status
    assert (answer.headers.get("Retry-After") == "1") is retryable


async def test_no_leader_no_fresh_read_but_a_stale_one(site: Site) -> None:
    site.node.has_leader = False
    answer = await site.get("/v1/jobs")
    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "no_leader", "1")
    assert answer.headers["Peercron-Leader"] == ""
    assert (await site.get("/v1/jobs?consistency=stale")).status == 200
    assert (await site.get("/v1/status")).status == 200


async def test_every_answer_says_where_it_is_from(site: Site) -> None:
    for path in ("/v1/jobs", "/v1/nothing", "/livez", "/v1/jobs/none"):
        answer = await site.get(path)
        assert answer.headers["Peercron-Index"] == str(site.node.state.index)
        assert answer.headers["Peercron-Term"] == "7"
        assert answer.headers["Peercron-Leader"] == "n1"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_unknown_paths_and_methods(site: Site) -> None:
    assert (await site.get("/v1/nothing")).json["code"] == "not_found"
    wrong = await site.ask("DELETE", "/v1/jobs")
    assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["Allow"]


async def test_a_crashed_handler_is_an_answer_and_a_line_in_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash() -> dict[str, object]:
        raise ZeroDivisionError

    monkeypatch.setattr(site.node, "status", crash)
    with caplog.at_level(logging.ERROR):
        answer = await site.get("/v1/status")
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert "ZeroDivisionError" in caplog.text
    assert (await site.get("/livez")).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": 1} x', b"[" * 100_000])
async def test_what_is_not_json(site: Site, body: bytes) -> None:
    answer = await site.ask("POST", "/v1/jobs", body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, "body")


async def test_a_form_is_not_json(site: Site) -> None:
    answer = await site.ask("POST", "/v1/jobs", b'{"name": "x"}', headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.json["code"]) == (415, "media_type")


async def test_a_body_has_a_limit(site: Site) -> None:
    async with site.session.put(f"{site.url}/v1/state/default/k", data=io.BytesIO(b"x" * (1024 * 1024 + 1))) as answer:
        body = await answer.json(content_type=None)
    assert (answer.status, body["code"]) == (413, "too_large")


async def test_a_page_of_another_site_cannot_write(site: Site) -> None:
    answer = await site.ask("POST", "/v1/jobs/hello:run", headers={"Origin": "http://evil.example"})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert (await site.ask("POST", "/v1/jobs/x:run", headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    own = await site.ask("POST", "/v1/jobs", JOB, headers={"Origin": site.url})
    assert own.status == 201


async def test_a_name_that_was_bound_anew_reads_nothing(site: Site) -> None:
    answer = await site.get("/v1/jobs", headers={"Host": "evil.example:80"})
    assert (answer.status, answer.json["code"]) == (421, "misdirected")
    assert (await site.get("/v1/jobs", headers={"Host": "localhost:80"})).status == 200


async def test_a_node_too_far_behind_does_not_deny_what_was_committed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def committed(command: Command, timeout_s: float, once: Once | None = None) -> Done:
        return Done(site.node.state.index + 100, 1)

    async def time_is_up(index: int, timeout_s: float) -> None:
        """Nothing was applied."""

    monkeypatch.setattr(site.node, "propose", committed)
    monkeypatch.setattr(site.node, "wait_changed", time_is_up)
    answer = await site.ask("POST", "/v1/jobs", JOB)
    assert (answer.status, answer.json["code"]) == (504, "unknown_outcome")
    assert "committed as index" in answer.json["detail"]


async def test_garbage_on_the_socket_takes_nothing_down(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    for garbage in (b"\x00" * 1_000, b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/jobs HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        await writer.drain()
        writer.write_eof()
        assert (await reader.read()).startswith((b"HTTP/1.1 400", b""))
        writer.close()
        await writer.wait_closed()
    assert (await site.get("/livez")).status == 200


async def test_a_port_in_use_is_named(start_site: StartSite) -> None:
    first = await start_site()
    with pytest.raises(PeercronError, match="cannot listen on"):
        await start_site("n2", http=first.url.removeprefix("http://"))


@pytest.mark.parametrize("value", ["x" * 100_000, list(range(10_000))])
async def test_a_wrong_value_is_told_by_its_beginning(site: Site, value: object) -> None:
    body = {"owner": [value], "ttl": value, "permits": value, "kind": value, "shared": value}
    answer = await site.ask("POST", "/v1/locks/default/l:acquire", body)
    assert {error["path"] for error in answer.json["errors"]} == set(body)
    assert len(answer.text) < 3_000


@pytest.mark.parametrize(
    "line", [b"GET /v1/jobs/\xc3\xa9 HTTP/1.1", b"GET /v1/\xff HTTP/1.1", b"G\xc3T / HTTP/1.1", b"\x16\x03\x01\x02"]
)
async def test_what_is_no_http_is_answered_and_leaves_no_traceback(
    site: Site, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(line + b"\r\nHost: localhost\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.DEBUG]


async def test_a_body_that_cannot_be_read_is_its_senders_fault(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    answer = await site.ask("PUT", "/v1/state/default/k", b"no gzip", headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["errors"][0]["path"]) == (400, "body")
    assert answer.json["detail"] == "body: cannot be read: Can not decode content-encoding: gzip"
    host, port = site.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PUT /v1/state/default/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await site.get("/livez")).status == 200
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.DEBUG]


async def test_a_name_that_is_too_long_is_told_as_every_error_is(site: Site) -> None:
    answer = await site.ask("PUT", f"/v1/state/default/{'k' * 20_000}", b"v")
    assert (answer.status, answer.json["code"]) == (422, "invalid")


def test_what_else_goes_wrong_in_the_server_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    SERVER_LOG.error("Error handling request", exc_info=ZeroDivisionError("a defect"))
    SERVER_LOG.error("a sentence without one")
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]
