"""Reads: the leader's proof that it still leads, shared by all who ask in one round (ReadIndex, dissertation 6.4)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Round:
    number: int
    term: int
    index: int
    tokens: list[int]
    acks: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reads:
    """Who waits for a proof of leadership, and the round under way.

    A token asks to know: at some moment after the question was put, we were the leader. Those who ask while a round
    is under way wait for the next, since the answers to this one may be older than their question.
    """

    _waiting: list[int] = field(default_factory=list)
    _round: Round | None = None
    _numbers: int = 0

    def ask(self, token: int) -> None:
        self._waiting.append(token)

    def begin(self, term: int, index: int) -> int | None:
        """Start a round if one is wanted and none is under way: its number, to be sent to every voter."""
        if self._round is not None or not self._waiting:
            return None
        self._numbers += 1
        self._round = Round(self._numbers, term, index, self._waiting)
        self._waiting = []
        return self._numbers

    def pending_round(self) -> int | None:
        """The round under way, to be sent again to a voter that was not there."""
        return None if self._round is None else self._round.number

    def acknowledged(self, peer: str, number: int) -> None:
        if self._round is not None and self._round.number == number:
            self._round.acks.add(peer)

    def finish(self, quorum: int) -> tuple[int, list[int]] | None:
        """(index, tokens) of the round, once a quorum with us in it has answered."""
        if self._round is None or len(self._round.acks) + 1 < quorum:
            return None
        done, self._round = self._round, None
        return done.index, done.tokens

    def abandon(self) -> list[int]:
        """We lead no longer: every token that waits."""
        tokens = self._waiting + (self._round.tokens if self._round else [])
        self._waiting, self._round = [], None
        return tokens
