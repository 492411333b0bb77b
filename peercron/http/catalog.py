"""Catalogs: small tables whose rows are known by a name: each is listed, read, put and deleted in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from peercron.core.commands import Command
from peercron.core.state import ClusterState
from peercron.core.token import Scope
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import json_answer
from peercron.http.asking import READ_PARAMETERS, Route, commit, fields_of_body, fresh, node_of
from peercron.http.fields import integral


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """One kind of row.

    Args:
        word: what a row is called; its routes are /v1/{word}s.
        rows: the table, by name.
        view: JSON of the row of this name, which is there.
        field: the one field that a PUT has.
        right: what the field wants, in words, and whether a value is that.
        put: the command that makes a row of this name and value, or changes it.
        delete: the command that drops it.
    """

    word: str
    rows: Callable[[ClusterState], Mapping[str, object]]
    view: Callable[[ClusterState, str], dict[str, Any]]
    field: str
    right: tuple[str, Callable[[Any], bool]]
    put: Callable[[str, Any], Command]
    delete: Callable[[str], Command]

    async def list_rows(self, request: web.Request) -> web.Response:
        """All of them, in order of name."""
        state = await fresh(request)
        return json_answer({f"{self.word}s": [self.view(state, name) for name in sorted(self.rows(state))]})

    async def get_row(self, request: web.Request) -> web.Response:
        """The one of this name."""
        state, name = await fresh(request), request.match_info["name"]
        if name not in self.rows(state):
            raise Refused("not_found", f"there is no {self.word} {name}", state.index)
        return json_answer(self.view(state, name))

    async def put_row(self, request: web.Request) -> web.Response:
        """Make it, or put this in the place of what it was: a pool's {"size": 3}, a calendar's {"days": ["12-25"]}."""
        value = integral((await fields_of_body(request, self.field)).get(self.field))
        wanted, is_right = self.right
        if not is_right(value):
            raise ConfigError([Problem(self.field, f"must be {wanted}")])
        name = request.match_info["name"]
        await commit(request, self.put(name, value))
        return json_answer(self.view(node_of(request).state, name))

    async def delete_row(self, request: web.Request) -> web.Response:
        """Drop it, where no job goes by it."""
        name = request.match_info["name"]
        await commit(request, self.delete(name))
        return json_answer({"deleted": name})

    def routes(self) -> Iterator[Route]:
        """Its four routes."""
        all_, one = f"/v1/{self.word}s", f"/v1/{self.word}s/{{name}}"
        yield Route("GET", all_, self.list_rows, Scope.READ, READ_PARAMETERS)
        yield Route("GET", one, self.get_row, Scope.READ, READ_PARAMETERS)
        yield Route("PUT", one, self.put_row, Scope.JOBS)
        yield Route("DELETE", one, self.delete_row, Scope.JOBS)
