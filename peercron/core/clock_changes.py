"""clock_changes: from local times to instants: what becomes of those that a clock change skips or repeats.

A zone's time is a row of stretches with one offset each. The change between two stretches either skips some local
times (a gap) or repeats some (an overlap). Seconds throughout: instants since 1970 in UTC, local times as the clock on
the wall counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from peercron.core.job import DstGap, DstOverlap
from peercron.core.zones import last_change, next_change, offset_at

#: Longer than any clock change there is: 24 h, where the date line moved.
SHIFT_MAX_S = 25 * 3600
#: Slots are looked for from 1970 until here.
LAST_S = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp()) - 1


class LocalTimes(Protocol):
    """The local times that match, whatever the zone."""

    def wall_after(self, above: int) -> int | None:
        """The first above a local time; None: there is none."""

    def wall_through(self, below: int) -> int | None:
        """The last at or below a local time; None: there is none."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The instants of local times in a zone, by a rule for gaps and one for overlaps."""

    local: LocalTimes
    zone: ZoneInfo
    gap: DstGap
    overlap: DstOverlap

    def first_after(self, after: int) -> int | None:
        """The first slot strictly after an instant; None: there is none.

        Goes on from stretch to stretch. `wall` is the first match above `asked`, and remains it while the stretches
        that follow begin no lower: only an overlap sets local time back.
        """
        if after >= LAST_S:
            return None
        here = max(after, -1)
        offset = offset_at(self.zone, here)
        asked = self._above(here, offset)
        wall = self.local.wall_after(asked)
        ahead = SHIFT_MAX_S if self.overlap is DstOverlap.SECOND else 0
        while wall is not None and wall - offset <= LAST_S:
            change = next_change(self.zone, here, wall - offset + ahead)
            if change is None or wall - offset < change.at - self._dropped_before(change.repeated):
                return wall - offset
            if self.gap is DstGap.RUN_AFTER and wall < change.at + change.after:
                return change.at
            here, offset = change.at, change.after
            above = here + offset + self._dropped_after(change.repeated) - 1
            if above < asked or wall <= above:
                asked, wall = above, self.local.wall_after(above)
        return None

    def last_through(self, through: int) -> int | None:
        """The last slot at or before an instant; None: there is none. `first_after` in a mirror."""
        if through < 0:
            return None
        here = min(through, LAST_S)
        offset = offset_at(self.zone, here)
        asked = self._below(here, offset)
        wall = self.local.wall_through(asked)
        behind = SHIFT_MAX_S if self.overlap is DstOverlap.FIRST else 0
        while wall is not None and wall - offset >= 0:
            change = last_change(self.zone, wall - offset - behind, here)
            if change is None or wall - offset >= change.at + self._dropped_after(change.repeated):
                return wall - offset
            if self.gap is DstGap.RUN_AFTER and wall >= change.at + change.before:
                return change.at
            here, offset = change.at - 1, change.before
            below = here + offset - self._dropped_before(change.repeated)
            if below > asked or wall > below:
                asked, wall = below, self.local.wall_through(below)
        return None

    def _dropped_before(self, repeated: int) -> int:
        """Of the seconds that come twice, those without slots in the first pass."""
        return repeated if self.overlap is DstOverlap.SECOND else 0

    def _dropped_after(self, repeated: int) -> int:
        """The same for the second pass."""
        return repeated if self.overlap is DstOverlap.FIRST else 0

    def _above(self, here: int, offset: int) -> int:
        """The local time above which matches are slots after `here`: past a second pass that has none."""
        if self.overlap is DstOverlap.FIRST and (change := last_change(self.zone, here - SHIFT_MAX_S, here)):
            return max(here + offset, change.at + change.before - 1)
        return here + offset

    def _below(self, here: int, offset: int) -> int:
        """The local time up to which matches are slots not after `here`: short of a first pass that has none."""
        if self.overlap is DstOverlap.SECOND and (change := next_change(self.zone, here, here + SHIFT_MAX_S)):
            return min(here + offset, change.at + change.after - 1)
        return here + offset
