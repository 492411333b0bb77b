"""Tries: how long each address is waited for within a request, and what is told when none could do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from peercron.client.replies import worse
from peercron.errors import PeercronError, Unreachable

#: Between two rounds in which no node could do what was asked.
PAUSE_S: Final = 0.1
#: How long a node may take to say that there is no leader. With less time left nobody is asked again: a definite no
#: that we have is better than an answer that we do not wait for.
ANSWER_S: Final = 1.5
#: Who cannot be reached and is known to be so this soon takes no time from the others.
_AT_ONCE_S: Final = 0.2


class Tries:
    """The tries of one request, in rounds. Times are in seconds of the caller's monotonic clock.

    Args:
        now_s: when it begins.
        timeout_s: for all tries together.
    """

    def __init__(self, now_s: float, timeout_s: float) -> None:
        self.until_s = now_s + timeout_s
        #: What is told when the time is up: of all answers in all rounds the one that says most.
        self.told: PeercronError = Unreachable()
        self._reserve_s = min(ANSWER_S, timeout_s / 2)
        self._alive: set[str] = set()
        self._gone: set[str] = set()

    @property
    def silent(self) -> bool:
        """Whether no node has said anything."""
        return isinstance(self.told, Unreachable)

    def share_s(self, turn: Sequence[str], now_s: float, parts: int) -> float:
        """The time for the first of `turn`, the addresses of this round that were not asked yet: a node that hangs must
        not take that of those behind it, so it has one of at most `parts`. Who has answered in an earlier round has
        enough to do so again, and nothing is kept for who was not there.
        """
        left_s = max(0.05, self.until_s - now_s)
        share_s = left_s / min(1 + sum(address not in self._gone for address in turn[1:]), parts)
        return min(left_s, max(share_s, ANSWER_S)) if turn[0] in self._alive else share_s

    def failed(self, address: str, error: PeercronError, took_s: float) -> None:
        """It could not do it, and has not."""
        self.told = worse(self.told, error)
        self._alive.discard(address)
        self._gone.discard(address)
        if not isinstance(error, Unreachable):
            self._alive.add(address)
        elif took_s < _AT_ONCE_S:
            self._gone.add(address)

    def in_vain(self, addresses: Sequence[str]) -> bool:
        """Whether none of them was there. One that only had too little time may answer when it has more."""
        return self.silent and self._gone.issuperset(addresses)

    def is_over(self, now_s: float) -> bool:
        """Whether too little time is left to ask anybody."""
        return now_s >= self.until_s - (0.0 if self.silent else self._reserve_s)
