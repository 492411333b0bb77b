"""What the examples promise: a token that is smaller than one that was there is refused, and nothing is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from peercron.errors import LeaseLost
from peercron.examples.file import replace
from peercron.examples.service import HEADER, FencedHandler, Fences, holds


def test_a_file_takes_the_newest_holder_s_writes_alone(tmp_path: Path) -> None:
    path = tmp_path / "today.html"
    replace(path, b"one", 9)
    replace(path, b"two", 10)
    replace(path, b"three", 10)
    with pytest.raises(LeaseLost, match=r"stale fencing token 9 .* 10 was there"):
        replace(path, b"late", 9)
    assert path.read_bytes() == b"three"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["today.html", "today.html.fence"]


@pytest.fixture
def port() -> Iterator[int]:
    handler = type("Handler", (FencedHandler,), {"fences": Fences(), "taken": [], "log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_service_takes_the_newest_holder_s_writes_alone(port: int) -> None:
    told = []
    for token in (7, 9, 9, 7, 10):
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", b"x", {HEADER: str(token)})
        told.append(connection.getresponse().status)
        connection.close()
    assert told == [204, 204, 204, 409, 204]


def test_a_service_that_keeps_nothing_asks_the_cluster() -> None:
    asked = []

    class Node(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"stale": self.path.endswith("=7")}).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert [holds(url, "reports/db", token) for token in (7, 9)] == [False, True]
        server.shutdown()
    assert asked == ["/v1/fence/reports/db?token=7", "/v1/fence/reports/db?token=9"]
