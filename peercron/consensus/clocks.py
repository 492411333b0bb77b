"""Clocks: how far this member's wall clock is from its peers', measured from what every message carries.

A message tells its sender's wall clock. Seen from here it can only look too old, by its way and by any delay; so of
the recent ones the one that looks youngest is nearest to the truth. Who is far from the median of all is wrong: with
three clocks or more one wrong one is told from the right ones, with two nobody can say which it is.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Final

from peercron.core.limits import CLOCK_BOUND_MS

#: How long a measurement counts.
FRESH_S: Final = 5.0
#: Our wall clock moved this much against the monotonic one between two looks: it was set.
STEP_MS: Final = 100


@dataclass(slots=True)
class Clocks:
    """The peers' wall clocks relative to ours."""

    _wall_ms: int = 0
    _read_s: float = 0.0
    #: By how much our clock was set since the start, all steps together.
    set_ms: int = 0
    #: Peer -> (its clock minus ours in ms, when that was measured).
    _offsets: dict[str, tuple[float, float]] = field(default_factory=dict)

    def read(self, wall_ms: int, now_s: float) -> None:
        """Our own clock was read. If it was set since, the peers' are elsewhere from it at once, and measured anew."""
        step_ms = wall_ms - self.wall_ms(now_s)
        if abs(step_ms) > STEP_MS:
            self._offsets = {peer: (offset - step_ms, float("-inf")) for peer, (offset, _) in self._offsets.items()}
            self.set_ms += step_ms if self._wall_ms else 0
        self._wall_ms, self._read_s = wall_ms, now_s

    def wall_ms(self, now_s: float) -> int:
        """Our wall clock now, by the time that has passed since it was read."""
        return self._wall_ms + round((now_s - self._read_s) * 1000)

    def told(self, peer: str, wall_ms: int, now_s: float) -> None:
        """A message of the peer carried this."""
        offset_ms = wall_ms - self.wall_ms(now_s)
        known = self._offsets.get(peer)
        if known is None or offset_ms >= known[0] or now_s - known[1] > FRESH_S:
            self._offsets[peer] = (offset_ms, now_s)

    def forget(self, peer: str) -> None:
        self._offsets.pop(peer, None)

    def deviation_ms(self) -> int:
        """Our clock minus the median of all, in ms; 0 with fewer than three clocks."""
        if len(self._offsets) < 2:
            return 0
        return -round(statistics.median([0.0, *(offset for offset, _ in self._offsets.values())]))

    @property
    def offsets_ms(self) -> dict[str, float]:
        """Peer -> its clock minus ours."""
        return {peer: offset_ms for peer, (offset_ms, _) in self._offsets.items()}

    @property
    def peers(self) -> int:
        """How many other clocks are known."""
        return len(self._offsets)

    def apart_ms(self) -> int:
        """Our clock minus the median of all, or, with two clocks, minus the other; 0 alone."""
        if len(self._offsets) == 1:
            return -round(next(iter(self._offsets.values()))[0])
        return self.deviation_ms()

    @property
    def suspect(self) -> bool:
        return abs(self.deviation_ms()) > CLOCK_BOUND_MS

    def stamp_ms(self, now_s: float) -> int:
        """The time to write into the log: ours, or the others' where ours is wrong."""
        return self.wall_ms(now_s) - (self.deviation_ms() if self.suspect else 0)
