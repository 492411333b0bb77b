"""http1: the least HTTP/1.1 client that measures a server and not itself: one connection, one request at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Connection(asyncio.Protocol):
    """A keep-alive connection. `await connection.call(request(...))` answers (status, body)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, address: tuple[str, int], timeout: float = 2.0) -> Connection:
        """Raises OSError where nobody listens, TimeoutError where nobody answers."""
        async with asyncio.timeout(timeout):
            _, connection = await asyncio.get_running_loop().create_connection(cls, *address)
        return connection

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    async def call(self, raw: bytes) -> tuple[int, bytes]:
        """Send one request and wait for its answer, for ever. Raises ConnectionError when the connection breaks."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed")
        assert self._answer is None, "one request at a time"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        try:
            return await self._answer
        finally:
            self._answer = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the connection broke"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = parse(self._buffer)
        if answer is None or self._answer is None:
            return
        self._buffer.clear()
        if not self._answer.done():
            self._answer.set_result(answer)


def parse(buffer: bytes | bytearray) -> tuple[int, bytes] | None:
    r"""Status and body of the answer in `buffer`, or None while it is not all there.

    >>> parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    (200, b'ok')
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, body = bytes(buffer[:end]).lower(), bytes(buffer[end + 4 :])
    status = int(head[9:12])
    _, found, rest = head.partition(b"content-length:")
    if found:
        length = int(rest.split(b"\r\n", 1)[0])
        return (status, body[:length]) if len(body) >= length else None
    if b"transfer-encoding: chunked" in head:
        return (status, unchunk(body)) if body.endswith(b"0\r\n\r\n") else None
    return status, b""


def unchunk(body: bytes) -> bytes:
    r"""The body without its chunks' lengths.

    >>> unchunk(b"2\r\nok\r\n0\r\n\r\n")
    b'ok'
    """
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :] if length else b""
    return b"".join(parts)


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """The bytes of a request, made once and sent often."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(
    address: tuple[str, int], method: str, path: str, payload: object = None, timeout: float = 5.0
) -> tuple[int, Any]:
    """One request on a connection of its own: status and decoded JSON (None where the body is none).

    Raises OSError or TimeoutError where there is no answer.
    """
    async with asyncio.timeout(timeout):
        connection = await Connection.open(address)
        try:
            body = b"" if payload is None else json.dumps(payload).encode()
            status, answer = await connection.call(request(method, path, body))
        finally:
            connection.close()
    try:
        return status, json.loads(answer)
    except ValueError:
        return status, None
