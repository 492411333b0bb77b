"""Random cron expressions, zones and instants around clock changes: our slots are cronsim's.

Where the rules and cronsim part on purpose (see peercron.core.schedule), a second oracle decides: it writes down every
local time that cronsim's own field sets match, asks zoneinfo what becomes of each, and sorts. It knows stretches and
calendars no more than cronsim does.
"""

from __future__ import annotations

import re
import sys
import zoneinfo
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError

from peercron.core.job import CronTrigger, DstGap, DstOverlap
from peercron.core.schedule import check, latest_slots, slots_between

# fmt: off
ZONES = [
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "America/Asuncion", "America/Caracas", "America/Havana",
    "America/New_York", "America/Nuuk", "America/Santiago", "America/Sao_Paulo", "America/St_Johns",
    "Antarctica/Casey", "Antarctica/Troll", "Antarctica/Vostok", "Asia/Amman", "Asia/Beirut", "Asia/Gaza",
    "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Tehran", "Atlantic/Azores", "Australia/Adelaide",
    "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Europe/Istanbul", "Europe/Lisbon", "Europe/London",
    "Europe/Moscow", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kiritimati",
    "Pacific/Kwajalein", "Pacific/Norfolk", "UTC",
]
# fmt: on
DAY = 86_400
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1990, 2040))
FOLLOWED = 3
FAR_MS = 2**62
WINDOW_DAYS = 4
ENUMERATED_MAX = 120
TICKS = 20_000


# --- what is asked


@dataclass(frozen=True)
class Change:
    at: int
    before: int
    after: int

    @property
    def skips_midnight(self) -> bool:
        return (self.at + self.before - 1) // DAY < (self.at + self.after - 1) // DAY

    @property
    def repeats_midnight(self) -> bool:
        return (self.at + self.after) // DAY < (self.at + self.before - 1) // DAY

    @property
    def in_whole_hours(self) -> bool:
        return (self.after - self.before) % 3600 == 0 and (self.at + self.before) % 3600 == 0


def offset(zone: ZoneInfo, at: int) -> int:
    shown = datetime.fromtimestamp(at, zone).replace(tzinfo=UTC)
    return int(shown.timestamp()) - at


@cache
def changes(name: str) -> tuple[Change, ...]:
    zone = ZoneInfo(name)
    days = [(low, high) for low, high in pairwise(range(FIRST, LAST, DAY)) if offset(zone, low) != offset(zone, high)]
    return tuple(change_between(zone, low, high) for low, high in days)


def change_between(zone: ZoneInfo, low: int, high: int) -> Change:
    before, after = offset(zone, low), offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return Change(high, before, after)


def some_instant_ms(random: Random, zone: str) -> int:
    if changes(zone):
        at = random.choice(changes(zone)).at
        at += random.randint(-3 * DAY, 3 * DAY) if random.random() < 0.5 else random.randint(-4 * 3600, 4 * 3600)
    else:
        at = random.randrange(FIRST, LAST)
    if random.random() < 0.3:
        at -= at % random.choice((60, 900, 1800, 3600))
    return at * 1000 + random.choice((0, 0, 0, 1, 500, 999))


@dataclass(frozen=True)
class Column:
    low: int
    high: int
    size: int
    names: tuple[str, ...] = ()

    def value(self, random: Random, low: int, high: int) -> tuple[int, str]:
        number = random.randint(low, high)
        named = self.names and number - self.low < len(self.names) and random.random() < 0.4
        name = self.names[number - self.low] if named else ""
        return number, random.choice((name, name.lower())) if name else str(number)

    def term(self, random: Random) -> str:
        kind = random.random()
        if kind < 0.08:
            return "*"
        if kind < 0.25:
            return f"*/{random.randint(1, self.size) if random.random() < 0.3 else random.randint(1, 7)}"
        number, text = self.value(random, self.low, self.high)
        if kind < 0.6:
            return text
        if kind < 0.7:
            return f"{text}/{random.randint(1, self.size)}"
        end, end_text = self.value(random, number, self.high)
        step = f"/{random.randint(1, min(self.size, 9))}" if kind > 0.85 and end != number else ""
        return f"{text}-{end_text}{step}"

    def text(self, random: Random, star: float) -> str:
        if random.random() < star:
            return "*"
        return ",".join(self.term(random) for _ in range(random.choice((1, 1, 1, 2, 3))))


class DaysOfMonth(Column):
    def term(self, random: Random) -> str:
        return random.choice(("L", "LW", "l")) if random.random() < 0.12 else super().term(random)


class DaysOfWeek(Column):
    def term(self, random: Random) -> str:
        kind = random.random()
        if kind < 0.1:
            return f"{random.randint(0, 7)}L"
        if kind < 0.25:
            return f"{self.value(random, self.low, self.high)[1]}#{random.randint(1, 5)}"
        return super().term(random)


SECONDS = MINUTES = Column(0, 59, 60)
HOURS = Column(0, 23, 24)
DAYS = DaysOfMonth(1, 31, 31)
MONTHS = Column(1, 12, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))
WEEKDAYS = DaysOfWeek(0, 7, 7, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))

#: Days that few months have, or none.
RARE = (
    ("29", "30", "31", "30,31", "29-31", "*/30", "*/9", "*/15", "L", "LW", "*"),
    ("2", "FEB", "2,4", "4,6,9,11", "2/12", "*/6", "*"),
    ("*", "*/2", "*/7", "MON#5", "5L", "1#1,7L", "SUN#5,WED", "*,3"),
)


def some_expression(random: Random) -> str:
    columns = [
        MINUTES.text(random, star=0.2),
        HOURS.text(random, star=0.3),
        DAYS.text(random, star=0.6),
        MONTHS.text(random, star=0.7),
        WEEKDAYS.text(random, star=0.6),
    ]
    if random.random() < 0.1:
        columns[2:] = (random.choice(rare) for rare in RARE)
    if random.random() < 0.25:
        columns.insert(0, SECONDS.text(random, star=0.2))
    return " ".join(columns)


# --- who answers


class Bounded(CronSim):
    """cronsim, ending where it would go in circles: when midnight comes twice (St. John's 1997, Casey 2010)."""

    left = TICKS

    def tick(self, seconds: int = 1) -> None:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        super().tick(seconds)


def by_cronsim(trigger: CronTrigger, after_ms: int) -> list[int]:
    """The next slots of cronsim; what it gives twice, or from before the question, is left out."""
    found: list[int] = []
    for shown in Bounded(trigger.expression, datetime.fromtimestamp(after_ms // 1000, ZoneInfo(trigger.timezone))):
        slot_ms = int(shown.timestamp()) * 1000
        if slot_ms > max(found, default=after_ms):
            found.append(slot_ms)
        if len(found) == FOLLOWED:
            break
    return found


def by_enumeration(trigger: CronTrigger, after_ms: int, through_ms: int) -> list[int]:
    """All slots after one instant and not after another."""
    zone = ZoneInfo(trigger.timezone)
    fixed = is_fixed_time(trigger.expression)
    gap = trigger.dst_gap or (DstGap.RUN_AFTER if fixed else DstGap.SKIP)
    overlap = trigger.dst_overlap or (DstOverlap.FIRST if fixed else DstOverlap.BOTH)
    low, high = (datetime.fromtimestamp(ms // 1000, zone).replace(tzinfo=None) for ms in (after_ms, through_ms))
    reach = timedelta(seconds=max((abs(each.after - each.before) for each in changes(trigger.timezone)), default=0))
    found = {
        int(instant.timestamp()) * 1000
        for wall in walls(trigger.expression, low - reach, high + reach)
        for instant in instants(wall.replace(tzinfo=zone), gap, overlap)
    }
    return sorted(slot_ms for slot_ms in found if after_ms < slot_ms <= through_ms)


def walls(expression: str, low: datetime, high: datetime) -> Iterator[datetime]:
    sim = CronSim(expression, low)
    day: date = low.date()
    while day <= high.date():
        if day.month in sim.months and sim.match_day(day):
            for hour in sim.hours:
                start = datetime.combine(day, time(hour))
                if low - timedelta(hours=1) <= start <= high:
                    yield from (start.replace(minute=m, second=s) for m in sim.minutes for s in sim.seconds)
        day += timedelta(days=1)


def instants(wall: datetime, gap: DstGap, overlap: DstOverlap) -> list[datetime]:
    first, second = wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if first.astimezone(wall.tzinfo).replace(fold=0) != wall:
        if gap is DstGap.SKIP:
            return []
        return [gap_end(wall.replace(second=0))]
    if overlap is DstOverlap.BOTH:
        return [first, second]
    return [first if overlap is DstOverlap.FIRST else second]


@cache
def gap_end(wall: datetime) -> datetime:
    while wall.astimezone(UTC).astimezone(wall.tzinfo) != wall:
        wall += timedelta(minutes=1)
    return wall.astimezone(UTC)


def is_fixed_time(expression: str) -> bool:
    minute, hour = expression.split()[-5:-3]
    return not minute.startswith("*") and not hour.startswith("*")


# --- and whether they agree


@dataclass
class Tally:
    agreed: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.agreed.items()))
        return f"{kinds}; {self.refused} refused by both; {len(self.wrong)} WRONG"


def one_case(random: Random, zones: list[str], tally: Tally) -> None:
    zone = random.choice(zones)
    trigger, after_ms = CronTrigger(some_expression(random), zone), some_instant_ms(random, zone)
    try:
        expected = by_cronsim(trigger, after_ms)
    except CronSimError:
        expected = []
    if refusal := check(trigger):
        tally.refused += 1
        if expected or "never fires" not in refusal:
            tally.wrong.append(f"{trigger} is refused: {refusal}")
        return
    ours = list(slots_between(trigger, after_ms, FAR_MS, "", FOLLOWED))
    if len(trigger.expression.split()) == 6 and is_fixed_time(trigger.expression):
        compare_enumerated(trigger, after_ms, "six fields, fixed-time", tally)
    elif ours == expected:
        tally.agreed["as cronsim"] += 1
    elif why := known_miss(trigger, after_ms, expected):
        compare_enumerated(trigger, after_ms, why, tally)
    else:
        tally.wrong.append(f"{trigger} after {after_ms}: ours {ours}, cronsim {expected}")
    if random.random() < 0.2:
        gap, overlap = random.choice((None, *DstGap)), random.choice((None, *DstOverlap))
        ruled = CronTrigger(trigger.expression, zone, gap, overlap)
        compare_enumerated(ruled, after_ms, "with rules of its own", tally)


def known_miss(trigger: CronTrigger, after_ms: int, expected: list[int]) -> str:
    """What cronsim is known to get wrong: rhythms about an odd change. Empty: it should have been right."""
    if is_fixed_time(trigger.expression):
        return ""
    low, high = after_ms // 1000 - DAY, max(expected, default=after_ms + 3 * DAY * 1000) // 1000 + DAY
    near = [change for change in changes(trigger.timezone) if low <= change.at <= high]
    if any(not change.in_whole_hours for change in near):
        return "rhythms where cronsim stumbles over a change of odd minutes"
    if any(change.skips_midnight for change in near):
        return "rhythms where cronsim stumbles over a skipped midnight"
    if any(change.repeats_midnight for change in near):
        return "rhythms where cronsim stumbles over a repeated midnight"
    return ""


def compare_enumerated(trigger: CronTrigger, after_ms: int, kind: str, tally: Tally) -> None:
    through_ms = after_ms + WINDOW_DAYS * DAY * 1000
    first = slots_between(trigger, after_ms, through_ms, "", ENUMERATED_MAX)
    if len(first) == ENUMERATED_MAX:
        through_ms = first[-1]
    expected = by_enumeration(trigger, after_ms, through_ms)
    forward = list(slots_between(trigger, after_ms, through_ms, "", len(expected) + 1))
    back = list(latest_slots(trigger, after_ms, through_ms, "", len(expected) + 1))
    if forward == back == expected:
        tally.agreed[kind] += 1
    else:
        odd = sorted({*forward, *back} ^ {*expected})[:5]
        tally.wrong.append(f"{trigger} after {after_ms}: the enumeration differs at {odd} ({kind})")


def compare(seed: int, cases: int, zones: list[str], report_every: int = 0) -> Tally:
    random, tally = Random(seed), Tally()
    for done in range(1, cases + 1):
        one_case(random, zones, tally)
        if report_every and done % report_every == 0:
            sys.stdout.write(f"\nseed {seed}: {done} of {cases}: {tally}")
            sys.stdout.flush()
    return tally


def test_slots_are_those_of_cronsim() -> None:
    tally = compare(seed=20_261, cases=2_000, zones=ZONES)
    assert tally.wrong == []
    assert tally.agreed["as cronsim"] > 1_500, "the generator has grown poor"
    assert tally.refused > 10
    assert tally.agreed["with rules of its own"] > 200


def test_misspelt_expressions_are_read_or_refused_as_by_cronsim() -> None:
    random, taken = Random(20_262), 0
    for _ in range(4_000):
        expression = misspelt(random, some_expression(random))
        trigger, after_ms = CronTrigger(expression), random.randrange(FIRST, LAST) * 1000
        refusal = check(trigger)
        if refusal and any(known in refusal for known in REFUSED_ON_PURPOSE):
            continue
        try:
            expected = by_cronsim(trigger, after_ms)
        except CronSimError:
            assert refusal or "H" in expression, f"{expression} should be refused"
            continue
        assert bool(refusal) == (not expected), f"{expression}: {refusal}, {expected}"
        if expected and not ONE_NUMBER_RANGE.search(expression):
            taken += 1
            assert list(slots_between(trigger, after_ms, FAR_MS, "", FOLLOWED)) == expected, expression
    assert taken > 300


REFUSED_ON_PURPOSE = ("write a step of", "'L/", "'LW/")
ONE_NUMBER_RANGE = re.compile(r"\b(\w+)-0*\1/", re.IGNORECASE)


def misspelt(random: Random, expression: str) -> str:
    letters = list(expression)
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(letters))
        letters[at : at + random.randint(0, 1)] = random.choice("0123456789*/-,# LWHR")
    return "".join(letters)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_slots_are_those_of_cronsim(capsys: pytest.CaptureFixture[str]) -> None:
    zones = sorted(name for name in zoneinfo.available_timezones() if name not in {"localtime", "Factory"})
    with capsys.disabled():
        tally = compare(seed=1, cases=100_000, zones=[*zones, *ZONES * 10], report_every=10_000)
    assert tally.wrong == []
    assert tally.agreed["as cronsim"] > 50_000
