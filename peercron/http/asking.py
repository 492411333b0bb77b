"""What a request asks for: its body, its parameters, its preconditions, and how fresh the answer must be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from peercron.core.commands import Command, Once
from peercron.core.limits import NAME_LENGTH_MAX
from peercron.core.naming import named
from peercron.core.oversize import oversize
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.core.verdict import Done
from peercron.errors import ConfigError, OutcomeUnknown, Problem, Refused
from peercron.http.auth import CLOCK as CLOCK
from peercron.http.auth import NODE as NODE
from peercron.http.auth import check
from peercron.http.port import NodePort
from peercron.http.problems import BadRequest
from peercron.sources import nearest
from peercron.times import parse_duration_ms, parse_instant_ms

#: How long a request waits for the cluster before it answers that it does not know.
TIMEOUT_S = 5.0
READ_PARAMETERS = frozenset({"consistency"})
BLOCKING_PARAMETERS = READ_PARAMETERS | {"index", "wait"}
#: Room is left for the number that tells commits of one request apart.
IDEMPOTENCY_KEY_MAX = NAME_LENGTH_MAX - 8
#: How often a request has committed with its key so far.
COMMITS: web.RequestKey[int] = web.RequestKey("commits", int)
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"|(\d{1,18})')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table of routes: what is not among `parameters` in a query is refused by name.

    `scope`: what a token has to have, once there is any; None: everybody may, or the handler asks in its own way.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    parameters: frozenset[str] = frozenset()


def node_of(request: web.Request) -> NodePort:
    return request.app[NODE]


async def fresh(request: web.Request) -> ClusterState:
    """The state to answer from: with every write acknowledged before the request, or with `stale` as it is here."""
    node = node_of(request)
    if not wants_stale(request):
        await node.read_barrier(TIMEOUT_S)
        check(request)
    return node.state


def wants_stale(request: web.Request) -> bool:
    text = request.query.get("consistency", "linearizable")
    if text not in ("linearizable", "stale"):
        raise BadRequest("query.consistency", f"{text!r:.80}: must be linearizable or stale")
    return text == "stale"


async def propose(node: NodePort, command: Command, once: Once | None = None) -> Done:
    """Propose a command, unless it is refused for its size alone: what is huge does not enter the log for that."""
    if (found := oversize(command)) is not None:
        raise Refused(*found)
    return await node.propose(command, TIMEOUT_S, once)


async def commit(request: web.Request, command: Command) -> Done:
    """Propose a command and wait until this node has applied it too, so that what follows can show it.

    With an `Idempotency-Key` a request that comes twice, also to another node, is carried out once, and its answer is
    made of the first outcome. A request that commits several times does so under one key and a number for each. Who
    sends it again says in `Idempotency-Since` which Peercron-Index it knew before the first time: where the answers of
    that time are forgotten, the outcome is unknown, and nothing is done.
    """
    node = node_of(request)
    done = await propose(node, command, await once_of(request))
    await node.wait_changed(done.index - 1, TIMEOUT_S)
    if node.state.index < done.index:
        raise OutcomeUnknown(f"it was committed as index {done.index}, and this node is too far behind to show it")
    return done


async def answered_before(request: web.Request) -> bool:
    """Whether what the request commits next is known to have been committed: it has come before."""
    node = node_of(request)
    if "Idempotency-Since" in request.headers:  # its sender says so: then this node has to know
        await node.read_barrier(TIMEOUT_S)
    key = idempotency_key(request)
    return key is not None and _numbered(key, request.get(COMMITS, 0) + 1) in node.state.answers


async def once_of(request: web.Request) -> Once | None:
    """What the request is known by; None: it has no Idempotency-Key."""
    key = idempotency_key(request)
    if key is None:
        return None
    request[COMMITS] = number = request.get(COMMITS, 0) + 1
    asked = hashlib.blake2b(f"{request.method} {request.path_qs}\n".encode(), digest_size=8)
    asked.update(await request.read())
    return Once(_numbered(key, number), asked.digest(), _since(request))


def check_once(request: web.Request) -> None:
    """Refuse a key or an index that is none also where nothing is committed by them, as this time there may be no need.

    A header that is not understood must not be passed over.
    """
    idempotency_key(request)
    _since(request)


def _numbered(key: str, number: int) -> str:
    return key if number == 1 else f"{key}#{number}"


def _since(request: web.Request) -> int:
    text = request.headers.get("Idempotency-Since", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest("header.Idempotency-Since", f"{text[:99]!r}: must be the Peercron-Index of an answer")
    return int(text)


def idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= IDEMPOTENCY_KEY_MAX:
        raise BadRequest("header.Idempotency-Key", f"must be 1 to {IDEMPOTENCY_KEY_MAX} characters")
    # Bytes that are no UTF-8 arrive as surrogates, which cannot be written into the log.
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise BadRequest("header.Idempotency-Key", "must be UTF-8")
    return key


async def json_body(request: web.Request) -> Any:
    """The JSON of the body. Anything else is refused: a form on a foreign page can post text, but not JSON."""
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise BadRequest("header.Content-Type", "must be application/json", code="media_type", status=415)
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        unknown = [word for word in ("NaN", "Infinity") if word.encode() in await request.read()]
        hint = f"; it knows no {' and no '.join(unknown)}" if unknown else ""
        raise BadRequest("body", f"is not JSON: {error}{hint}") from None


async def fields_of_body(request: web.Request, *known: str) -> dict[str, Any]:
    """The fields of an optional JSON object; an unknown one is refused by name."""
    if not request.can_read_body:
        return {}
    body = await json_body(request)
    if not isinstance(body, dict):
        raise ConfigError([Problem("", "must be an object")])
    if unknown := [key for key in body if key not in known]:
        raise ConfigError([Problem(key, f"unknown field{nearest(key, known)}") for key in unknown])
    return body


def key_of(namespace: str, name: str) -> str:
    """What the state calls something in a namespace. ConfigError: there can be none of that name."""
    check_names({"namespace": namespace, "name": name})
    return f"{namespace}/{name}"


def check_names(parts: Mapping[str, str]) -> None:
    """ConfigError, if there can be no namespace, lock or queue of a name that is among these parts of a path."""
    form = f"wants letters, digits, '.', '_', '-', at most {NAME_LENGTH_MAX}, neither '.' nor '-' first"
    given = [(part, parts[part]) for part in ("namespace", "name") if part in parts]
    if problems := [Problem(part, f"{form}, not {text!r:.99}") for part, text in given if not named(text)]:
        raise ConfigError(problems)


def whole_number(request: web.Request, name: str, default: int, *, low: int = 0, high: int = 10**15) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high):
        raise BadRequest(f"query.{name}", f"{text!r}: must be a whole number from {low} to {high}")
    return int(text)


def switch(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "0").lower()
    if text not in ("", "0", "1", "true", "false"):
        raise BadRequest(f"query.{name}", f"{text!r}: must be 1 or 0")
    return text in ("", "1", "true")


def duration_ms(request: web.Request, name: str, default_ms: int, *, max_ms: int) -> int:
    try:
        return min(max_ms, parse_duration_ms(request.query[name])) if name in request.query else default_ms
    except ValueError as error:
        raise BadRequest(f"query.{name}", str(error)) from None


def instant_ms(request: web.Request, name: str, default_ms: int) -> int:
    """Milliseconds since 1970 from a number of them or from an RFC 3339 instant."""
    text = request.query.get(name)
    if text is None:
        return default_ms
    if text.isascii() and text.isdigit():
        return whole_number(request, name, default_ms)
    try:
        # A plus sign that was not escaped arrives as a space.
        return parse_instant_ms(text.replace(" ", "+"))
    except ValueError as error:
        raise BadRequest(f"query.{name}", str(error)) from None


def if_revision(request: web.Request) -> int | None:
    """The revision that the caller believes in: If-Match gives one, If-None-Match: * says there is none (0).

    Anything else is refused: a condition that is passed over protects nobody.
    """
    none, text = (request.headers.get(name, "").strip() for name in ("If-None-Match", "If-Match"))
    found = _ETAG.fullmatch(text)
    if none not in ("", "*"):
        raise BadRequest("header.If-None-Match", f"{none!r:.80}: must be *, which says that there is none")
    if found is None and text not in ("", "*"):
        raise BadRequest("header.If-Match", f'{text!r:.80}: must be the ETag of a GET, like "42"')
    if none:
        return 0
    return int(found[1] or found[2]) if found is not None else None
