"""clock: where the shell gets time from; the real one, and one that a test turns by hand.

Durations are measured on `monotonic`; `wall_ms` only decides when a slot is due. This is the one place where the
process's clocks are read.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The two kinds of time."""

    def monotonic(self) -> float:
        """Seconds from an unknown start; never goes back. On Linux one count for all processes of the host."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds of UTC since 1970; may step in either direction."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def thread_seconds() -> float:
    """Seconds that this thread has worked: how long something took by its own doing, however busy the machine is."""
    return time.thread_time()


class ManualClock:
    """A clock that stands still until it is told to move.

    >>> clock = ManualClock(wall_ms=1_000)
    >>> clock.advance(2.5)
    >>> clock.wall_ms()
    3500
    """

    def __init__(self, *, monotonic: float = 0.0, wall_ms: int = 0) -> None:
        self._monotonic = monotonic
        # Wall time is derived from the monotonic one, so that many small steps lose no milliseconds.
        self._wall_start_ms = wall_ms
        self._monotonic_start = monotonic

    def monotonic(self) -> float:
        return self._monotonic

    def wall_ms(self) -> int:
        return self._wall_start_ms + round((self._monotonic - self._monotonic_start) * 1_000)

    def advance(self, seconds: float) -> None:
        """Time passes on both clocks."""
        if seconds < 0:
            raise ValueError("monotonic time does not go back")
        self._monotonic += seconds

    def step_wall(self, delta_ms: int) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._wall_start_ms += delta_ms
