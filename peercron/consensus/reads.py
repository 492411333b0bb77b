"""Reads: the leader's proof that it still leads, carried by the log's own messages (ReadIndex, dissertation 6.4).

Every step of a leader has a number; its append messages carry it, and their answers tell the last number that the
follower has seen. A question put before step n is answered once a majority has seen n: at that moment, after the
question, nobody else led. An urgent question sends a message of its own; the others ride on a heartbeat that asks for
an answer anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Reads:
    """Who waits for a proof of leadership, and how far it has come."""

    #: Number of the current step. It grows over all terms of this process, so that no answer is ever taken for another.
    step: int = 0
    #: The other voters: nobody else's answer counts.
    voters: tuple[str, ...] = ()
    _fresh: list[int] = field(default_factory=list)
    _urgent: bool = False
    #: The last step that an urgent question waits for.
    _pressing: int = 0
    #: (step that a majority must have seen, commit index at the question, token), in order.
    _waiting: list[tuple[int, int, int]] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._fresh or self._waiting)

    @property
    def pressing(self) -> bool:
        """Does an urgent question wait?"""
        return any(step <= self._pressing for step, _, _ in self._waiting)

    def ask(self, token: int, *, urgent: bool) -> None:
        """Somebody wants to know an index that has all that was acknowledged before now."""
        self._fresh.append(token)
        self._urgent |= urgent

    def adopt(self, index: int) -> bool:
        """The questions so far wait for this step, and read at `index`. True: a message shall go out for them."""
        self._waiting += [(self.step, index, token) for token in self._fresh]
        self._fresh = []
        urgent, self._urgent = self._urgent, False
        if urgent:
            self._pressing = self.step
        return urgent

    def acknowledged(self, peer: str, step: int) -> None:
        """A follower of this term has seen our message of that step."""
        self._seen[peer] = max(step, self._seen.get(peer, 0))

    def proven(self, quorum: int) -> int:
        """The last step that a quorum, we among it, has seen."""
        others = sorted((self._seen.get(peer, 0) for peer in self.voters), reverse=True)
        needed = quorum - 1
        if needed == 0:
            return self.step
        return others[needed - 1] if len(others) >= needed else 0

    def finish(self, quorum: int) -> list[tuple[int, int]]:
        """(token, index) of the questions that are answered now."""
        proven = self.proven(quorum)
        done = [(token, index) for step, index, token in self._waiting if step <= proven]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > proven]
        return done

    def abandon(self) -> list[int]:
        """We lead no longer: every token that waits."""
        tokens = [*(token for _, _, token in self._waiting), *self._fresh]
        self._waiting, self._fresh, self._urgent = [], [], False
        return tokens
