"""The document: every route, with what is said of it, as one OpenAPI 3.1 object."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from peercron import __version__
from peercron.core.token import MAY, Scope
from peercron.http.asking import Handler, Route
from peercron.http.auth import OF_RUNS
from peercron.http.openapi import described, parameters
from peercron.http.openapi.operation import JSON, Content, Operation, content_of
from peercron.http.openapi.refusals import STATUSES, Problem, refusals_of, response_of

PROBLEM: Final = "application/problem+json"
#: On every answer.
_WHERE: Final = {
    "Peercron-Index": ("integer", "the index of the log as of which this is"),
    "Peercron-Term": ("integer", "the term of the leader"),
    "Peercron-Level": ("integer", "the level of the replicated language that is in force"),
    "Peercron-Leader": ("string", "the name of the leader; empty: this node knows of none"),
}
_MORE_HEADERS: Final = {
    "ETag": ("string", "the revision, for If-Match"),
    "Location": ("string", "where the new one is"),
    "Retry-After": ("integer", "seconds after which the same request may go well"),
    "WWW-Authenticate": ("string", "Bearer"),
    "Peercron-Log": ("string", "file, or tail where only the end of it is left"),
}
#: What is on refusals of these statuses.
_REFUSED_WITH: Final = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
#: {name} or {name:regular expression}, which may have braces of its own.
_PLACE: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
#: A line of a docstring about a field, and where such a line goes on.
_FIELD: Final = re.compile(r"(\w+): (.+)")
_CONTINUED: Final = re.compile(r"\n +")

Schema = dict[str, Any]


def document(routes: Iterable[Route]) -> Schema:
    """The description of these routes, each of which has an operation in one of the modules of this package."""
    writer = _Writer.of(tuple(routes))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "peercron",
            "version": __version__,
            "summary": "Distributed cron: equal peers, no external store, any majority keeps planned work going.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "any node"}],
        "tags": [{"name": name, "description": _sentences(doc)[0]} for name, doc in described.TAGS.items()],
        "paths": writer.paths(),
        "components": writer.components(),
    }


_ABOUT: Final = (
    "Every node answers everything. Where a GET is served a HEAD is too. Besides what is listed with an operation, "
    "any path can be answered 404 and 405, and any error is problem+json."
)


def template(path: str) -> tuple[str, dict[str, str]]:
    """A route's path as OpenAPI writes it, and its parameters, each with what it has to match (empty: anything).

    >>> template("/v1/clients/{id:[0-9]{1,15}}:renew")
    ('/v1/clients/{id}:renew', {'id': '[0-9]{1,15}'})
    """
    return _PLACE.sub(r"{\1}", path), {name: pattern or "" for name, pattern in _PLACE.findall(path)}


def key_of(route: Route) -> str:
    """What a route is called in `OPERATIONS`."""
    return f"{route.method} {template(route.path)[0]}"


def _sentences(doc: str) -> tuple[str, str]:
    """The first sentence of a docstring, and the rest."""
    first, *rest = inspect.cleandoc(doc).split("\n\n")
    head, _, tail = " ".join(first.split()).partition(". ")
    return head.removesuffix("."), "\n\n".join(filter(None, [tail, *rest]))


@dataclass(frozen=True, slots=True)
class _Writer:
    routes: tuple[Route, ...]
    #: Shape -> its schema.
    schemas: Mapping[Any, Schema]
    parts: Mapping[str, Schema]

    @classmethod
    def of(cls, routes: tuple[Route, ...]) -> _Writer:
        shapes = list(dict.fromkeys([Problem, *(s for route in routes for s in _shapes(_operation(route)))]))
        schemas, parts = msgspec.json.schema_components(
            shapes, schema_hook=_anything, ref_template="#/components/schemas/{name}"
        )
        for name, refine in described.REFINED.items():
            refine(parts[name])
        return cls(
            routes,
            dict(zip(shapes, schemas, strict=True)),
            {name: _with_fields(part) for name, part in sorted(parts.items())},
        )

    def paths(self) -> dict[str, Schema]:
        found: dict[str, Schema] = {}
        for route in self.routes:
            path, places = template(route.path)
            found.setdefault(path, {})[route.method.lower()] = self._operation(route, places)
        return found

    def components(self) -> Schema:
        return {
            "schemas": self.parts,
            "headers": {
                name: {"schema": {"type": kind}, "description": says, "required": True}
                for name, (kind, says) in (_WHERE | _MORE_HEADERS).items()
            },
            "parameters": {
                key: _parameter(schema.get("name", key), "header", schema) for key, schema in parameters.HEADERS.items()
            },
            "responses": {f"Problem{status}": self._problem(status) for status in STATUSES},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": _TOKEN},
                "run": {"type": "http", "scheme": "bearer", "description": _OF_RUN},
            },
        }

    def _operation(self, route: Route, places: Mapping[str, str]) -> Schema:
        operation = _operation(route)
        summary, description = _sentences(_doc(route.handler))
        told: Schema = {"operationId": operation.id, "summary": summary, "description": description}
        told["tags"] = [described.TAG_OF[key_of(route)]]
        told["parameters"] = [*_parameters(route, places, operation)]
        if operation.body is not None:
            body = content_of(operation.body)
            told["requestBody"] = {"required": body.required, "content": self._content(body)}
        told["responses"] = {str(status): self._answer(status, a) for status, a in operation.contents.items()} | {
            str(status): {"$ref": f"#/components/responses/Problem{status}"}
            for status in refusals_of(route, operation)
            if status not in operation.contents
        }
        told["security"] = [*_security(route, operation)]
        return {key: value for key, value in told.items() if value}

    def _content(self, content: Content) -> Schema:
        told = {kind: {"schema": self._schema(shape)} for kind, shape in content.shapes.items()}
        if content.example is not None:
            told[JSON]["example"] = content.example
        return told

    def _schema(self, shape: Any) -> Schema:
        if isinstance(shape, Mapping):
            return dict(shape)
        if isinstance(shape, tuple):
            return {"anyOf": [self._schema(each) for each in shape]}
        return self.schemas[shape]

    def _answer(self, status: int, content: Content) -> Schema:
        told = {"description": content.says or HTTPStatus(status).phrase, "headers": _headers(*content.headers)}
        found = self._content(content)
        return told | ({"content": found} if found else {})

    def _problem(self, status: int) -> Schema:
        headers = _headers(_REFUSED_WITH[status]) if status in _REFUSED_WITH else _headers()
        return response_of(status) | {"headers": headers, "content": {PROBLEM: {"schema": self.schemas[Problem]}}}


_TOKEN: Final = (
    "An access token (pcr_…), or a pass made of the cluster's secret. Wanted from the first token on; which scope it "
    "has to have stands with each operation. Scopes: "
) + "; ".join(f"{scope}: {may}" for scope, may in MAY.items())
_OF_RUN: Final = "PEERCRON_TOKEN of an attempt, which is good for what it does as data, and dies with it"


def _security(route: Route, operation: Operation) -> Iterator[Schema]:
    """One of these; an empty one: without tokens in the cluster, or with what else is asked for, none is needed."""
    if operation.of_run:
        yield {"run": []}
    elif route.scope is not None or 401 in operation.refuses:
        yield {}
        yield {"token": [str(route.scope or Scope.RUN)]}
        if route.scope in OF_RUNS:
            yield {"run": []}


def _operation(route: Route) -> Operation:
    return described.OPERATIONS[key_of(route)]


def _doc(handler: Handler) -> str:
    return inspect.getdoc(handler) or ""


def _shapes(operation: Operation) -> Iterator[Any]:
    bodies = () if operation.body is None else (content_of(operation.body),)
    for content in (*bodies, *operation.contents.values()):
        yield from content.within
        for shape in content.shapes.values():
            if not isinstance(shape, Mapping):
                yield from shape if isinstance(shape, tuple) else (shape,)


def _anything(kind: Any) -> Schema:
    """JSON of any kind: what msgspec asks about types that are none of its own. Of all others it wants to be told that
    they are not known, so that a shape with one fails the test that makes the document.
    """
    if kind is object:
        return {"description": "anything"}  # an empty one would count as none
    raise NotImplementedError


def _with_fields(part: Schema) -> Schema:
    """With the lines of its docstring that describe fields where these are."""
    properties = part.get("properties", {})
    head, _, lines = part.get("description", "").partition("\n\n")
    for line in _CONTINUED.sub(" ", lines).splitlines():
        if (found := _FIELD.fullmatch(line)) and found[1] in properties:
            properties[found[1]] = properties[found[1]] | {"description": found[2]}
    return part | {"description": " ".join(head.split())}


def _headers(*more: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*_WHERE, *more)}


def _parameters(route: Route, places: Mapping[str, str], operation: Operation) -> Iterator[Schema]:
    for name, pattern in places.items():
        schema = operation.parameters.get(name) or parameters.PATH[name]
        if pattern.startswith(("[0-9]", r"\d")):
            schema = {**schema, "pattern": f"^{pattern}$"}
        yield _parameter(name, "path", schema) | {"required": True}
    for name in sorted(route.parameters):
        yield _parameter(name, "query", operation.parameters.get(name) or parameters.QUERY[name])
    writes = parameters.WRITE_HEADERS if route.method != "GET" else ()
    for name in (*operation.headers, *writes):
        yield {"$ref": f"#/components/parameters/{name}"}


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> Schema:
    told = {key: value for key, value in schema.items() if key not in ("name", "description")}
    return {"name": name, "in": place, "description": schema["description"], "schema": told}
