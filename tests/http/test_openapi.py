"""The description of the HTTP face: whole, valid, true to what the server takes, and served whatever else is broken."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from openapi_spec_validator import validate

from peercron import __version__
from peercron.http import asking
from peercron.http.app import ROUTES
from peercron.http.jobs import ADDED
from peercron.http.openapi.described import OPERATIONS
from peercron.http.openapi.document import key_of
from peercron.http.openapi.operation import JSON
from peercron.jobspec import tables
from tests.http.conftest import Site
from tests.http.promises import DOCUMENT, hold_example
from tests.style.trees import ROOT


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
    assert [key for key, operation in operations() if not operation.get("summary", "")[:1].isalpha()] == []


@pytest.mark.parametrize(
    ("key", "operation"), [(key, o) for key, o in operations() if JSON in o.get("requestBody", {}).get("content", {})]
)
async def test_a_body_has_the_fields_that_are_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch, key: str, operation: dict[str, Any]
) -> None:
    """The server knows which fields it takes, and says so to whoever sends another."""
    schema = operation["requestBody"]["content"][JSON]["schema"]
    if "$ref" not in schema:  # any JSON
        return
    asked: list[tuple[str, ...]] = []
    for module in (asking, tables):
        monkeypatch.setattr(module, "nearest", lambda word, known: asked.append(tuple(known)) or "")
    method, path = re.sub(r"\{\w+\}", "1", key).split()
    await site.put_job("1")
    answer = await site.ask(method, path, {"no such field": 1})
    assert answer.status == 422
    documented = set(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"])
    assert documented - (ADDED if "jobs" in key else set()) == set(asked[0])


def test_examples_are_what_they_are_examples_of() -> None:
    found = 0
    for key, operation in operations():
        example = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("example")
        if example is not None:
            method, path = key.split()
            hold_example(method, path, example)
            found += 1
    assert found


def test_a_server_is_made_without_it() -> None:
    """It takes its time to import and to make, which a node that starts has not."""
    program = "import sys, peercron.http.app; print([m for m in sys.modules if '.openapi' in m])"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True).stdout == b"[]\n"


async def test_it_is_served_without_a_leader_and_known_again(site: Site) -> None:
    site.node.has_leader = False
    answer = await site.get("/openapi.json")
    assert (answer.status, answer.json["openapi"], answer.json["info"]["version"]) == (200, "3.1.0", __version__)
    assert answer.json == DOCUMENT
    again = await site.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await site.get("/openapi.json", headers={"If-None-Match": '"other"'})).status == 200
