"""Routes of the shared state: a value is the bytes that were put, its ETag is its revision."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from peercron.core.commands import DeleteKey, PutKey
from peercron.core.state import Key
from peercron.errors import Refused
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import (
    BLOCKING_PARAMETERS,
    READ_PARAMETERS,
    Route,
    commit,
    fresh,
    if_revision,
    node_of,
    whole_number,
)
from peercron.http.jobs import etag


async def list_keys(request: web.Request) -> web.Response:
    """Names, sizes and revisions of a namespace's keys, in order of name; ?prefix= chooses among them."""
    node, namespace = node_of(request), request.match_info["namespace"]
    prefix = request.query.get("prefix", "")
    limit = whole_number(request, "limit", 1_000, low=1, high=10_000)

    def view() -> dict[str, Any]:
        entries = node.state.keys.get(namespace, {})
        names = islice(sorted(name for name in entries if name.startswith(prefix)), limit)
        return {"namespace": namespace, "keys": [_entry(name, entries[name]) for name in names]}

    return await blocking_answer(request, view)


def _entry(name: str, entry: Key) -> dict[str, Any]:
    return {"key": name, "size": len(entry.value), "revision": entry.revision, "created": entry.created}


async def get_key(request: web.Request) -> web.Response:
    """The value as it was put: as JSON when it is JSON, else as bytes."""
    namespace, name = request.match_info["namespace"], request.match_info["key"]
    entry = (await fresh(request)).keys.get(namespace, {}).get(name)
    if entry is None:
        raise Refused("not_found", f"there is no key {namespace}/{name}")
    kind = "application/json" if _is_json(entry.value) else "application/octet-stream"
    return web.Response(body=entry.value, content_type=kind, headers=etag(entry.revision))


def _is_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


async def put_key(request: web.Request) -> web.Response:
    """Write the body. If-Match: only over that revision; If-None-Match: * only where there is none."""
    namespace, name = request.match_info["namespace"], request.match_info["key"]
    revision = if_revision(request)
    done = await commit(request, PutKey(namespace, name, await request.read(), revision))
    # Not looked up: somebody else may have written since, and this answer is about this write.
    return json_answer(
        {"namespace": namespace, "key": name, "revision": done.value}, headers=etag(int(done.value or 0))
    )


async def delete_key(request: web.Request) -> web.Response:
    namespace, name = request.match_info["namespace"], request.match_info["key"]
    await commit(request, DeleteKey(namespace, name, if_revision(request)))
    return json_answer({"deleted": f"{namespace}/{name}"})


ROUTES = (
    Route("GET", "/v1/state/{namespace}/", list_keys, BLOCKING_PARAMETERS | {"prefix", "limit"}),
    Route("GET", "/v1/state/{namespace}/{key:.+}", get_key, READ_PARAMETERS),
    Route("PUT", "/v1/state/{namespace}/{key:.+}", put_key),
    Route("DELETE", "/v1/state/{namespace}/{key:.+}", delete_key),
)
