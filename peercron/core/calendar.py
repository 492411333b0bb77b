"""Calendars: named sets of days; a job's slots on days that its calendars leave out come to nothing, with the reason.

Which day a slot falls on depends on time zone data, so the leader's planner asks here, and the answer enters the log
with the slots. A calendar is a list of rules, any of which makes a day one of it:

    2026-12-25                  one day
    2026-12-24..2027-01-01      the days from one to another, both included
    12-25                       that day of every year
    sat                         every Saturday
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from peercron.core.job import AtTrigger, CronTrigger, Definition, EveryTrigger, Job, Mode
from peercron.core.limits import CALENDARS_PER_JOB_MAX
from peercron.core.zones import zone_named

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_YEARLY = re.compile(r"(\d\d)-(\d\d)", re.ASCII)
#: A leap year, so that 29 February is a day.
_ANY_YEAR = 2024


def flaw_of_rule(rule: str) -> str:
    """What is wrong with a rule, in one sentence; empty: nothing.

    >>> flaw_of_rule("2026-02-30").partition(",")[0]
    "'2026-02-30' is no date"
    """
    try:
        if rule in WEEKDAYS:
            return ""
        if found := _YEARLY.fullmatch(rule):
            date(_ANY_YEAR, int(found[1]), int(found[2]))
            return ""
        first, dots, last = rule.partition("..")
        if _day(first) <= _day(last if dots else first):
            return ""
    except ValueError:
        pass
    forms = "no range of dates (2026-12-24..2027-01-01), no day of each year (12-25) and no weekday (sat)"
    return f"{rule[:40]!r} is no date, {forms}"


def flaw_of_calendars(definition: Definition) -> str:
    """What is wrong with the calendars that a job goes by; empty: nothing. Whether they are there is not asked."""
    names = (*definition.include, *definition.exclude)
    if len(names) > CALENDARS_PER_JOB_MAX or len(set(names)) < len(names):
        return f"calendar: wants at most {CALENDARS_PER_JOB_MAX} calendars, each once"
    if names and not isinstance(definition.trigger, CronTrigger | EveryTrigger | AtTrigger):
        return "calendar: has a meaning only with schedule, every or at"
    if names and definition.mode is Mode.SLICE:
        return "calendar: is kept by the cluster, and nodes in mode slice ask nobody"
    return ""


def holds(rules: Sequence[str], day: date) -> bool:
    """Whether the day is one of the calendar's."""
    return any(_holds(rule, day) for rule in rules)


def left_out(job: Job, calendars: Mapping[str, tuple[str, ...]], slots: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """Those of the slots that the job's calendars leave out, each with the reason; by local days of its schedule."""
    include, exclude = job.definition.include, job.definition.exclude
    if not include and not exclude:
        return ()
    trigger = job.definition.trigger
    zone = (zone_named(trigger.timezone) if isinstance(trigger, CronTrigger) else None) or UTC
    found = []
    for slot_ms in slots:
        day = datetime.fromtimestamp(slot_ms // 1_000, UTC).astimezone(zone).date()
        against = [name for name in exclude if holds(calendars.get(name, ()), day)]
        if against:
            found.append((slot_ms, f"{day.isoformat()} is a day of calendar {against[0]}, which is excluded"))
        elif include and not any(holds(calendars.get(name, ()), day) for name in include):
            found.append((slot_ms, f"{day.isoformat()} is no day of calendar {' or '.join(include)}"))
    return tuple(found)


def _holds(rule: str, day: date) -> bool:
    if rule in WEEKDAYS:
        return WEEKDAYS[day.weekday()] == rule
    if _YEARLY.fullmatch(rule):
        return f"{day.month:02}-{day.day:02}" == rule
    first, dots, last = rule.partition("..")
    return _day(first) <= day <= _day(last if dots else first)


def _day(text: str) -> date:
    if _DATE.fullmatch(text) is None:  # what else is a date depends on the version of Python
        raise ValueError(text)
    return date.fromisoformat(text)
