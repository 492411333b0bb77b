"""How the shared state is watched: an answer that waits for the next changes, or one that goes on with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiohttp import web

from peercron.errors import Compacted, NoLeader, PeercronError
from peercron.http.answers import WAIT_MS, WAIT_MS_MAX, json_answer
from peercron.http.asking import CLOCK, duration_ms, fresh, node_of, whole_number
from peercron.http.feed import FEED, Batch, Line
from peercron.http.problems import BadRequest

#: Changes within this time go out together: one write for each watcher, and not one for each of them and each change.
COALESCE_S = 0.05
#: A stream with nothing to tell says so, and how far it has come, so that its reader knows that it lives.
HEARTBEAT_S = 5.0
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


async def changes_after(request: web.Request, listing: Any) -> web.Response:
    """The changes after ?index=N: at once if there are any, or when they come, or none when ?wait is up.

    `listing` gives what an answer that did not wait would say; both are as of the `index` in the answer.
    """
    node, clock = node_of(request), request.app[CLOCK]
    await fresh(request)
    index = whole_number(request, "index", 0)
    wait_s = duration_ms(request, "wait", WAIT_MS, max_ms=WAIT_MS_MAX) / 1_000
    until_s = clock.monotonic() + wait_s
    batch = _after(request, index)
    while not batch.lines and (left_s := until_s - clock.monotonic()) > 0:
        namespace = request.match_info["namespace"]
        told = await node.wait_for(("key", namespace, ""), left_s)
        batch = _after(request, index)
        if not told:
            break
    body = {**listing(), "index": batch.index, "changes": [line.raw for line in batch.lines]}
    return json_answer(body, headers={"Peercron-Index": str(batch.index)})


async def watch(request: web.Request) -> web.StreamResponse:
    """Every change after ?from=N in order, a line of JSON each, for as long as somebody reads; without `from` after
    now. {"index": N} says how far the stream has come, {"error": …} why it ends.
    """
    as_events = SSE in request.headers.get("Accept", "")
    index = await _begin(request)
    _after(request, index)  # what cannot be had is refused before the answer begins
    stream = web.StreamResponse()
    stream.content_type = SSE if as_events else NDJSON
    await stream.prepare(request)
    render = _events if as_events else _lines
    await stream.write(render((), index))
    try:
        await _go_on(request, stream, render, index)
    except PeercronError as error:
        with suppress(ConnectionError):
            await stream.write(_farewell(error, as_events=as_events))
    except ConnectionError:
        pass  # nobody reads any more
    return stream


async def _begin(request: web.Request) -> int:
    """The index that is watched from. Without one, what was acknowledged before the request is not news."""
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit():
        return int(last)
    if "from" in request.query:
        return whole_number(request, "from", 0)
    return (await fresh(request)).index


async def _go_on(request: web.Request, stream: web.StreamResponse, render: Any, index: int) -> None:
    """A watcher that does not read stops here, with one batch in its hands; what it misses meanwhile it is told."""
    node, resource, woken = node_of(request), ("key", request.match_info["namespace"], ""), False
    while True:
        batch = _after(request, index)
        index = batch.index
        if batch.lines:
            await stream.write(render(batch.lines, index))
        if batch.lines or woken:
            await asyncio.sleep(COALESCE_S)
            woken = False
            continue
        woken = await node.wait_for(resource, HEARTBEAT_S)
        if not woken:
            if node.leader() is None:
                raise NoLeader("this node hears of no leader, and so of no changes: watch at another one")
            await stream.write(render((), index))


def _after(request: web.Request, index: int) -> Batch:
    namespace, prefix = request.match_info["namespace"], request.query.get("prefix", "")
    return request.app[FEED].after(node_of(request).state, namespace, prefix, index)


def _lines(lines: Iterable[Line], index: int) -> bytes:
    return b"".join([line.json + b"\n" for line in lines]) or b'{"index":%d}\n' % index


def _events(lines: Iterable[Line], index: int) -> bytes:
    told = [b"id: %d\ndata: %b\n\n" % (line.change.revision, line.json) for line in lines]
    return b"".join(told) or b'event: index\nid: %d\ndata: {"index":%d}\n\n' % (index, index)


def _farewell(error: PeercronError, *, as_events: bool) -> bytes:
    index = b',"index":%d' % error.index if isinstance(error, Compacted) else b""
    told = b'{"error":{"code":"%b","detail":"%b"%b}}' % (error.code.encode(), error.message.encode(), index)
    return b"event: error\ndata: %b\n\n" % told if as_events else told + b"\n"


def wants_stream(request: web.Request) -> bool:
    """Whether ?watch=1 was asked, which goes with `from` and not with `index`."""
    text = request.query.get("watch", "0")
    if text not in ("0", "1"):
        raise BadRequest("query.watch", f"{text!r}: must be 1 or 0")
    if text == "1" and {"index", "wait", "limit", "after"} & request.query.keys():
        raise BadRequest("query.watch", "goes with from and prefix: index and wait are for answers that end")
    return text == "1"
