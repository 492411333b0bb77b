"""Routes of the shared state: a value is the bytes that were put, its ETag is its revision."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from peercron.core.apply.change import LEVEL
from peercron.core.commands import DeleteKey, IncrKey, PutKey
from peercron.core.limits import LEASE_FORM, LEASE_MS_MAX, LEASE_MS_MIN, NUMBER_MAX
from peercron.core.state import Key
from peercron.core.token import Scope
from peercron.core.verdict import Done
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import blocking_answer, json_answer
from peercron.http.asking import (
    BLOCKING_PARAMETERS,
    READ_PARAMETERS,
    Route,
    commit,
    fields_of_body,
    fresh,
    if_revision,
    json_body,
    node_of,
    switch,
    whole_number,
)
from peercron.http.feed import is_json, value_view
from peercron.http.fields import integral
from peercron.http.jobs import etag
from peercron.http.watching import changes_after, wants_stream, watch
from peercron.times import parse_duration_ms


async def list_namespaces(request: web.Request) -> web.Response:
    """The namespaces that have keys, in order of name, and how many."""
    state = await fresh(request)
    rows = [{"namespace": name, "keys": len(keys)} for name, keys in sorted(state.keys.items()) if keys]
    return json_answer({"namespaces": rows})


async def list_keys(request: web.Request) -> web.StreamResponse:
    """Names, sizes and revisions of a namespace's keys, in order of name; ?prefix= and ?after= choose among them.

    With ?values=1 the values too; with ?index=N also the `changes` after it, for which it waits; with ?watch=1 the
    changes alone, as a stream.
    """
    if wants_stream(request):
        return await watch(request)
    namespace, with_values = request.match_info["namespace"], switch(request, "values")
    prefix, after = request.query.get("prefix", ""), request.query.get("after", "")
    limit = whole_number(request, "limit", 1_000, high=10_000)

    def listing() -> dict[str, Any]:
        state = node_of(request).state
        entries = state.keys.get(namespace, {})
        names = islice(sorted(n for n in entries if n > after and n.startswith(prefix)), limit) if limit else ()
        keys = [_entry(name, entries[name], with_values=with_values) for name in names]
        return {"namespace": namespace, "keys": keys}

    if "index" in request.query and node_of(request).state.level >= LEVEL:
        return await changes_after(request, listing)
    return await blocking_answer(request, listing)


def _entry(name: str, entry: Key, *, with_values: bool) -> dict[str, Any]:
    told = {"key": name, "size": len(entry.value), "revision": entry.revision, "created": entry.created}
    return told | value_view(entry.value) if with_values else told


async def get_key(request: web.Request) -> web.Response:
    """The value as it was put: as JSON when it is JSON, else as bytes."""
    namespace, name = _named(request)
    entry = (await fresh(request)).keys.get(namespace, {}).get(name)
    if entry is None:
        raise Refused("not_found", f"there is no key {namespace}/{name}")
    kind = "application/json" if is_json(entry.value) else "application/octet-stream"
    return web.Response(body=entry.value, content_type=kind, headers=etag(entry.revision))


async def put_key(request: web.Request) -> web.Response:
    """Write the body. If-Match: only over that revision; If-None-Match: * only where there is none.

    With ?ttl=30s the key is gone after that time, unless it is written again. What is said to be JSON has to be.
    """
    namespace, name = _named(request)
    ttl_ms, value = _ttl_ms(request.query.get("ttl")), await request.read()
    if request.content_type == "application/json" and not is_json(value):
        await json_body(request)  # says where it is none
    done = await commit(request, PutKey(namespace, name, value, if_revision(request), ttl_ms))
    return _written(request, done)


async def cas_key(request: web.Request) -> web.Response:
    """Compare and set: {"if_revision": 7, "value": any JSON, "ttl": "30s"}; revision 0: only where there is none."""
    namespace, name = _named(request)
    body = await fields_of_body(request, "if_revision", "value", "ttl")
    if "value" not in body:
        raise ConfigError([Problem("value", "required: any JSON")])
    revision = _whole(body, "if_revision", None, low=0)
    value = msgspec.json.encode(body["value"])
    done = await commit(request, PutKey(namespace, name, value, revision, _ttl_ms(body.get("ttl"))))
    return _written(request, done)


async def incr_key(request: web.Request) -> web.Response:
    """Add {"by": 1} to the whole number under the key, 0 where there is none; {"ttl": "30s"} for one that begins."""
    namespace, name = _named(request)
    body = await fields_of_body(request, "by", "ttl")
    by = _whole(body, "by", 1, low=-NUMBER_MAX)
    done = await commit(request, IncrKey(namespace, name, by, _ttl_ms(body.get("ttl"))))
    told = {"namespace": namespace, "key": name, "value": done.value, "revision": done.index}
    return json_answer(told, headers=etag(done.index))


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["key"]


def _written(request: web.Request, done: Done) -> web.Response:
    """Not looked up: somebody else may have written since, and this answer is about this write."""
    namespace, name = _named(request)
    return json_answer({"namespace": namespace, "key": name, "revision": done.index}, headers=etag(done.index))


def _whole(body: dict[str, Any], field: str, default: int | None, *, low: int) -> int:
    number = integral(body.get(field, default))
    if type(number) is not int or not low <= number <= NUMBER_MAX:
        raise ConfigError([Problem(field, f"must be a whole number from {low} to {NUMBER_MAX}")])
    return number


def _ttl_ms(text: Any) -> int:
    """0: there is none. What is no lease is refused here, too: a key with no time to live would be there for ever."""
    if text is None:
        return 0
    try:
        ttl_ms = parse_duration_ms(text)
    except (ValueError, AttributeError) as error:
        raise ConfigError([Problem("ttl", str(error) if isinstance(text, str) else "must be text like 30s")]) from None
    if not LEASE_MS_MIN <= ttl_ms <= LEASE_MS_MAX:
        raise ConfigError([Problem("ttl", f"wants {LEASE_FORM}, not {text}; a key without one stays")])
    return ttl_ms


async def delete_key(request: web.Request) -> web.Response:
    """Forget a key; If-Match: only that revision of it."""
    namespace, name = _named(request)
    await commit(request, DeleteKey(namespace, name, if_revision(request)))
    return json_answer({"deleted": f"{namespace}/{name}"})


#: A key may have anything in it, also what `.` does not match: the end of a line.
_KEY = r"/v1/state/{namespace}/{key:[\s\S]+}"
_LIST = BLOCKING_PARAMETERS | {"prefix", "after", "limit", "values", "watch", "from"}
ROUTES = (
    Route("GET", "/v1/state", list_namespaces, Scope.READ, READ_PARAMETERS),
    Route("GET", "/v1/state/{namespace}/", list_keys, Scope.READ, _LIST),
    Route("GET", _KEY, get_key, Scope.READ, READ_PARAMETERS),
    Route("PUT", _KEY, put_key, Scope.DATA, frozenset({"ttl"})),
    Route("POST", f"{_KEY}:cas", cas_key, Scope.DATA),
    Route("POST", f"{_KEY}:incr", incr_key, Scope.DATA),
    Route("DELETE", _KEY, delete_key, Scope.DATA),
)
