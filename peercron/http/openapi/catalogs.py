"""Catalogs: pools, which bound how many attempts are alive at once, and calendars, which name sets of days."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from peercron.core.calendar import WEEKDAYS
from peercron.core.limits import CALENDAR_RULES_MAX, POOL_SIZE_MAX
from peercron.http.openapi.operation import Operation
from peercron.http.openapi.shape import DATE, MONTH_DAY, Count, Shape

_Size = Annotated[int, Meta(ge=0, le=POOL_SIZE_MAX, description="0: nothing runs")]
_Day = Annotated[str, Meta(pattern=rf"^({DATE}(\.\.{DATE})?|{MONTH_DAY}|{'|'.join(WEEKDAYS)})$")]
_Days = Annotated[
    list[_Day],
    Meta(min_length=1, max_length=CALENDAR_RULES_MAX, description="2026-12-25, 2026-12-24..2027-01-01, 12-25 or sat"),
]


class PoolBody(Shape):
    """How many attempts of the jobs of this pool may be alive at once."""

    size: _Size


class Pool(Shape):
    """A pool.

    used: how many attempts are alive in it
    waiting: ids of the runs that wait for it, the next one first
    """

    name: str
    size: _Size
    used: Count
    waiting: list[str]


class PoolList(Shape):
    """Pools in order of name."""

    pools: list[Pool]


class CalendarBody(Shape):
    """Days."""

    days: _Days


class Calendar(Shape):
    """A named set of days."""

    name: str
    days: _Days


class CalendarList(Shape):
    """Calendars in order of name."""

    calendars: list[Calendar]


class RowDeleted(Shape):
    """The name of what is gone."""

    deleted: str


OPERATIONS: Final = {
    "GET /v1/pools": Operation("listPools", {200: PoolList}),
    "GET /v1/pools/{name}": Operation("getPool", {200: Pool}),
    "PUT /v1/pools/{name}": Operation("putPool", {200: Pool}, body=PoolBody),
    "DELETE /v1/pools/{name}": Operation("deletePool", {200: RowDeleted}),
    "GET /v1/calendars": Operation("listCalendars", {200: CalendarList}),
    "GET /v1/calendars/{name}": Operation("getCalendar", {200: Calendar}),
    "PUT /v1/calendars/{name}": Operation("putCalendar", {200: Calendar}, body=CalendarBody),
    "DELETE /v1/calendars/{name}": Operation("deleteCalendar", {200: RowDeleted}),
}
