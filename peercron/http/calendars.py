"""Routes of calendars: named sets of days that jobs include or exclude.

Their days are written 2026-12-25, 2026-12-24..2027-01-01, 12-25 (each year) or sat.
"""

from __future__ import annotations

from typing import Any

from peercron.core.commands import DeleteCalendar, SetCalendar
from peercron.core.state import ClusterState
from peercron.http.catalog import Catalog


def calendar_view(state: ClusterState, name: str) -> dict[str, Any]:
    """A calendar: its name, and its days as they were written."""
    return {"name": name, "days": list(state.calendars[name])}


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(day, str) for day in value)


CALENDARS = Catalog(
    word="calendar",
    rows=lambda state: state.calendars,
    view=calendar_view,
    field="days",
    right=("a list of texts", _are_texts),
    put=lambda name, days: SetCalendar(name, tuple(days)),
    delete=DeleteCalendar,
)
ROUTES = tuple(CALENDARS.routes())
