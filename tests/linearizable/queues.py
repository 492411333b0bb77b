"""What a queue answers, as a function of what stands in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from math import inf
from typing import NamedTuple

from tests.linearizable.history import Operation

#: The token of a delivery whose answer was lost.
UNSEEN = -1


class Line(NamedTuple):
    """(value, token of the delivery that holds it, or 0) of each item, in order; `last`: the last index that was told.

    `known` False: this stands for any line at all.
    """

    items: tuple[tuple[Hashable, int], ...] = ()
    last: int = 0
    known: bool = True


class Fifo:
    """Operations on one queue of one priority, with argument -> result; every value is put once:

    put value -> index of the put
    receive None -> (token, value), or None where nothing is ready
    ack (token, value) -> True, or False: the delivery does not hold it
    nack (token, value) -> True or False, likewise
    expire token: what `lapse` makes
    """

    start = Line()
    anything = Line(known=False)

    def step(self, line: Line, operation: Operation) -> Line | None:
        if not line.known:
            return line
        rank = self.rank(operation)
        if rank is not None and rank < line.last:
            return None
        last = line.last if rank is None else rank
        match operation.kind:
            case "put":
                return Line((*line.items, (operation.argument, 0)), last)
            case "receive":
                return _receive(line, operation, last)
            case "ack" | "nack":
                return _settle(line, operation)
            case "expire":
                return _change(
                    line, [(value, 0 if token == operation.argument else token) for value, token in line.items]
                )
            case other:
                raise ValueError(f"a queue knows no {other}")

    def rank(self, operation: Operation) -> int | None:
        """Puts and deliveries are numbered by the one log that all of them are in."""
        if operation.kind == "put":
            index: int | None = operation.result
            return index
        if operation.kind == "receive" and operation.result is not None:
            token: int = operation.result[0]
            return token
        return None

    def needs(self, operation: Operation) -> int | None:
        return None

    def at(self, line: Line) -> tuple[float, float]:
        return -inf, inf

    def sharpen(self, history: Sequence[Operation]) -> list[Operation]:
        """A lost put of what was seen later was done; its index is unknown all the same. Nothing is left out."""
        return [replace(o, result=None) if o.ret is None else o for o in history]


def _receive(line: Line, operation: Operation, last: int) -> Line | None:
    first = next((place for place, (_, token) in enumerate(line.items) if not token), None)
    if operation.ret is None:  # whatever it would have said
        return line if first is None else _with(line, first, UNSEEN, last)
    if operation.result is None:
        return line if first is None else None
    token, value = operation.result
    return _with(line, first, token, last) if first is not None and line.items[first][0] == value else None


def _settle(line: Line, operation: Operation) -> Line | None:
    token, value = operation.argument
    held = (value, token) in line.items
    if operation.ret is not None and operation.result is not held:
        return None
    if not held:
        return line
    if operation.kind == "ack":
        return _change(line, [item for item in line.items if item != (value, token)])
    return _change(line, [(value, 0) if item == (value, token) else item for item in line.items])


def _with(line: Line, place: int, token: int, last: int) -> Line:
    value, _ = line.items[place]
    return Line((*line.items[:place], (value, token), *line.items[place + 1 :]), last)


def _change(line: Line, items: Sequence[tuple[Hashable, int]]) -> Line:
    return Line(tuple(items), line.last)


def lapse(received: Operation, ttl: float, token: int) -> Operation:
    """The end of a delivery by time: at any time from `ttl` after it was asked for, or never. UNSEEN: of a lost one."""
    return Operation("time", received.key, received.call + ttl, None, "expire", token)


FIFO = Fifo()
