"""times: durations and instants as people write them, to and from whole milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?(ms|[wdhms])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Ten thousand years: far beyond every bound, and within what the log can write.
DURATION_MS_MAX = 10_000 * 366 * 86_400_000
DURATION_FORM = "a duration like 250ms, 30s, 15m or 1h30m"
INSTANT_FORM = "an instant with its offset, like 2026-12-01T10:00:00Z"


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a duration; ValueError names the accepted form.

    >>> parse_duration_ms("1h30m")
    5400000
    """
    total_ms, at = 0, 0
    text = text.strip()
    while at < len(text) and (part := _PART.match(text, at)):
        whole, fraction, unit = part.groups()
        total_ms += int(whole) * _UNITS_MS[unit] + _fraction_ms(fraction or "", unit)
        at = part.end()
    if at != len(text) or not text or not text.isascii():
        raise ValueError(f"{text!r:.80} is not {DURATION_FORM}")
    if total_ms > DURATION_MS_MAX:
        raise ValueError(f"{text!r:.80} is longer than ten thousand years")
    return total_ms


def _fraction_ms(digits: str, unit: str) -> int:
    scale: int = 10 ** len(digits)
    return int(digits or "0") * _UNITS_MS[unit] // scale


def format_duration(duration_ms: int) -> str:
    """The shortest text that `parse_duration_ms` reads back as the same duration.

    >>> format_duration(5_400_000)
    '1h30m'
    """
    parts, rest = [], duration_ms
    for unit, unit_ms in _UNITS_MS.items():
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_instant_ms(text: str) -> int:
    """Milliseconds since 1970 (UTC) of an RFC 3339 instant; ValueError names the accepted form.

    >>> parse_instant_ms("1970-01-01T01:00:00.250+01:00")
    250
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r:.80} is not {INSTANT_FORM}") from None
    return instant_ms(instant)


def instant_ms(instant: datetime) -> int:
    """Milliseconds since 1970; ValueError when it has no offset, since it would mean another instant on each host."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no offset; give {INSTANT_FORM}")
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def format_instant(instant_ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are some.

    >>> format_instant(0)
    '1970-01-01T00:00:00Z'
    """
    instant = _EPOCH + timedelta(milliseconds=instant_ms)
    precision = "milliseconds" if instant_ms % 1_000 else "seconds"
    return instant.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
