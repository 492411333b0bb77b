"""The description of the HTTP face: whole, valid, true to what the server takes, and served whatever else is broken."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from openapi_spec_validator import validate

from peercron import __version__
from peercron.http.app import ROUTES
from peercron.http.openapi.described import OPERATIONS
from peercron.http.openapi.document import document, key_of
from tests.http.conftest import Site

#: As it is read.
DOCUMENT = msgspec.json.decode(msgspec.json.encode(document(ROUTES)))


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_route_is_described_and_nothing_else() -> None:
    """A new route needs an Operation in the module of its noun in http/openapi/."""
    routes = [key_of(route) for route in ROUTES]
    assert [key for key in routes if key not in OPERATIONS] == []
    assert sorted(key for key, _ in operations()) == sorted(OPERATIONS) == sorted(routes)


def test_it_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_operation_has_a_name_of_its_own_and_a_sentence() -> None:
    twice = [name for name, count in Counter(o["operationId"] for _, o in operations()).items() if count > 1]
    assert twice == []
    assert [key for key, operation in operations() if not operation.get("summary")] == []


async def test_it_is_served_without_a_leader_and_known_again(site: Site) -> None:
    site.node.has_leader = False
    answer = await site.get("/openapi.json")
    assert (answer.status, answer.json["openapi"], answer.json["info"]["version"]) == (200, "3.1.0", __version__)
    assert answer.json == DOCUMENT
    again = await site.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await site.get("/openapi.json", headers={"If-None-Match": '"other"'})).status == 200
