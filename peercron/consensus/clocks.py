"""Clocks: how far this member's wall clock is from its peers', measured from what every message carries.

A message tells its sender's wall clock. Seen from here it can only look too old, by its way and by any delay; so of
the recent ones the one that looks youngest is nearest to the truth. Who is far from the median of all is wrong: with
three clocks or more one wrong one is told from the right ones. With two it is known at best how they came apart: whose
clock was set since they agreed goes by the other's, and whose was not, and saw the other leap, by its own.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from peercron.core.limits import CLOCK_BOUND_MS

#: How long a measurement counts.
FRESH_S: Final = 5.0
#: Our wall clock moved this much against the monotonic one between two looks: it was set.
STEP_MS: Final = 100
#: A peer's clock that moves by this much between two looks did not creep, nor did ours where steps add up to it.
LEAP_MS: Final = CLOCK_BOUND_MS // 2
#: Peers of which is known how they came to stand: those that were met last. It is asked only of the only other.
KNOWN_MAX: Final = 64
#: What two clocks may creep apart by in a time, as a share of it. Whoever was not heard for long has not leapt.
CREEP_SHARE: Final = 0.02


class Moved(Enum):
    """Of two clocks that are further apart than the bound: which has moved since they agreed."""

    OURS = "ours"
    THEIRS = "theirs"
    #: Both, or neither by more than it creeps.
    UNKNOWN = "unknown"
    #: They have not agreed since this process began.
    NEVER_AGREED = "never agreed"


@dataclass(slots=True)
class Acquaintance:
    """How our clock and a peer's came to stand as they do; outlives the connection."""

    #: Our clock minus the peer's without the steps of ours, and when that was: what changes it is the peer's doing.
    apart_unset_ms: float
    seen_s: float
    #: (Our clock minus the peer's, by how much ours had been set) when they last agreed; None: never yet.
    agreed: tuple[int, int] | None = None
    #: The peer's clock has leapt since then.
    leapt: bool = False


@dataclass(slots=True)
class Clocks:
    """The peers' wall clocks relative to ours."""

    _wall_ms: int = 0
    _read_s: float = 0.0
    #: By how much our clock was set since the start, all steps together.
    set_ms: int = 0
    #: Peer -> (its clock minus ours in ms, when that was measured).
    _offsets: dict[str, tuple[float, float]] = field(default_factory=dict)
    _known: dict[str, Acquaintance] = field(default_factory=dict)
    #: When the last peer was forgotten: (what our stamps were corrected by, by how much ours had been set, when).
    _parted: tuple[int, int, float] = (0, 0, float("-inf"))

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
            self._meet(peer, -offset_ms, now_s)

    def forget(self, peer: str) -> None:
        if len(self._offsets) == 1 and peer in self._offsets:
            self._parted = (self._correction_ms(self._read_s), self.set_ms, self._read_s)
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

    @property
    def only_other(self) -> Acquaintance | None:
        """What is known of the only other clock; None: there are more, or none, or many were met since."""
        return self._known.get(next(iter(self._offsets))) if len(self._offsets) == 1 else None

    def moved(self) -> Moved | None:
        """Which of two clocks came away from the other; None: they are within the bound, or are not two."""
        other, apart_ms = self.only_other, self.apart_ms()
        if other is None or abs(apart_ms) <= CLOCK_BOUND_MS:
            return None
        if other.agreed is None:
            return Moved.NEVER_AGREED
        ours = abs(self.set_ms - other.agreed[1]) >= LEAP_MS
        if ours is other.leapt:
            return Moved.UNKNOWN
        return Moved.OURS if ours else Moved.THEIRS

    def stamp_ms(self, now_s: float) -> int:
        """The time to write into the log, and to plan by: ours, or the others' where ours is wrong.

        What is once in the log is time that has been: a clock that leapt ahead must not get there.
        """
        return self.wall_ms(now_s) - self._correction_ms(now_s)

    def _correction_ms(self, now_s: float) -> int:
        if not self._offsets:
            return self._correction_alone_ms(now_s)
        return self.apart_ms() if self.suspect or self.moved() is Moved.OURS else 0

    def _correction_alone_ms(self, now_s: float) -> int:
        """A leader that has just lost its peers may write for a moment yet, and it is committed when they are back."""
        corrected_ms, set_ms, at_s = self._parted
        correction_ms = corrected_ms + self.set_ms - set_ms
        return correction_ms if now_s - at_s < FRESH_S and abs(correction_ms) > CLOCK_BOUND_MS else 0

    def _meet(self, peer: str, apart_ms: float, now_s: float) -> None:
        """Note how the clocks of two stand; a leap of the peer's is one between two looks."""
        unset_ms = apart_ms - self.set_ms
        known = self._known.pop(peer, None) or Acquaintance(unset_ms, now_s)
        self._known[peer] = known
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        creep_ms = (now_s - known.seen_s) * 1000 * CREEP_SHARE
        known.leapt = known.leapt or abs(unset_ms - known.apart_unset_ms) > LEAP_MS + creep_ms
        known.apart_unset_ms, known.seen_s = unset_ms, now_s
        if abs(apart_ms) <= CLOCK_BOUND_MS:
            known.agreed, known.leapt = (round(apart_ms), self.set_ms), False
