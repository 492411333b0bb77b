"""Promises: what the description of the HTTP face says, held against every answer, and against what was taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from peercron.http.app import ROUTES
from peercron.http.asking import Route
from peercron.http.openapi.document import document, template

#: As it is read.
DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(ROUTES)))
_URI = "urn:openapi"
_REGISTRY: Registry[Any] = Registry().with_resource(_URI, DRAFT202012.create_resource(DOCUMENT))
_PLACE = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


def hold(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, sent: Any, kind: str = ""
) -> None:
    """Raises AssertionError where an answer is not as promised, or what was taken is not as demanded.

    Args:
        path: with its query.
        sent: the body as JSON, None: there was none, or it was another `kind` of thing.
    """
    path, _, query = path.partition("?")
    route = _route_of("GET" if method == "HEAD" else method, path)
    if route is None:
        assert status in (404, 405), f"{method} {path} is no route, and was answered {status}"
        return
    where = _pointer("paths", template(route.path)[0], route.method.lower())
    if status < 400:
        _hold_query(where, query)
        _hold_body(where, sent, kind)
    _hold_answer(where, status, headers, body if method != "HEAD" else b"")


def hold_shape(shape: str, value: Any) -> None:
    """The same of what is to be part of an answer."""
    _fits(_pointer("components", "schemas", shape), msgspec.json.decode(msgspec.json.encode(value)))


def hold_example(method: str, path: str, body: Any) -> None:
    """The same of an example."""
    _hold_body(_pointer("paths", path, method.lower()), body, "")


def hold_line(shape: str, line: Any) -> None:
    """The same of a line of a stream, which is the data of a server-sent event of this shape."""
    _fits(_pointer("components", "schemas", shape, "properties", "data", "contentSchema"), line)


def _hold_answer(where: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    answers = _at(where)["responses"]
    assert str(status) in answers, f"{where} does not say that it answers {status}: {body.decode('utf-8', 'replace')}"
    at = _home(f"{where}/responses/{status}")
    for name, header in _at(at)["headers"].items():
        required = _at(header["$ref"].removeprefix("#")).get("required")
        assert not required or name in headers, f"{at} says that there is {name}"
    if not body:
        return
    kind = headers.get("Content-Type", "").partition(";")[0]
    contents = _at(at).get("content", {})
    assert kind in contents, f"{at} does not say that it answers {kind}"
    if kind.endswith("json"):
        _fits(f"{at}/content/{_escaped(kind)}/schema", msgspec.json.decode(body))


def _hold_body(where: str, sent: Any, kind: str) -> None:
    if sent is None or (sent == {} and "requestBody" not in _at(where)):
        return
    contents = _at(where).get("requestBody", {}).get("content", {})
    kind = kind or "application/json"
    assert kind in contents, f"{where} does not say that it takes {kind}"
    _fits(f"{where}/requestBody/content/{_escaped(kind)}/schema", sent)


def _hold_query(where: str, query: str) -> None:
    parameters = _at(where).get("parameters", ())
    known = {p["name"]: f"{where}/parameters/{n}" for n, p in enumerate(parameters) if "name" in p}
    for name, text in parse_qsl(query, keep_blank_values=True):
        is_number = _at(known[name])["schema"]["type"] == "integer"
        _fits(f"{known[name]}/schema", int(text) if is_number else text)


def _fits(where: str, value: Any) -> None:
    problems = [f"{error.json_path}: {error.message:.300}" for error in _validator(where).iter_errors(value)]
    assert not problems, f"not as {where} says: {problems}\n{value}"


@cache
def _validator(where: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{_URI}#{where}"}, registry=_REGISTRY)


@cache
def _at(where: str) -> Any:
    found: Any = DOCUMENT
    for escaped in where.split("/")[1:]:
        part = escaped.replace("~1", "/").replace("~0", "~")
        found = found[int(part)] if isinstance(found, list) else found[part]
    return found


def _home(where: str) -> str:
    """Where it is written, if it is a reference."""
    reference: str | None = _at(where).get("$ref")
    return reference.removeprefix("#") if reference else where


def _pointer(*parts: str) -> str:
    return "".join(f"/{_escaped(part)}" for part in parts)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Route], ...]:
    return tuple((re.compile("".join(_pieces(route.path))), route) for route in ROUTES)


def _pieces(path: str) -> Iterator[str]:
    at = 0
    for place in _PLACE.finditer(path):
        yield re.escape(path[at : place.start()])
        yield f"(?:{place[2] or '[^{}/]+'})"
        at = place.end()
    yield re.escape(path[at:])


def _route_of(method: str, path: str) -> Route | None:
    """The one that aiohttp takes, which is the first that fits."""
    return next((r for pattern, r in _patterns() if r.method == method and pattern.fullmatch(path)), None)
