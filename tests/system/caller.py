"""HTTP as a client of one node speaks it, from the node's own host, over one connection that is kept."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.system.netns import inside

Json = Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0: nothing; `sent` says whether the node may have got the request."""

    status: int
    body: Json = None
    etag: int | None = None
    sent: bool = True

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        """The word for what went wrong, if the node said one."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, timeout: float, namespace: str) -> None:
        super().__init__(host, port, timeout=timeout)
        self._namespace = namespace

    def connect(self) -> None:
        with inside(self._namespace) if self._namespace else contextlib.nullcontext():
            super().connect()


class Caller:
    """A connection to host:port that is kept between requests; with a namespace, from that host of a Network."""

    def __init__(self, host: str, port: int, timeout: float, namespace: str = "") -> None:
        self._connection = _Connection(host, port, timeout, namespace)

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Never raises for what the network or the node does. Bytes go as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        connection = self._connection
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            connection.close()
            return Answer(0, sent=False)
        try:
            connection.request(method, path, raw or None, {"Content-Type": kind, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return Answer(0)
        return Answer(answer.status, decoded(content), _number(answer.getheader("ETag")))


def decoded(content: bytes) -> Json:
    """JSON where it is JSON, else the bytes."""
    try:
        return json.loads(content)
    except ValueError:
        return content


def _number(etag: str | None) -> int | None:
    return int(etag.strip('"')) if etag else None
