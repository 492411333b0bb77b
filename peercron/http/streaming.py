"""Streaming: an answer that goes on with what comes, for as long as somebody reads it, and says that it lives."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from aiohttp import web

from peercron.core.state import Resource
from peercron.errors import Compacted, NoLeader, PeercronError
from peercron.http.asking import node_of
from peercron.http.auth import check

#: What comes within this time goes out together: one write for each reader, and not one for each of them and each news.
COALESCE_S = 0.05
#: A stream with nothing to tell says so, and how far it has come, so that its reader knows that it lives.
HEARTBEAT_S = 5.0
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


class Source(Protocol):
    """What one reader is told. It knows how far that has come."""

    @property
    def resource(self) -> Resource:
        """Whatever comes is a change of this."""
        ...

    def take(self) -> bytes:
        """What has come since it was last asked, as it is told, a batch at most; empty: nothing. Raises Compacted."""
        ...

    def place(self) -> bytes:
        """How far it has come, as it is told."""
        ...


async def stream(request: web.Request, source: Source, kind: str, *, follow: bool = True) -> web.StreamResponse:
    """All that the source tells, as `kind` (NDJSON or SSE); unless it is to `follow`, only what there is.

    What cannot be had is refused before the answer begins; what cannot be had any more ends it, with the reason.
    """
    first = source.place() + source.take()
    answer = web.StreamResponse()
    answer.content_type = kind
    await answer.prepare(request)
    if request.method == "HEAD":
        return answer
    try:
        await answer.write(first)
        await _go_on(request, answer, source, follow=follow)
    except PeercronError as error:
        with suppress(ConnectionError):
            await answer.write(_farewell(error, as_events=kind == SSE))
    except ConnectionError:
        pass  # nobody reads any more
    return answer


async def _go_on(request: web.Request, answer: web.StreamResponse, source: Source, *, follow: bool) -> None:
    """A reader that does not read stops here, with one batch in its hands; what it misses meanwhile it is told."""
    node, woken = node_of(request), False
    while True:
        check(request)
        told = source.take()
        if told:
            await answer.write(told)
        elif not follow:
            await answer.write(source.place())
            return
        if told or woken:
            await asyncio.sleep(COALESCE_S if follow else 0)
            woken = False
            continue
        woken = await node.wait_for(source.resource, HEARTBEAT_S)
        if not woken:
            if node.leader() is None:
                raise NoLeader("this node hears of no leader, and so of nothing new: ask another one")
            await answer.write(source.place())


def _farewell(error: PeercronError, *, as_events: bool) -> bytes:
    index = b',"index":%d' % error.index if isinstance(error, Compacted) else b""
    told = b'{"error":{"code":"%b","detail":"%b"%b}}' % (error.code.encode(), error.message.encode(), index)
    return b"event: error\ndata: %b\n\n" % told if as_events else told + b"\n"
