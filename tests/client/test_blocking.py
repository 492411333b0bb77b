"""The blocking connection: several addresses, and an honest word about what may have happened."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from peercron.client import Connection
from peercron.client.blocking import Upload
from peercron.client.replies import error_of
from peercron.clock import ManualClock
from peercron.errors import Busy, ConfigError, NoLeader, OutcomeUnknown, Refused, Unreachable

Reply = Callable[[BaseHTTPRequestHandler], None]
Stub = Callable[..., str]


def say(status: int, body: Any) -> Reply:
    """A node that always answers the same."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Peercron-Index", "7")
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """A node that dies while it works on the request."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def met(reply: Reply, level: int = 2) -> Reply:
    """A node that says how it is, and to everything else replies so."""

    def either(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/v1/status":
            handler.send_response(200)
            handler.send_header("Content-Length", "0")
            handler.send_header("Peercron-Index", "40")
            handler.send_header("Peercron-Level", str(level))
            handler.end_headers()
        else:
            reply(handler)

    return either


def problem(code: str, detail: str = "why", errors: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"code": code, "detail": detail, "errors": list(errors)}


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Starts servers that reply as told; answers their URL. Requests are kept in `seen`."""
    servers = []

    def start(reply: Reply, seen: list[Any] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = (self.command, self.path, dict(self.headers), self.rfile.read(length))
                seen.append(request) if seen is not None else None
                reply(self)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


NOBODY = "http://127.0.0.1:1"


def connection(*addresses: str, **more: Any) -> Connection:
    """A second passes in every pause, and none in between."""
    clock = ManualClock()
    return Connection(addresses, clock=clock, pause=lambda _: clock.advance(1), **more)


def test_an_answer(stub: Stub) -> None:
    seen: list[Any] = []
    url = stub(say(200, {"a": 1}), seen)
    answer = connection(url, token="t").request("POST", "/v1/x", {"b": 2}, params={"n": 1}, headers={"If-Match": "5"})
    assert (answer.status, answer.json, answer.headers["peercron-index"]) == (200, {"a": 1}, "7")
    ((method, path, headers, body),) = seen
    assert (method, path, body) == ("POST", "/v1/x?n=1", b'{"b": 2}')
    assert headers.items() >= {"Authorization": "Bearer t", "Content-Type": "application/json", "If-Match": "5"}.items()


def test_the_next_address_is_asked_when_one_is_down(stub: Stub) -> None:
    assert connection(NOBODY, stub(say(200, {}))).request("POST", "/v1/x").status == 200


def test_nobody_is_there() -> None:
    with pytest.raises(Unreachable, match=r"cannot reach 127\.0\.0\.1:1: Connection refused"):
        connection(NOBODY).request("GET", "/v1/x")


def test_the_next_is_asked_when_one_has_no_leader(stub: Stub) -> None:
    addresses = stub(say(503, problem("no_leader"))), stub(say(200, {}))
    assert connection(*addresses).request("PUT", "/v1/x", b"v").status == 200


def test_no_leader_is_waited_for_while_an_answer_can_still_come_in_time(stub: Stub) -> None:
    seen: list[Any] = []
    url = stub(say(503, problem("no_leader")), seen)
    with pytest.raises(NoLeader, match="why"):
        connection(url, timeout_s=3.05).request("PUT", "/v1/x", b"v")
    assert len(seen) == 3  # a fourth would be asked with less time left than a node takes to find that nobody leads


def test_a_leader_that_comes_is_found(stub: Stub) -> None:
    replies = [say(503, problem("no_leader")), say(429, problem("busy")), say(200, {})]

    def reply(handler: BaseHTTPRequestHandler) -> None:
        replies.pop(0)(handler)

    assert connection(stub(reply)).request("PUT", "/v1/x", b"v").status == 200


def test_what_does_not_speak_http_is_not_shown(stub: Stub) -> None:
    def greet(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"PCRN\x00\x1b[2J\r\n")

    with pytest.raises(Unreachable, match=r"it does not speak HTTP; .* \+ 1000$"):
        connection(stub(greet)).request("GET", "/v1/status")


def written(seen: list[Any]) -> list[dict[str, str]]:
    """The headers of what was more than a question how the node is."""
    return [headers for _, path, headers, _ in seen if path != "/v1/status"]


def test_a_write_that_is_known_again_goes_on_to_the_next_without_an_answer(stub: Stub) -> None:
    seen: list[Any] = []
    addresses = stub(met(hang_up), seen), stub(met(say(200, {})), seen)
    assert connection(*addresses).request("POST", "/v1/x", {}).status == 200
    first, second = written(seen)
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert "Idempotency-Since" not in first
    assert second["Idempotency-Since"] == "40"


def test_a_write_goes_to_no_node_that_hangs(stub: Stub) -> None:
    go_on, seen = threading.Event(), list[Any]()
    hung = stub(lambda handler: (go_on.wait(30), hang_up(handler))[1], seen)
    try:
        answer = Connection((hung, stub(met(say(200, {})))), timeout_s=0.6).request("PUT", "/v1/x", b"v")
    finally:
        go_on.set()
    assert answer.status == 200
    assert written(seen) == []


@pytest.mark.parametrize(
    ("level", "method", "path"),
    [(1, "POST", "/v1/x"), (2, "DELETE", "/v1/members/n1"), (2, "POST", "/v1/leader:transfer")],
)
def test_a_write_that_is_not_known_again_is_not_sent_again(stub: Stub, level: int, method: str, path: str) -> None:
    seen: list[Any] = []
    addresses = stub(met(hang_up, level), seen), stub(met(say(200, {}), level), seen)
    with pytest.raises(
        OutcomeUnknown, match="may have been done, and no other node was asked, as it might be done twice"
    ):
        connection(*addresses).request(method, path, {})
    assert len(written(seen)) == 1


def test_what_one_node_may_have_done_stays_unknown_when_the_others_have_no_leader(stub: Stub) -> None:
    addresses = stub(met(hang_up)), stub(met(say(503, problem("no_leader"))))
    with pytest.raises(OutcomeUnknown, match="may have been done"):
        connection(*addresses, timeout_s=3.05).request("POST", "/v1/x", {})


def test_a_read_without_an_answer_is_asked_of_the_next(stub: Stub) -> None:
    assert connection(stub(hang_up), stub(say(200, {}))).request("GET", "/v1/x").status == 200


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, problem("not_found"), Refused),
        (409, problem("conflict"), Refused),
        (422, problem("invalid", errors=({"path": "name", "message": "bad"},)), ConfigError),
        (504, problem("unknown_outcome"), OutcomeUnknown),
        (429, problem("busy"), Busy),
        (500, problem("internal"), Refused),
    ],
)
def test_each_code_is_its_error(status: int, body: dict[str, Any], kind: type[Exception]) -> None:
    error = error_of(status, json.dumps(body).encode(), "here")
    assert type(error) is kind
    assert "bad" in str(error) if body["errors"] else "why" in str(error)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"code": 1}'])
def test_somebody_else_on_that_port_is_named(stub: Stub, body: bytes) -> None:
    with pytest.raises(Unreachable, match="is not a peercron node: it answered 502"):
        connection(stub(say(502, body))).request("GET", "/v1/x")


def page(status: int) -> Reply:
    """What anybody may have at an address, and a node does not say."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "13")
        handler.end_headers()
        handler.wfile.write(b"<h1>hello</h1"[:13])

    return reply


@pytest.mark.parametrize("status", [200, 204, 301, 404])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_page_of_somebody_else_is_no_answer_and_no_node_has_done_anything(
    stub: Stub, status: int, method: str
) -> None:
    with pytest.raises(Unreachable, match=f"is not a peercron node: it answered {status}"):
        connection(stub(page(status))).request(method, "/v1/state/default/k")
    answer = connection(stub(page(status)), stub(met(say(200, {})))).request(method, "/v1/state/default/k")
    assert answer.json == {}


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_gateway_had_no_answer_to_may_have_been_done(stub: Stub, status: int) -> None:
    with pytest.raises(OutcomeUnknown, match=f"it answered {status}"):
        connection(stub(page(status))).request("POST", "/v1/x")


def test_an_answer_that_breaks_off_is_none(stub: Stub) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.send_header("Peercron-Index", "7")
        handler.end_headers()
        handler.wfile.write(b"{")

    with pytest.raises(OutcomeUnknown, match="its answer broke off"):
        connection(stub(half)).request("POST", "/v1/x")


def test_what_takes_its_time_is_not_asked_of_a_node_that_hangs(stub: Stub) -> None:
    """It would have all that time before the next is asked."""
    begun: list[str] = []

    def hang(handler: BaseHTTPRequestHandler) -> None:
        begun.append(handler.path)
        ended.wait(10)
        hang_up(handler)

    ended = threading.Event()
    hangs, well = stub(hang), stub(met(say(200, {"verdict": "fine"})))
    answer = connection(hangs, well, timeout_s=0.4).request("GET", "/v1/doctor", answer_s=30)
    ended.set()
    assert (answer.json, begun) == ({"verdict": "fine"}, ["/v1/status"])


@pytest.mark.parametrize("address", ["", "127.0.0.1:8400", "ftp://x", "http://", "http://x:y"])
def test_addresses_are_urls(address: str) -> None:
    with pytest.raises(ConfigError, match="--addr"):
        connection(address).request("GET", "/v1/x")


def test_a_path_in_front_is_kept(stub: Stub) -> None:
    seen: list[Any] = []
    connection(stub(say(200, {}), seen) + "/cron/").request("GET", "/v1/x")
    assert seen[0][1] == "/cron/v1/x"


def test_a_stream_comes_in_pieces(stub: Stub) -> None:
    assert b"".join(connection(NOBODY, stub(say(200, b"one\ntwo\n"))).stream("/log")) == b"one\ntwo\n"
    with pytest.raises(Refused, match="why"):
        connection(stub(say(404, problem("not_found")))).stream("/log")


def test_who_has_no_leader_says_more_than_who_cannot_be_reached(stub: Stub) -> None:
    with pytest.raises(NoLeader, match="why"):
        connection(stub(say(503, problem("no_leader"))), NOBODY, timeout_s=1.55).request("PUT", "/v1/x", b"v")


def test_so_does_one_that_cannot_take_an_upload(stub: Stub) -> None:
    body = Upload(lambda: iter((b"x",)), 1)
    with pytest.raises(NoLeader, match="why"):
        connection(stub(say(503, problem("no_leader"))), NOBODY).upload(
            "/v1/x", body, params=None, answer_s=5, again=True
        )


def after(pause_s: float, reply: Reply) -> Reply:
    """A node that needs its time to say so, as one does that looks for a leader."""

    def late(handler: BaseHTTPRequestHandler) -> None:
        threading.Event().wait(pause_s)
        with suppress(OSError):
            reply(handler)

    return late


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_one_without_a_leader_among_the_dead_has_the_time_to_say_so(stub: Stub, method: str) -> None:
    """Between dead ones it had a part of what was left, and then of that, until it could not answer any more: a read
    told of a dead one, and a write that it may have been done.
    """
    url = stub(met(after(0.5, say(503, problem("no_leader")))))
    dead = [f"http://127.0.0.1:{port}" for port in range(1, 5)]
    with pytest.raises(NoLeader, match="why"):
        Connection((url, *dead), timeout_s=2.2).request(method, "/v1/x")


def test_the_best_answer_of_all_rounds_is_told(stub: Stub) -> None:
    replies = [say(503, problem("no_leader")), hang_up]

    def reply(handler: BaseHTTPRequestHandler) -> None:
        replies.pop(0)(handler)

    url = stub(reply)
    with pytest.raises(NoLeader, match="why"):
        connection(url, NOBODY, timeout_s=3.05).request("GET", "/v1/x")
    assert replies == []


def test_what_does_no_harm_twice_is_asked_of_the_next_when_the_first_hangs_up(stub: Stub) -> None:
    addresses = stub(hang_up), stub(say(200, {}))
    assert connection(*addresses).request("POST", "/v1/x", again=True).status == 200


def test_a_node_that_hangs_leaves_time_for_the_next_where_that_may_be_asked(stub: Stub) -> None:
    go_on = threading.Event()
    hung = stub(lambda handler: (go_on.wait(30), hang_up(handler))[1])
    try:
        answer = Connection((hung, stub(say(200, {}))), timeout_s=0.4).request("POST", "/v1/x", again=True)
    finally:
        go_on.set()
    assert answer.status == 200
