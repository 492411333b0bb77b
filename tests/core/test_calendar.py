"""Calendars: which days they hold, which slots they leave out, and that the answer enters the log with the slots."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peercron.core.calendar import WEEKDAYS, flaw_of_rule, holds
from peercron.core.commands import DeleteCalendar, Fire, PutJob, SetCalendar
from peercron.core.job import CronTrigger, ManualTrigger, Misfire, MisfirePolicy, Mode
from peercron.core.limits import CALENDAR_RULES_MAX
from peercron.core.planner import Planner
from peercron.core.state import ClusterState
from peercron.core.verdict import Refusal
from tests.core.builders import (
    NOW,
    SECOND,
    cluster,
    complaint,
    definition,
    done,
    entries,
    fire,
    fired,
    job,
    outcomes,
    put,
    refused,
)

FRIDAY = int(datetime(2026, 12, 25, tzinfo=UTC).timestamp()) * 1_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("rule", "day", "held"),
    [
        ("2026-12-25", date(2026, 12, 25), True),
        ("2026-12-25", date(2027, 12, 25), False),
        ("12-25", date(2027, 12, 25), True),
        ("02-29", date(2028, 2, 29), True),
        ("2026-12-24..2027-01-01", date(2026, 12, 24), True),
        ("2026-12-24..2027-01-01", date(2027, 1, 1), True),
        ("2026-12-24..2027-01-01", date(2027, 1, 2), False),
        ("fri", date(2026, 12, 25), True),
        ("sat", date(2026, 12, 25), False),
    ],
)
def test_which_days_a_rule_holds(rule: str, day: date, held: bool) -> None:
    assert holds(("2000-01-01", rule), day) is held
    assert flaw_of_rule(rule) == ""


@pytest.mark.parametrize(
    "rule",
    ["", "friday", "2026-02-30", "13-01", "02-30", "2026-12-24..2026-12-23", "20261225", "2026-W52-5", "12-25..12-26"],
)
def test_what_is_no_rule_is_told(rule: str) -> None:
    assert "is no date" in flaw_of_rule(rule)
    assert refused(cluster("a"), SetCalendar("c", (rule,))) is Refusal.INVALID


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_each_day_is_of_one_weekday(day: date) -> None:
    assert [holds((name,), day) for name in WEEKDAYS].count(True) == 1
    assert holds((f"{day}..{day + timedelta(3)}",), day)


def site(**changes: Any) -> ClusterState:
    state = cluster("a")
    done(state, SetCalendar("holidays", ("2026-12-25", "01-01")), FRIDAY - DAY)
    done(state, SetCalendar("work", ("mon", "tue", "wed", "thu", "fri")), FRIDAY - DAY)
    put(state, **({"trigger": CronTrigger("0 12 * * *")} | changes), now_ms=FRIDAY - DAY)
    return state


def decided(state: ClusterState, days: int) -> list[tuple[str, str]]:
    """What the planner and apply make of so many days, each at its noon."""
    planner = Planner(state)
    for n in range(days):
        now_ms = FRIDAY + n * DAY + DAY // 2
        while commands := planner.plan(now_ms):
            for command in commands:
                planner.settle(command, done(state, command, now_ms))
    return [(entry.outcome.value, entry.reason) for slot, entry in entries(state).items() if slot >= FRIDAY]


def test_an_excluded_day_is_skipped_with_the_reason() -> None:
    state = site(exclude=("holidays",))
    assert decided(state, 1) == [("skipped", "2026-12-25 is a day of calendar holidays, which is excluded")]


def test_only_included_days_fire() -> None:
    state = site(include=("work",), exclude=("holidays",))
    told = decided(state, 3)
    assert [reason for _, reason in told] == [
        "2026-12-25 is a day of calendar holidays, which is excluded",
        "2026-12-26 is no day of calendar work",
        "2026-12-27 is no day of calendar work",
    ]


def test_a_day_is_that_of_the_schedules_zone() -> None:
    """Noon in Kiritimati is the evening before in UTC."""
    state = site(trigger=CronTrigger("0 12 * * *", "Pacific/Kiritimati"), exclude=("holidays",))
    planner = Planner(state)
    (command,) = [c for c in planner.plan(FRIDAY - 2 * 3_600_000) if isinstance(c, Fire)] or [None]
    told = []
    while command is not None:
        planner.settle(command, done(state, command, FRIDAY - 2 * 3_600_000))
        told += command.left_out
        command = next((c for c in planner.plan(FRIDAY - 2 * 3_600_000) if isinstance(c, Fire)), None)
    assert told == [(FRIDAY - 2 * 3_600_000, "2026-12-25 is a day of calendar holidays, which is excluded")]


def test_what_is_left_out_does_not_count_as_due() -> None:
    """Of a gap the newest slot that is not left out is made up for."""
    state = cluster("a")
    put(state, misfire=Misfire(MisfirePolicy.LATEST))
    slots = tuple(NOW + n * SECOND for n in (1, 2, 3))
    fired(state, *slots, left_out=((slots[2], "why"),))
    assert outcomes(state) == {slots[0]: "missed", slots[2]: "skipped"}
    assert [run.slot_ms for run in state.runs.values()] == [slots[1]]


def test_a_plan_that_leaves_out_what_it_does_not_list_is_refused() -> None:
    state = cluster("a")
    put(state)
    for out in (((NOW, "why"),), ((NOW + SECOND, ""),)):
        assert refused(state, fire(state, NOW + SECOND, left_out=out), NOW + SECOND) is Refusal.INVALID


def test_calendars_that_jobs_go_by_stay_and_have_to_be_there() -> None:
    state = site(exclude=("holidays",))
    assert refused(state, DeleteCalendar("holidays")) is Refusal.CONFLICT
    done(state, DeleteCalendar("work"))
    assert refused(state, DeleteCalendar("work")) is Refusal.NOT_FOUND
    assert complaint(state, PutJob(definition(include=("work",)))) == "calendar"
    assert job(state).definition.exclude == ("holidays",)


@pytest.mark.parametrize(
    "changes",
    [
        {"include": ("a", "a")},
        {"exclude": tuple(f"c{n}" for n in range(17))},
        {"exclude": ("c",), "trigger": ManualTrigger()},
        {"exclude": ("c",), "mode": Mode.SLICE, "slice_ms": 10_000},
    ],
)
def test_what_a_job_cannot_go_by(changes: dict[str, Any]) -> None:
    assert complaint(cluster("a"), PutJob(definition(**changes))) == "calendar"
    assert refused(cluster("a"), SetCalendar("c", ("sat",) * (CALENDAR_RULES_MAX + 1))) is Refusal.INVALID
