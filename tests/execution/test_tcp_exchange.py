"""TCP exchanges against real servers on loopback: what is sent, what is waited for, and how each ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from peercron.clock import SystemClock
from peercron.core.job import TcpTask
from peercron.core.run import AttemptState
from peercron.execution import tcp_exchange
from peercron.execution.http_calls import HttpCalls
from peercron.execution.port import AttemptResult, AttemptSpec
from peercron.execution.tcp_exchange import exchange

Serve = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers = []

    async def start(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> int:
        async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handle(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(closing, "127.0.0.1", 0)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """In two pieces, so that what is expected comes across them."""
    said = await reader.readexactly(4)
    writer.write(b"you said " + said[:2])
    await writer.drain()
    writer.write(said[2:])
    await writer.drain()
    await reader.read()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\n")
    await writer.drain()


async def test_what_is_expected_comes(serve: Serve) -> None:
    port = await serve(echo)
    assert await exchange(TcpTask("127.0.0.1", port, b"PING", b"PING")) == (True, "", "you said PING")


async def test_an_open_port_is_enough_where_nothing_is_expected(serve: Serve) -> None:
    port = await serve(greet)
    assert (await exchange(TcpTask("127.0.0.1", port))).good


async def test_an_answer_that_is_another(serve: Serve) -> None:
    port = await serve(greet)
    found = await exchange(TcpTask("127.0.0.1", port, expect=b"250 "))
    assert found == (False, "the answer of 10 bytes does not hold what was expected", "220 ready\n")


async def test_an_answer_without_end_is_cut(serve: Serve) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * 10_000)
            await writer.drain()

    port = await serve(flood)
    found = await exchange(TcpTask("127.0.0.1", port, expect=b"y"))
    assert not found.good
    assert len(found.tail) <= 2_048


async def test_who_says_nothing_is_not_waited_for_for_ever(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_exchange, "TCP_ANSWER_S_MAX", 0.05)
    silent = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    port = await serve(wait)
    found = await exchange(TcpTask("127.0.0.1", port, expect=b"y"))
    silent.set()
    assert found == (False, "what was expected did not come within 0.05 s", "")


async def attempt(task: TcpTask, timeout_ms: int = 0) -> AttemptResult:
    """The whole way, as an attempt under a lease."""
    ended: asyncio.Future[AttemptResult] = asyncio.get_running_loop().create_future()
    calls = HttpCalls(SystemClock(), lambda *_: None, ended.set_result)
    calls.set_lease(float("inf"))
    spec: dict[str, Any] = {"run_id": "1/1", "token": 1, "attempt": 1, "job_key": "default/x", "slot_ms": 1}
    calls.launch(AttemptSpec(**spec, task=task, timeout_ms=timeout_ms, kill_grace_ms=0, env={}), task)
    result = await asyncio.wait_for(ended, 10)
    await calls.close()
    return result


async def test_an_attempt_that_succeeds(serve: Serve) -> None:
    result = await attempt(TcpTask("127.0.0.1", await serve(echo), b"PING", b"PING"))
    assert (result.outcome, result.output_tail) == (AttemptState.SUCCEEDED, "you said PING")


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    result = await attempt(TcpTask("127.0.0.1", port))
    assert result.outcome is AttemptState.FAILED
    assert result.reason.startswith("the call failed: ")


async def test_a_time_out_of_the_job_counts(serve: Serve) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    result = await attempt(TcpTask("127.0.0.1", await serve(wait), expect=b"x"), timeout_ms=50)
    assert (result.outcome, result.reason) == (AttemptState.TIMED_OUT, "timed out after 0.05 s")
