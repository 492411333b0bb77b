"""Attempts that are HTTP calls: what is sent, what counts as success, and that they end like all others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from peercron.clock import SystemClock
from peercron.core.job import HttpTask
from peercron.core.limits import OUTPUT_TAIL_BYTES_MAX
from peercron.core.run import AttemptState
from peercron.execution import http_call
from peercron.execution.limits import HTTP_BODY_BYTES_MAX, HTTP_REDIRECTS_MAX
from peercron.execution.port import Until
from tests.execution.conftest import Witness, until

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A local server that answers with what `answer` gives and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, Handler] = {}
        self.url = ""
        self.hung_up = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        handler = self.answers.get(request.path)
        try:
            return await handler(request) if handler else web.Response(text=f"hello {request.path}")
        except asyncio.CancelledError:
            self.hung_up += 1
            raise

    def redirect(self, path: str, status: int, to: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": to})

        self.answers[path] = answer

    def reply(self, path: str, **given: Any) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(**given)

        self.answers[path] = answer

    def hang(self, path: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        self.answers[path] = answer


async def serve() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for made in serve():
        yield made


@pytest.fixture
async def elsewhere() -> AsyncIterator[Server]:
    async for made in serve():
        yield made


@pytest.fixture
async def node(tmp_path: Any) -> AsyncIterator[Witness]:
    """No guardian: none of these attempts is a command."""
    witness = Witness(tmp_path)
    witness.data_dir.mkdir()
    witness.supervisor.set_lease(math.inf, math.inf)
    yield witness
    await witness.supervisor.close(0)
    assert not witness.supervisor.running


def get(url: str, **given: Any) -> HttpTask:
    return HttpTask(method="GET", url=url, **given)


async def test_a_call_says_what_the_job_wants_and_which_run_it_is(node: Witness, server: Server) -> None:
    task = HttpTask("post", f"{server.url}/a?b=c", (("X-Own", "1"), ("Peercron-Run-Id", "forged")), b"\x00body")
    env = {"PEERCRON_RUN_ID": "uid/1", "PEERCRON_FENCING_TOKEN": "42", "TRACEPARENT": "00-a-b-01"}
    result = await node.run(task, env=env)
    assert (result.outcome, result.reason, result.exit_code) == (AttemptState.SUCCEEDED, "HTTP 200 OK", None)
    assert result.output_tail == "hello /a"
    [(method, path, headers, body)] = server.asked
    assert (method, path, body) == ("POST", "/a?b=c", b"\x00body")
    assert headers["X-Own"] == "1"
    assert headers["Peercron-Run-Id"] == "uid/1", "what peercron says of the run cannot be forged by its job"
    assert (headers["Peercron-Fencing-Token"], headers["traceparent"]) == ("42", "00-a-b-01")
    assert node.started[result.run_id, result.token] == result.started_ms


@pytest.mark.parametrize(
    ("status", "expected", "outcome"),
    [
        (204, (), AttemptState.SUCCEEDED),
        (404, (), AttemptState.FAILED),
        (500, (), AttemptState.FAILED),
        (404, (404, 410), AttemptState.SUCCEEDED),
        (200, (201,), AttemptState.FAILED),
        (302, (302,), AttemptState.SUCCEEDED),
        (304, (), AttemptState.FAILED),
    ],
)
async def test_the_status_decides(
    node: Witness, server: Server, status: int, expected: tuple[int, ...], outcome: AttemptState
) -> None:
    server.reply("/", status=status, headers={"Location": "/other"})
    result = await node.run(get(f"{server.url}/", expect_status=expected))
    assert result.outcome is outcome
    assert result.reason.startswith(f"HTTP {status} ")
    assert len(server.asked) == 1


async def test_a_huge_answer_is_read_so_far_and_no_further(node: Witness, server: Server) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    server.answers["/flood"] = flood
    result = await node.run(get(f"{server.url}/flood"))
    assert result.outcome is AttemptState.SUCCEEDED
    assert result.output_tail == "x" * OUTPUT_TAIL_BYTES_MAX
    assert HTTP_BODY_BYTES_MAX <= sent < 16 * HTTP_BODY_BYTES_MAX


async def test_redirects_are_followed_to_the_end(node: Witness, server: Server) -> None:
    server.redirect("/1", 302, "/2")
    server.redirect("/2", 307, f"{server.url}/3?x=y")
    result = await node.run(get(f"{server.url}/1"))
    assert (result.outcome, result.output_tail) == (AttemptState.SUCCEEDED, "hello /3")


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_a_redirected_post_is_what_its_status_says(
    node: Witness, server: Server, status: int, method: str
) -> None:
    server.redirect("/1", status, "/2")
    await node.run(HttpTask("POST", f"{server.url}/1", (("Content-Type", "text/x"),), b"body"))
    assert [asked[0] for asked in server.asked] == ["POST", method]
    assert server.asked[1][3] == (b"body" if method == "POST" else b"")


async def test_redirects_in_a_circle_end(node: Witness, server: Server) -> None:
    server.redirect("/1", 302, "/1")
    result = await node.run(get(f"{server.url}/1"))
    assert result.outcome is AttemptState.FAILED
    assert f"more than {HTTP_REDIRECTS_MAX} redirects" in result.reason
    assert len(server.asked) == HTTP_REDIRECTS_MAX + 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:x", "unix:/x"])
async def test_redirects_lead_to_no_other_scheme(node: Witness, server: Server, target: str) -> None:
    server.redirect("/1", 302, target)
    result = await node.run(get(f"{server.url}/1"))
    assert result.outcome is AttemptState.FAILED
    assert "is not followed" in result.reason


@pytest.mark.parametrize(
    ("first", "target", "followed"),
    [("http", "http", True), ("http", "https", True), ("https", "https", True), ("https", "http", False)],
)
def test_a_redirect_never_gives_up_encryption(first: str, target: str, followed: bool) -> None:
    urls = URL(f"{first}://a/"), URL(f"{target}://a/")
    if followed:
        http_call._check(*urls)
    else:
        with pytest.raises(ValueError, match="is not followed"):
            http_call._check(*urls)


async def test_private_headers_stay_with_the_first_host(node: Witness, server: Server, elsewhere: Server) -> None:
    server.redirect("/1", 307, "/2")
    server.redirect("/2", 307, f"{elsewhere.url}/3")
    headers = (("authorization", "secret"), ("Cookie", "secret"), ("X-Own", "1"))
    await node.run(get(f"{server.url}/1", headers=headers), env={"PEERCRON_TOKEN": "secret", "PEERCRON_JOB": "j"})
    assert all("secret" in asked[2].values() for asked in server.asked)
    [(_, _, seen, _)] = elsewhere.asked
    assert "secret" not in seen.values()
    assert (seen["X-Own"], seen["Peercron-Job"]) == ("1", "j")


async def test_cookies_are_not_carried_from_call_to_call(node: Witness, server: Server) -> None:
    server.reply("/", headers={"Set-Cookie": "a=b"})
    for _ in range(2):
        await node.run(get(f"{server.url}/"))
    assert "Cookie" not in server.asked[1][2]


async def test_a_call_without_an_answer_times_out(node: Witness, server: Server) -> None:
    server.hang("/")
    result = await node.run(get(f"{server.url}/"), timeout_ms=150)
    assert (result.outcome, result.reason) == (AttemptState.TIMED_OUT, "timed out after 0.15 s")
    await until(lambda: server.hung_up == 1)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1/", "the call failed: Cannot connect to host 127.0.0.1:1"),
        ("nonsense", "the call failed: nonsense"),
        ("http://[::1", "the call failed: "),
        ("ftp://127.0.0.1/", "the call failed: ftp://127.0.0.1/"),
    ],
)
async def test_what_cannot_be_called_fails_in_one_sentence(node: Witness, url: str, sentence: str) -> None:
    result = await node.run(get(url))
    assert result.outcome is AttemptState.FAILED
    assert result.reason.startswith(sentence)


async def test_a_header_that_breaks_the_line_is_refused(node: Witness, server: Server) -> None:
    result = await node.run(get(f"{server.url}/", headers=(("X-Own", "a\r\nX-More: b"),)))
    assert result.outcome is AttemptState.FAILED
    assert not server.asked


async def test_a_stop_cancels_a_call(node: Witness, server: Server) -> None:
    server.hang("/")
    key = node.launch(get(f"{server.url}/"))
    await until(lambda: server.asked)
    node.supervisor.stop(*key, "enough")
    result = await node.result(key)
    assert (result.outcome, result.reason) == (AttemptState.CANCELLED, "enough")
    await until(lambda: server.hung_up == 1)


async def test_a_stop_before_the_first_byte_is_told_too(node: Witness, server: Server) -> None:
    key = node.launch(get(f"{server.url}/"))
    node.supervisor.stop(*key, "enough")
    assert (await node.result(key)).outcome is AttemptState.CANCELLED
    assert not server.asked


async def test_the_lease_s_end_is_a_call_s_end(node: Witness, server: Server) -> None:
    server.hang("/")
    lost = node.launch(get(f"{server.url}/"))
    kept = node.launch(get(f"{server.url}/"), keep_on_disconnect=True)
    await until(lambda: len(server.asked) == 2)
    node.lease(0.4, 0.5)
    node.lease(0.2, 0.3)
    ends_at = SystemClock().monotonic() + 0.2
    result = await node.result(lost)
    assert ends_at - 0.05 <= SystemClock().monotonic() < ends_at + 0.3
    assert (result.outcome, result.reason) == (AttemptState.LOST, "the node's lease ended")
    assert list(node.supervisor.running) == [kept]
    result = await node.run(get(f"{server.url}/"))
    assert (result.outcome, result.started_ms) == (AttemptState.LOST, None)
    assert len(server.asked) == 2, "without a lease nothing is called"


async def test_a_call_that_has_its_own_time_needs_no_lease_and_ends_with_that_time(
    node: Witness, server: Server
) -> None:
    server.hang("/")
    node.lease(-1.0, -1.0)
    now_s = SystemClock().monotonic()
    key = node.launch(get(f"{server.url}/"), until=Until(now_s + 0.3, now_s + 0.4), timeout_ms=60_000)
    await until(lambda: server.asked)
    await node.supervisor.kill_all("the session was lost")
    result = await node.result(key)
    assert now_s + 0.3 <= SystemClock().monotonic() < now_s + 0.8
    assert (result.outcome, result.reason) == (AttemptState.TIMED_OUT, "its time was over")


async def test_a_lease_that_is_extended_ends_nothing(node: Witness, server: Server) -> None:
    server.hang("/")
    key = node.launch(get(f"{server.url}/"))
    for _ in range(8):
        node.lease(0.1, 0.2)
        await asyncio.sleep(0.03)
    assert list(node.supervisor.running) == [key]


async def test_kill_all_ends_calls(node: Witness, server: Server) -> None:
    server.hang("/")
    keys = [node.launch(get(f"{server.url}/")) for _ in range(3)]
    await until(lambda: len(server.asked) == 3)
    await node.supervisor.kill_all("the session was lost")
    assert [node.results[key].outcome for key in keys] == [AttemptState.LOST] * 3


async def test_a_defect_is_told_as_a_failure(node: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr("peercron.execution.http_calls.call", broken)
    result = await node.run(get("http://127.0.0.1:1/"))
    assert result.outcome is AttemptState.FAILED
    assert "a defect" in result.reason
