"""Ghosts: what we have lost by our own clock, and the cluster may believe for a little longer to be ours."""

from __future__ import annotations

from typing import Final

from peercron.clock import Clock, SystemClock

#: The cluster counts from when it heard of us, and a new leader anew: what is lost here is over there after so many of
#: its times, and the delay after a loss.
TIMES: Final = 2.0
DELAY_S: Final = 2.0


class Ghosts:
    """By owner: while one has a ghost, it seems to wait for itself where it waits for that."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        #: Owner -> until when, in monotonic seconds.
        self._until_s: dict[str, float] = {}

    def add(self, owner: str, lives_s: float) -> None:
        """What it has lost lived for so long without a renewal."""
        now_s = self._clock.monotonic()
        self._until_s = {each: until_s for each, until_s in self._until_s.items() if until_s > now_s}
        self._until_s[owner] = max(self._until_s.get(owner, 0.0), now_s + TIMES * lives_s + DELAY_S)

    def has(self, owner: str) -> bool:
        """Whether a deadlock of this owner may be one with its own ghost."""
        return self._until_s.get(owner, 0.0) > self._clock.monotonic()
