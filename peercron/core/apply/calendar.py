"""Calendars: named sets of days that jobs include or exclude."""

from __future__ import annotations

from collections.abc import Iterable

from peercron.core.apply.definition import named
from peercron.core.calendar import flaw_of_rule
from peercron.core.commands import DeleteCalendar, SetCalendar
from peercron.core.job import Definition
from peercron.core.limits import CALENDAR_RULES_MAX, CALENDARS_MAX
from peercron.core.state import ClusterState
from peercron.core.verdict import Done, Refusal, Refused, Verdict


def set_calendar(state: ClusterState, command: SetCalendar) -> Verdict:
    """Slots that are decided from now on go by the new rules."""
    if not named(command.name):
        return Refused(state.index, Refusal.INVALID, f"name: {command.name!r} is not a name of letters, digits, . _ -")
    if not 0 < len(command.rules) <= CALENDAR_RULES_MAX:
        return Refused(state.index, Refusal.INVALID, f"days: wants 1 to {CALENDAR_RULES_MAX} rules")
    wrong = next(filter(None, map(flaw_of_rule, command.rules)), "")
    if wrong:
        return Refused(state.index, Refusal.INVALID, f"days: {wrong}")
    if command.name not in state.calendars and len(state.calendars) >= CALENDARS_MAX:
        return Refused(state.index, Refusal.LIMIT, f"a cluster has at most {CALENDARS_MAX} calendars")
    state.calendars[command.name] = command.rules
    state.happened("calendar", "set", command.name, rules=len(command.rules))
    return Done(state.index, command.name)


def delete_calendar(state: ClusterState, command: DeleteCalendar) -> Verdict:
    name = command.name
    if name not in state.calendars:
        return Refused(state.index, Refusal.NOT_FOUND, f"there is no calendar {name}")
    rows = ((job.key, job.definition) for job in state.jobs.values())
    user = next((key for key, row in rows if name in (*row.include, *row.exclude)), None)
    if user is not None:
        return Refused(state.index, Refusal.CONFLICT, f"job {user} goes by calendar {name}; edit that first")
    del state.calendars[name]
    state.happened("calendar", "deleted", name)
    return Done(state.index, name)


def unknown_calendar(state: ClusterState, definitions: Iterable[Definition]) -> str:
    """Why these definitions cannot be put: they name a calendar that is not there; empty: they do not."""
    for definition in definitions:
        for name in (*definition.include, *definition.exclude):
            if name not in state.calendars:
                return f"calendar: there is no calendar {name}; `peercron calendar set {name} FILE` makes it"
    return ""
