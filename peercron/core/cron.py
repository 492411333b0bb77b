"""cron: what a cron expression says: its times of day, its days as croniter reads them, and whether it is fixed-time.

Five fields (minute, hour, day-of-month, month, day-of-week) as Vixie cron has them in Debian, or six with seconds
first, or a word like `@daily`. Beyond Debian: `L` and `LW` (last day, last weekday of the month), `5L` (last Friday),
`MON#2` (second Monday), `N/step` (from N to the end of the field), and `H`, `H(a-b)`, `H/step`, `H(a-b)/step`: numbers
picked by a hash of the job's uid, so that many jobs spread over the hour and each keeps its place.

Day-of-month and day-of-week: when either starts with `*`, both must match; else one of them is enough.
Nothing is left for croniter to interpret but days in plain numbers, one calendar for each way to match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

from peercron.core.times_of_day import TimesOfDay

EXPRESSION_LENGTH_MAX = 1_024

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

#: croniter's text for every day there is.
EVERY_DAY = "0 0 * * *"


class ExpressionError(ValueError):
    """A cron expression that is refused; says in one sentence which field, which value, and what is accepted."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of an expression. `high` is the largest number accepted, `size` how many different ones there are."""

    name: str
    low: int
    high: int
    size: int
    #: The largest number that `H` picks: in day-of-month the last that every month has.
    spread_high: int
    accepts: str
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """The value of a number or a name; None when the field has no such value."""
        if text in self.names:
            return self.low + self.names.index(text)
        if not text.isdecimal() or not self.low <= int(text) <= self.high:
            return None
        return int(text)


_STEPS = "lists, ranges (1-5), steps (*/5) and H"
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SECOND = Field("second", 0, 59, 60, 59, f"0-59, {_STEPS}")
MINUTE = Field("minute", 0, 59, 60, 59, f"0-59, {_STEPS}")
HOUR = Field("hour", 0, 23, 24, 23, f"0-23, {_STEPS}")
DAY_OF_MONTH = Field("day-of-month", 1, 31, 31, 28, f"1-31, L (the last day), LW (the last weekday), {_STEPS}")
MONTH = Field("month", 1, 12, 12, 12, f"1-12 or JAN-DEC, {_STEPS}", _MONTHS)
DAY_OF_WEEK = Field("day-of-week", 0, 7, 7, 6, f"0-7 or SUN-SAT, 5L (the last Friday), FRI#2, {_STEPS}", _WEEKDAYS)
FIELDS = (SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)

#: Picks the number behind an `H` of a field: any number from 0 up, always the same for one job and field.
Pick = Callable[[Field], int]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, read. A day matches when one of the calendars `days` has it; each is a text for croniter."""

    times: TimesOfDay
    days: tuple[str, ...]
    #: No `*` begins the minute or the hour: the clock-change rules treat it as a time of day, not as a rhythm.
    fixed_time: bool


def parse(text: str, pick: Pick) -> Expression:
    """Reads an expression. Raises ExpressionError.

    >>> parse("30 2 * * MON-FRI", lambda field: 0).days
    ('0 0 * * 1,2,3,4,5',)
    """
    columns = _columns(text)
    values = [_read_field(field, column, pick) for field, column in zip(FIELDS, columns, strict=True)]
    seconds, minutes, hours = (tuple(sorted(v for v in each if isinstance(v, int))) for each in values[:3])
    _, minute, hour, day, _, weekday = (column.text for column in columns)
    return Expression(
        TimesOfDay(hours, minutes, seconds),
        _calendars(*values[3:], both=day.startswith("*") or weekday.startswith("*")),
        fixed_time=not minute.startswith("*") and not hour.startswith("*"),
    )


def picks_by_uid(text: str) -> bool:
    """True when the expression has an `H`, so that it means something else for each job."""
    return _PICKS.search(text) is not None


@dataclass(frozen=True, slots=True)
class _Column:
    text: str
    #: Where it starts in what the user wrote, from 1.
    at: int


#: A number or name, a range or a star, with or without a step.
_TERM = re.compile(r"(?:\*|(?P<low>[0-9]+|[A-Z]{3})(?:-(?P<high>[0-9]+|[A-Z]{3}))?)(?:/(?P<step>[0-9]+))?")
_SPREAD = re.compile(r"H(?:\((?P<low>[0-9]+)-(?P<high>[0-9]+)\))?(?:/(?P<step>[0-9]+))?")
_NTH_WEEKDAY = re.compile(r"(?P<day>[0-9]+|[A-Z]{3})#0*(?P<nth>[1-5])")
_LAST_WEEKDAY = re.compile(r"(?P<day>0*[0-7])L")
_RANDOM = re.compile(r"R(?:\(.*\))?(?:/[0-9]+)?")
_PICKS = re.compile(r"(?<![A-Za-z])[Hh](?![A-Za-z])")
_BLANK_SEPARATED = re.compile(r"[^ \t]+")

#: What a field lists: plain numbers, and the special days in croniter's spelling.
Values = set[int | str]


def _columns(text: str) -> list[_Column]:
    if len(text) > EXPRESSION_LENGTH_MAX:
        raise ExpressionError(f"expression: {len(text)} characters are too many; at most {EXPRESSION_LENGTH_MAX}")
    if not text.isascii():
        raise ExpressionError(f"expression: {text!r} has characters outside ASCII; write plain letters and digits")
    word = text.strip(" \t")
    if word.startswith("@"):
        text = _spelled_out(word)
    found = [_Column(match.group().upper(), match.start() + 1) for match in _BLANK_SEPARATED.finditer(text)]
    if len(found) == 5:
        return [_Column("0", 0), *found]
    if len(found) != 6:
        raise ExpressionError(
            f"expression: {text!r} has {len(found)} fields; accepted are five (minute hour day-of-month month"
            f" day-of-week), six with seconds first, or one of {' '.join(WORDS)}"
        )
    return found


def _spelled_out(word: str) -> str:
    expression = WORDS.get(word.lower())
    if expression is None:
        hint = ", since a cluster has no one start of its own" if word.lower() == "@reboot" else ""
        raise ExpressionError(f"expression: {word!r} is not accepted{hint}; write one of {' '.join(WORDS)}")
    return expression


def _read_field(field: Field, column: _Column, pick: Pick) -> Values:
    values: Values = set()
    at = column.at
    for term in column.text.split(","):
        values |= _read_term(field, _Column(term, at), pick)
        at += len(term) + 1
    return values


def _read_term(field: Field, term: _Column, pick: Pick) -> Values:
    if spread := _SPREAD.fullmatch(term.text):
        return set(_spread(field, term, spread, pick))
    if special := _special_day(field, term.text):
        return {special}
    if plain := _TERM.fullmatch(term.text):
        found = _range(field, term, plain)
        return {value % 7 for value in found} if field is DAY_OF_WEEK else set(found)
    if _RANDOM.fullmatch(term.text):
        raise _refusal(field, term, "for R would give every node another time; write H, which keeps its place")
    raise _refusal(field, term)


def _special_day(field: Field, text: str) -> str | None:
    """A day that no plain number names, as croniter spells it; None: the text is something else."""
    if field is DAY_OF_MONTH and text == "L":
        return "L"
    if field is DAY_OF_MONTH and text == "LW":
        return "31W"  # the weekday nearest to a month's 31st day, which croniter takes to be its last
    if field is not DAY_OF_WEEK:
        return None
    if nth := _NTH_WEEKDAY.fullmatch(text):
        day = field.number(nth["day"])
        return None if day is None else f"{day % 7}#{nth['nth']}"
    last = _LAST_WEEKDAY.fullmatch(text)
    return f"L{int(last['day']) % 7}" if last else None


def _range(field: Field, term: _Column, found: re.Match[str]) -> range:
    if found["low"] is None:
        low, high = field.low, field.high
    else:
        low = _number(field, term, found["low"])
        # N/step goes on to the end of the field; a bare N is itself.
        high = _number(field, term, found["high"]) if found["high"] else field.high if found["step"] else low
    if high < low:
        raise _refusal(field, term, "for the range runs backwards; write the smaller end first, or a list")
    return range(low, high + 1, _step(field, term, found["step"]))


def _spread(field: Field, term: _Column, found: re.Match[str], pick: Pick) -> range:
    low, high = field.low, field.spread_high
    if found["low"] is not None:
        ends = field.number(found["low"]), field.number(found["high"])
        if ends[0] is None or ends[1] is None or not low <= ends[0] <= ends[1] <= high:
            raise _refusal(field, term, f"for H takes a range inside {low}-{high} here, the smaller end first")
        low, high = ends[0], ends[1]
    if found["step"] is None:
        chosen = low + pick(field) % (high - low + 1)
        return range(chosen, chosen + 1)
    step = _step(field, term, found["step"])
    start = low + pick(field) % min(step, high - low + 1)
    end = high if found["low"] is not None else field.low + field.size - 1
    return range(start, end + 1, step)


def _number(field: Field, term: _Column, text: str) -> int:
    value = field.number(text)
    if value is None:
        raise _refusal(field, term)
    return value


def _step(field: Field, term: _Column, text: str | None) -> int:
    step = 1 if text is None else int(text)
    if not 1 <= step <= field.size:
        raise _refusal(field, term, f"for its step does not fit the field; write a step of 1-{field.size}")
    return step


def _refusal(field: Field, term: _Column, why: str = "") -> ExpressionError:
    why = f", {why}" if why else f"; write {field.accepts}"
    return ExpressionError(f"{field.name}: {term.text!r} (column {term.at}) is not accepted{why}")


def _calendars(days: Values, months: Values, weekdays: Values, *, both: bool) -> tuple[str, ...]:
    """The days that match, as texts that croniter reads with both day fields required.

    croniter takes no plain numbers beside `31W` or `MON#2` in one field, and reads two restricted day fields in its
    own way; so each kind gets a text of its own.
    """
    month = _listed(months, full=12)
    day_texts = _by_kind(days, full=31)
    weekday_texts = _by_kind(weekdays, full=7)
    if both:
        pairs: Iterable[tuple[str, str]] = product(day_texts, weekday_texts)
    else:
        pairs = [*((day, "*") for day in day_texts), *(("*", weekday) for weekday in weekday_texts)]
    return tuple(f"0 0 {day} {month} {weekday}" for day, weekday in pairs)


def _by_kind(values: Values, *, full: int) -> list[str]:
    plain: Values = {value for value in values if isinstance(value, int) or value == "L"}
    nearest: Values = {value for value in values if value == "31W"}
    counted = values - plain - nearest
    return [_listed(kind, full=full) for kind in (plain, nearest, counted) if kind]


def _listed(values: Values, *, full: int) -> str:
    """A list as croniter reads it; `*` when no number is missing, whatever else is there.

    >>> _listed({3, 1, "L"}, full=31)
    '1,3,L'
    """
    numbers = sorted(value for value in values if isinstance(value, int))
    others = sorted(value for value in values if isinstance(value, str))
    return "*" if len(numbers) == full else ",".join(map(str, [*numbers, *others]))
