"""Routes of calendars: named sets of days that jobs include or exclude."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from peercron.core.commands import DeleteCalendar, SetCalendar
from peercron.core.state import ClusterState
from peercron.errors import ConfigError, Problem, Refused
from peercron.http.answers import json_answer
from peercron.http.asking import READ_PARAMETERS, Route, commit, fields_of_body, fresh, node_of


def _view(state: ClusterState, name: str) -> dict[str, Any]:
    return {"name": name, "days": list(state.calendars[name])}


async def list_calendars(request: web.Request) -> web.Response:
    state = await fresh(request)
    return json_answer({"calendars": [_view(state, name) for name in sorted(state.calendars)]})


async def get_calendar(request: web.Request) -> web.Response:
    state, name = await fresh(request), request.match_info["name"]
    if name not in state.calendars:
        raise Refused("not_found", f"there is no calendar {name}", state.index)
    return json_answer(_view(state, name))


async def put_calendar(request: web.Request) -> web.Response:
    """{"days": ["2026-12-25", "2026-12-24..2027-01-01", "12-25", "sat"]}, in the place of those it had."""
    days = (await fields_of_body(request, "days")).get("days")
    if not isinstance(days, list) or not all(isinstance(day, str) for day in days):
        raise ConfigError([Problem("days", "must be a list of texts")])
    name = request.match_info["name"]
    await commit(request, SetCalendar(name, tuple(days)))
    return json_answer(_view(node_of(request).state, name))


async def delete_calendar(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    await commit(request, DeleteCalendar(name))
    return json_answer({"deleted": name})


ROUTES = (
    Route("GET", "/v1/calendars", list_calendars, READ_PARAMETERS),
    Route("GET", "/v1/calendars/{name}", get_calendar, READ_PARAMETERS),
    Route("PUT", "/v1/calendars/{name}", put_calendar),
    Route("DELETE", "/v1/calendars/{name}", delete_calendar),
)
