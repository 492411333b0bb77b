"""schedule: when a trigger fires: its slots, as whole milliseconds of UTC since 1970.

For cron, croniter finds the days and the clock-change rules of this module decide the instants on them. Local time is
a row of stretches with one offset each; a change joins two, and either skips some local time or repeats some.

* `dst_gap = run_after`: local times that were skipped make one slot, at the first instant after the gap.
  `skip`: they make none.
* `dst_overlap = first`, `second`, `both`: local times that come twice make a slot in that pass, or in both.

An expression is *fixed-time* when neither minute nor hour begins with `*`: it gets run_after and first. Any other is a
rhythm that follows elapsed time: skip and both. A trigger may override each.

That is what Debian's cron does and what the package cronsim computes, which is the oracle of the tests. Known
differences, each on purpose:

1. Six fields with a fixed minute and hour are fixed-time like five; cronsim never treats six fields so. All their
   skipped times make one slot, at the end of the gap.
2. A rhythm has every instant whose local time matches, and no other. cronsim leaves some out on the day of a change by
   or at odd minutes (Lord Howe, Caracas); where midnight is skipped it invents an instant (Beirut) or misses the day
   (Apia, 2010); where midnight comes twice it goes in circles (St. John's 1997, Casey 2010).
3. Slots come strictly after the instant asked about. cronsim asked in the second pass of an overlap first gives
   instants of the first.
4. A range of one number with a step (`5-5/10`) is that number, as in Debian; cronsim goes on to the end of the field.
5. Refused though cronsim takes them: steps wider than their field (`*/90`), and a step after L or LW.
6. cronsim knows neither `H` nor `@daily` and its like.

A change of more than three hours (a date line moved) is treated like any other, as in cronsim; Debian's daemon takes it
for a correction of the clock.

There are no cron slots before 1970 or after 8999. Every function takes the job's `uid`, for `H`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import islice

from croniter import CroniterBadDateError, croniter

from peercron.core.clock_changes import LAST_S, Slots
from peercron.core.cron import EVERY_DAY, ExpressionError, Field, Pick, parse, picks_by_uid
from peercron.core.job import AtTrigger, CronTrigger, DstGap, DstOverlap, EveryTrigger, Trigger
from peercron.core.limits import EVERY_MS_MIN
from peercron.core.times_of_day import TimesOfDay
from peercron.core.zones import DAY, zone_named

#: Expressions kept read; with H each job has its own.
RULES_KEPT = 8_192
CALENDARS_KEPT = 4_096
DAYS_KEPT = 32_768
#: Every date that can come at all comes in the 50 years from here, which is as far as croniter looks.
PROBE_DAY = 0
SECOND_MS = 1_000


class ScheduleError(ValueError):
    """A trigger that `check` refuses; the message is the sentence that `check` gives."""


def check(trigger: Trigger) -> str | None:
    """None for a trigger that makes sense; else one sentence that names the field, its value and what is accepted.

    >>> check(CronTrigger("30 25 * * *")).partition(";")[0]
    "hour: '25' (column 4) is not accepted"
    """
    match trigger:
        case CronTrigger():
            return _check_cron(trigger)
        case EveryTrigger():
            too_short = trigger.every_ms < EVERY_MS_MIN
            return f"every: {trigger.every_ms} ms is too short; at least {EVERY_MS_MIN} ms" if too_short else None
        case AtTrigger():
            inside = 0 <= trigger.at_ms <= LAST_S * SECOND_MS
            return None if inside else f"at: {trigger.at_ms} ms is not accepted; write an instant from 1970 to 8999"
        case _:  # waits for something to happen
            return None


def next_slot(trigger: Trigger, after_ms: int, uid: str) -> int | None:
    """The first slot strictly after an instant; None: there is none. Raises ScheduleError.

    >>> next_slot(CronTrigger("@daily"), 0, "")
    86400000
    """
    return next(_slots_after(trigger, after_ms, uid), None)


def slots_between(trigger: Trigger, after_ms: int, through_ms: int, uid: str, limit: int) -> tuple[int, ...]:
    """The first `limit` slots after one instant and not after another, in order. Raises ScheduleError."""
    found = []
    for slot in islice(_slots_after(trigger, after_ms, uid), max(0, limit)):
        if slot > through_ms:
            break
        found.append(slot)
    return tuple(found)


def latest_slots(trigger: Trigger, after_ms: int, through_ms: int, uid: str, limit: int) -> tuple[int, ...]:
    """The last `limit` slots after one instant and not after another, in order. Raises ScheduleError.

    Walks back from `through_ms`: the work grows with `limit`, not with the time between.
    """
    found = []
    for slot in islice(_slots_back(trigger, through_ms, uid), max(0, limit)):
        if slot <= after_ms:
            break
        found.append(slot)
    return tuple(reversed(found))


def period_ms(trigger: Trigger, at_ms: int, uid: str) -> int:
    """Distance from the last slot at or before an instant to the next after it; 0: one of them is missing.

    Raises ScheduleError.
    """
    before = next(_slots_back(trigger, at_ms, uid), None)
    after = next(_slots_after(trigger, at_ms, uid), None)
    return 0 if before is None or after is None else after - before


def _slots_after(trigger: Trigger, after_ms: int, uid: str) -> Iterator[int]:
    match trigger:
        case CronTrigger():
            slots = _slots_of(trigger, uid)
            second = slots.first_after(after_ms // SECOND_MS)
            while second is not None:
                yield second * SECOND_MS
                second = slots.first_after(second)
        case EveryTrigger():
            every = _every_of(trigger)
            slot = trigger.anchor_ms + ((after_ms - trigger.anchor_ms) // every + 1) * every
            while True:
                yield slot
                slot += every
        case AtTrigger():
            if trigger.at_ms > after_ms:
                yield trigger.at_ms
        case _:
            return


def _slots_back(trigger: Trigger, through_ms: int, uid: str) -> Iterator[int]:
    match trigger:
        case CronTrigger():
            slots = _slots_of(trigger, uid)
            second = slots.last_through(through_ms // SECOND_MS)
            while second is not None:
                yield second * SECOND_MS
                second = slots.last_through(second - 1)
        case EveryTrigger():
            every = _every_of(trigger)
            slot = trigger.anchor_ms + (through_ms - trigger.anchor_ms) // every * every
            while True:
                yield slot
                slot -= every
        case AtTrigger():
            if trigger.at_ms <= through_ms:
                yield trigger.at_ms
        case _:
            return


def _every_of(trigger: EveryTrigger) -> int:
    if (refused := check(trigger)) is not None:
        raise ScheduleError(refused)
    return trigger.every_ms


@dataclass(frozen=True, slots=True)
class _CronTimes:
    """The local times that an expression matches."""

    times: TimesOfDay
    #: Calendars that have days, as croniter reads them.
    days: tuple[str, ...]

    def wall_after(self, above: int) -> int | None:
        day, second = divmod(above, DAY)
        time = self.times.first_after(second)
        found = _first_day(self.days, day if time is not None else day + 1)
        if found is None:
            return None
        return found * DAY + (time if time is not None and found == day else self.times.first())

    def wall_through(self, below: int) -> int | None:
        day, second = divmod(below, DAY)
        time = self.times.last_through(second)
        found = _last_day(self.days, day if time is not None else day - 1)
        if found is None:
            return None
        return found * DAY + (time if time is not None and found == day else self.times.last())


def _check_cron(trigger: CronTrigger) -> str | None:
    # H in the month is the one pick that can miss every day (`0 0 31 H *`): no job may draw such a lot.
    try:
        for lot in range(12 if picks_by_uid(trigger.expression) else 1):
            _read(trigger, partial(_always, lot))
    except ScheduleError as refused:
        return str(refused)
    return None


def _always(lot: int, _: Field) -> int:
    return lot


def _slots_of(trigger: CronTrigger, uid: str) -> Slots:
    return _read_for(trigger, uid if picks_by_uid(trigger.expression) else "")


@lru_cache(maxsize=RULES_KEPT)
def _read_for(trigger: CronTrigger, uid: str) -> Slots:
    return _read(trigger, partial(_hash, uid))


def _hash(uid: str, field: Field) -> int:
    return int.from_bytes(blake2b(f"{field.name} {uid}".encode(), digest_size=8).digest())


def _read(trigger: CronTrigger, pick: Pick) -> Slots:
    zone = zone_named(trigger.timezone)
    if zone is None:
        raise ScheduleError(f"timezone: {trigger.timezone!r} is not known; write a name like Europe/Berlin, or UTC")
    try:
        said = parse(trigger.expression, pick)
    except ExpressionError as refused:
        raise ScheduleError(str(refused)) from None
    days = tuple(calendar for calendar in said.days if _next_day(calendar, PROBE_DAY) is not None)
    if not days:
        raise ScheduleError(
            f"day-of-month: {trigger.expression!r} never fires; write days that its months and weekdays have"
        )
    gap, overlap = (DstGap.RUN_AFTER, DstOverlap.FIRST) if said.fixed_time else (DstGap.SKIP, DstOverlap.BOTH)
    return Slots(_CronTimes(said.times, days), zone, trigger.dst_gap or gap, trigger.dst_overlap or overlap)


def _first_day(calendars: tuple[str, ...], day: int) -> int | None:
    """The first day of any calendar from a day on, in days since 1970."""
    if calendars == (EVERY_DAY,):
        return day
    found = [each for calendar in calendars if (each := _next_day(calendar, day)) is not None]
    return min(found, default=None)


def _last_day(calendars: tuple[str, ...], day: int) -> int | None:
    if calendars == (EVERY_DAY,):
        return day
    found = [each for calendar in calendars if (each := _previous_day(calendar, day)) is not None]
    return max(found, default=None)


@lru_cache(maxsize=CALENDARS_KEPT)
def _calendar(text: str) -> croniter:
    return croniter(text, 0.0, ret_type=float, day_or=False)


@lru_cache(maxsize=DAYS_KEPT)
def _next_day(calendar: str, day: int) -> int | None:
    # Floats of whole seconds are exact here. A copy, since croniter moves as it looks. It gives what is strictly later.
    try:
        return int(copy.copy(_calendar(calendar)).get_next(float, start_time=day * DAY - 60.0)) // DAY
    except CroniterBadDateError:
        return None


@lru_cache(maxsize=DAYS_KEPT)
def _previous_day(calendar: str, day: int) -> int | None:
    try:
        return int(copy.copy(_calendar(calendar)).get_prev(float, start_time=day * DAY + 60.0)) // DAY
    except CroniterBadDateError:
        return None
