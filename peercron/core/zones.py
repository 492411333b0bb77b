"""zones: the offset of a time zone at an instant, and the instants at which it changes. Whole seconds since 1970, UTC.

The zone data are read once by zoneinfo. It tells offsets, not when they change, so changes are found by looking at the
offset once a day and halving: since 1970 no zone has had two changes within six days of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

#: zoneinfo itself keeps only eight zones; there are about 600.
ZONES_KEPT = 640
#: Blocks of a zone's changes kept; 4,096 are about 40 years of a hundred zones.
BLOCKS_KEPT = 4_096
BLOCK_BITS = 25
DAY = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what a clock on the wall shows, which has no zone
_SECOND = timedelta(seconds=1)

#: Names that zoneinfo finds but that mean something else on every host, or count leap seconds.
_HOST_ZONES = ("localtime", "posixrules", "Factory")
_HOST_FOLDERS = ("right/", "posix/")


@dataclass(frozen=True, slots=True)
class ClockChange:
    """At the instant `at` the zone's offset goes from `before` to `after`, all in seconds."""

    at: int
    before: int
    after: int

    @property
    def skipped(self) -> int:
        """Seconds of local time that never come."""
        return max(0, self.after - self.before)

    @property
    def repeated(self) -> int:
        """Seconds of local time that come twice."""
        return max(0, self.before - self.after)


def zone_named(name: str) -> ZoneInfo | None:
    """The zone of an IANA name; None: there is none."""
    if name in _HOST_ZONES or name.startswith(_HOST_FOLDERS):
        return None
    try:
        return _zone(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, an unknown name
        return None


@lru_cache(maxsize=ZONES_KEPT)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def offset_at(zone: ZoneInfo, at: int) -> int:
    """Seconds to add to UTC for the local time at an instant.

    Not by `utcoffset`, which looks at the local time, and that is ambiguous just where it matters.
    """
    shown = (_EPOCH + at * _SECOND).astimezone(zone).replace(tzinfo=None)
    return (shown - _WALL_EPOCH) // _SECOND - at


def next_change(zone: ZoneInfo, after: int, through: int) -> ClockChange | None:
    """The first change after one instant and not after another; None: there is none between them."""
    for block in range(after >> BLOCK_BITS, (through >> BLOCK_BITS) + 1):
        for change in _changes(zone, block):
            if after < change.at <= through:
                return change
    return None


def last_change(zone: ZoneInfo, after: int, through: int) -> ClockChange | None:
    """The last change after one instant and not after another; None: there is none between them."""
    for block in range(through >> BLOCK_BITS, (after >> BLOCK_BITS) - 1, -1):
        for change in reversed(_changes(zone, block)):
            if after < change.at <= through:
                return change
    return None


@lru_cache(maxsize=BLOCKS_KEPT)
def _changes(zone: ZoneInfo, block: int) -> tuple[ClockChange, ...]:
    """The changes in one block of 2**25 s (388 days), in order."""
    low, high = block << BLOCK_BITS, (block + 1) << BLOCK_BITS
    looks = [*range(low, high, DAY), high]
    offsets = [offset_at(zone, at) for at in looks]
    return tuple(
        _found_between(zone, looks[i], looks[i + 1], before, offsets[i + 1])
        for i, before in enumerate(offsets[:-1])
        if before != offsets[i + 1]
    )


def _found_between(zone: ZoneInfo, low: int, high: int, before: int, after: int) -> ClockChange:
    """The change between `low`, where the old offset holds, and `high`, where the new one does."""
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return ClockChange(high, before, after)
