"""tcp_exchange: one TCP exchange as a task: connect, send, and read until what is expected has come."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from peercron.core.job import TcpTask
from peercron.execution.limits import HTTP_CONNECT_S_MAX, TCP_ANSWER_BYTES_MAX, TCP_ANSWER_S_MAX
from peercron.execution.output import text_tail


class Exchange(NamedTuple):
    """What came of it: whether it is what was wanted, one sentence, and what was read."""

    good: bool
    reason: str
    tail: str


async def exchange(task: TcpTask) -> Exchange:
    """Make the exchange. Without `expect` a connection that takes all of `send` is a success.

    Raises OSError: there was no connection, or it broke. Whoever calls sets the time-out of the whole.
    """
    try:
        async with asyncio.timeout(HTTP_CONNECT_S_MAX):
            reader, writer = await asyncio.open_connection(task.host, task.port)
    except TimeoutError:
        return Exchange(False, f"no connection within {HTTP_CONNECT_S_MAX:g} s", "")
    try:
        writer.write(task.send)
        await writer.drain()
        if not task.expect:
            return Exchange(True, "", "")
        return await _answer(reader, task.expect)
    finally:
        writer.transport.abort()  # what is still under way is nobody's concern any more


async def _answer(reader: asyncio.StreamReader, expect: bytes) -> Exchange:
    """Read until it has come, the other side ends, or more has come than anybody expects."""
    read = b""
    try:
        async with asyncio.timeout(TCP_ANSWER_S_MAX):
            while expect not in read and len(read) < TCP_ANSWER_BYTES_MAX and (piece := await reader.read(4_096)):
                read += piece
    except TimeoutError:
        return Exchange(False, f"what was expected did not come within {TCP_ANSWER_S_MAX:g} s", text_tail(read))
    if expect in read:
        return Exchange(True, "", text_tail(read))
    return Exchange(False, f"the answer of {len(read)} bytes does not hold what was expected", text_tail(read))
