"""How answers are given: JSON, the headers that every one of them carries, and reads that wait for a change."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from inspect import isawaitable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from peercron.http.asking import CLOCK, duration_ms, fresh, node_of, whole_number
from peercron.http.auth import check

T = TypeVar("T")
WAIT_MS = 30_000
WAIT_MS_MAX = 600_000
#: Changes within this time are looked at together, so that a busy cluster does not keep a waiting reader computing.
COALESCE_S = 0.05
#: Resources whose last change is remembered.
SEEN_MAX = 4_096

#: How long a long answer is worked on between two looks at everything else that waits for the loop.
SLICE_S = 0.005

#: Builds the JSON of an answer from the state as it is now; one that is long may take its time (see `in_slices`).
View = Callable[[], Any]


class LastChanges:
    """Since which index each resource has looked as it does, as far as this node has been asked.

    A resource that was not asked for before counts as changed now: a waiting read may then return early, never late.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[bytes, int]] = OrderedDict()

    def changed_at(self, resource: str, body: bytes, index: int) -> int:
        """The index at which `body` was first seen as the resource's; `index` is the state's now."""
        fingerprint = hashlib.blake2b(body, digest_size=16).digest()
        known, since = self._seen.get(resource, (b"", 0))
        if known != fingerprint:
            since = index
        self._seen[resource] = (fingerprint, since)
        self._seen.move_to_end(resource)
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return since


CHANGES: web.AppKey[LastChanges] = web.AppKey("changes", LastChanges)


def json_answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return _bytes_answer(msgspec.json.encode(body), status=status, headers=headers)


def _bytes_answer(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def etag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def kept_answer(request: web.Request, body: bytes, etag: str, kind: str) -> web.Response:
    """What changes with the version of the node only: 304 to who has it already."""
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
    if etag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    charset = "utf-8" if kind.startswith("text/") else None
    return web.Response(body=body, content_type=kind, charset=charset, headers=headers)


async def in_slices(items: Iterable[T]) -> list[T]:
    """All the items, made a few milliseconds at a time. The state may move on in between: rows do not, tables do."""
    return [item async for item in unhurried(items)]


async def unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """The items one by one, with a look at the loop every few milliseconds."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SLICE_S
    for item in items:
        yield item
        if loop.time() > until_s:
            await asyncio.sleep(0)
            until_s = loop.time() + SLICE_S


def encoded(rows: Iterable[Any]) -> Iterator[msgspec.Raw]:
    """Each row as JSON already, so that what puts them together has little left to do."""
    return (msgspec.Raw(msgspec.json.encode(row)) for row in rows)


async def _body(view: View) -> bytes:
    seen = view()
    return msgspec.json.encode(await seen if isawaitable(seen) else seen)


async def blocking_answer(
    request: web.Request, view: View, *, headers: Callable[[], dict[str, str]] = dict
) -> web.Response:
    """The view as JSON; with ?index=N not before the resource has changed after N, or ?wait is up.

    N is the Peercron-Index of an earlier answer. Only changes of the resource wake: what decides is the text of the
    answer, not the index of the whole state.
    """
    node, clock, changes = node_of(request), request.app[CLOCK], request.app[CHANGES]
    await fresh(request)
    index = whole_number(request, "index", -1)
    wait_ms = duration_ms(request, "wait", WAIT_MS, max_ms=WAIT_MS_MAX)
    resource = f"{request.path}?" + "&".join(
        f"{key}={value}" for key, value in sorted(request.query.items()) if key not in ("index", "wait", "consistency")
    )
    # Taken before the view is: what changes while a long one is made is then new to whoever asks again.
    seen, body = node.state.index, await _body(view)
    changed_at = changes.changed_at(resource, body, seen)
    deadline = clock.monotonic() + wait_ms / 1_000
    while index >= changed_at and (left := deadline - clock.monotonic()) > 0 and not _gone(request):
        await node.wait_changed(seen, left)
        if node.state.index == seen:
            break
        await asyncio.sleep(min(COALESCE_S, left))
        check(request)
        seen, body = node.state.index, await _body(view)
        changed_at = changes.changed_at(resource, body, seen)
    return _bytes_answer(body, headers=headers() | {"Peercron-Index": str(seen)})


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer, errors and streams too: where this node stands, and that no browser may guess or keep it."""
    node = node_of(request)
    response.headers.setdefault("Peercron-Index", str(node.state.index))
    response.headers["Peercron-Level"] = str(node.state.level)
    response.headers["Peercron-Term"] = str(node.term)
    response.headers["Peercron-Leader"] = node.leader() or ""
    response.headers["Server"] = "peercron"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
