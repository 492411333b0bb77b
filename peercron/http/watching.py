"""How the shared state is watched: an answer that waits for the next changes, or one that goes on with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from peercron.core.state import Resource
from peercron.http.answers import WAIT_MS, WAIT_MS_MAX, json_answer
from peercron.http.asking import CLOCK, duration_ms, fresh, node_of, whole_number
from peercron.http.auth import check
from peercron.http.feed import FEED, Batch, Line
from peercron.http.problems import BadRequest
from peercron.http.streaming import NDJSON, SSE, stream

#: Of an index in a header.
INDEX_DIGITS_MAX = 18


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
        check(request)
        batch = _after(request, index)
        if not told:
            break
    body = {**listing(), "index": batch.index, "changes": [line.raw for line in batch.lines]}
    return json_answer(body, headers={"Peercron-Index": str(batch.index)})


async def watch(request: web.Request) -> web.StreamResponse:
    """Every change after ?from=N in order, a line of JSON each, for as long as somebody reads; without `from` after
    now. {"index": N} says how far the stream has come, {"error": …} why it ends.
    """
    kind = SSE if SSE in request.headers.get("Accept", "") else NDJSON
    return await stream(request, _Changes(request, await _begin(request), _events if kind == SSE else _lines), kind)


class _Changes:
    """The changes of one namespace, behind an index."""

    def __init__(self, request: web.Request, index: int, render: Callable[[Iterable[Line], int], bytes]) -> None:
        self._request, self._index, self._render = request, index, render

    @property
    def resource(self) -> Resource:
        return "key", self._request.match_info["namespace"], ""

    def take(self) -> bytes:
        batch = _after(self._request, self._index)
        self._index = batch.index
        return self._render(batch.lines, batch.index) if batch.lines else b""

    def place(self) -> bytes:
        return self._render((), self._index)


async def _begin(request: web.Request) -> int:
    """The index that is watched from. Without one, what was acknowledged before the request is not news."""
    last = _last_event(request)
    if last is not None:
        return last
    if "from" in request.query:
        return whole_number(request, "from", 0)
    return (await fresh(request)).index


def _last_event(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID", "")
    if text and not (text.isascii() and text.isdigit() and len(text) <= INDEX_DIGITS_MAX):
        raise BadRequest("header.Last-Event-ID", f"{text!r:.80}: must be the index of a change")
    return int(text) if text else None


def _after(request: web.Request, index: int) -> Batch:
    namespace, prefix = request.match_info["namespace"], request.query.get("prefix", "")
    return request.app[FEED].after(node_of(request).state, namespace, prefix, index)


def _lines(lines: Iterable[Line], index: int) -> bytes:
    return b"".join([line.json + b"\n" for line in lines]) or b'{"index":%d}\n' % index


def _events(lines: Iterable[Line], index: int) -> bytes:
    told = [b"id: %d\ndata: %b\n\n" % (line.change.revision, line.json) for line in lines]
    return b"".join(told) or b'event: index\nid: %d\ndata: {"index":%d}\n\n' % (index, index)


def wants_stream(request: web.Request) -> bool:
    """Whether ?watch=1 was asked, which goes with `from` and not with `index`."""
    _last_event(request)  # told also where nothing comes of it
    text = request.query.get("watch", "0")
    if text not in ("0", "1"):
        raise BadRequest("query.watch", f"{text!r}: must be 1 or 0")
    if text == "1" and {"index", "wait", "limit", "after"} & request.query.keys():
        raise BadRequest("query.watch", "goes with from and prefix: index and wait are for answers that end")
    if text == "0" and "from" in request.query:
        raise BadRequest("query.from", "goes with watch=1; for an answer that ends it is index")
    return text == "1"
