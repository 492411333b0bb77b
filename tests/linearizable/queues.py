"""What a queue answers, as a function of what stands in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import NamedTuple

from tests.linearizable.history import Operation

FREE = 0


class Line(NamedTuple):
    """(value, what holds it) of each item, in order; `last`: the last index that was told.

    An item is held by the token of its delivery, by the name of the receive whose answer was lost, or it is FREE.
    `known` False: this stands for any line at all.
    """

    items: tuple[tuple[Hashable, Hashable], ...] = ()
    last: int = 0
    known: bool = True


class Fifo:
    """Operations on one queue of one priority, with argument -> result; every value is put once:

    put value -> index of the put
    receive a name of its own (text) -> (token, value), or None where nothing is ready
    ack (token, value) -> True, or False: the delivery does not hold it
    nack (token, value) -> True or False, likewise
    extend (token, value) -> True or False, likewise
    expire token, or name of a receive whose answer was lost: what `ends` makes
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
                return Line((*line.items, (operation.argument, FREE)), last)
            case "receive":
                return _receive(line, operation, last)
            case "ack" | "nack" | "extend":
                return _settle(line, operation)
            case "expire":
                return _expire(line, operation.argument)
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
        """The token that must be out."""
        if operation.kind in ("ack", "nack", "extend"):
            token: int = operation.argument[0]
            return token
        return operation.argument if operation.kind == "expire" and isinstance(operation.argument, int) else None

    def at(self, line: Line) -> tuple[float, float]:
        if not line.known:
            return -inf, inf
        tokens = [token for _, token in line.items if isinstance(token, int) and token]
        return min(tokens, default=inf), max(tokens, default=-inf)

    def sharpen(self, history: Sequence[Operation]) -> list[Operation]:
        """A lost put of what nobody was ever given changes nothing that anybody saw; nor does a lost extend."""
        given = {o.result[1] for o in history if o.kind == "receive" and o.result is not None}
        idle = {id(o) for o in history if o.kind == "extend" or (o.kind == "put" and o.argument not in given)}
        return [o for o in history if o.ret is not None or id(o) not in idle]


def _receive(line: Line, operation: Operation, last: int) -> Line | None:
    first = next((place for place, (_, holder) in enumerate(line.items) if holder == FREE), None)
    if operation.ret is None:  # whatever it would have said
        return None if first is None else _with(line, first, operation.argument, last)
    if operation.result is None:
        return line if first is None else None
    token, value = operation.result
    return _with(line, first, token, last) if first is not None and line.items[first][0] == value else None


def _settle(line: Line, operation: Operation) -> Line | None:
    token, value = operation.argument
    held = (value, token) in line.items
    if operation.ret is not None and operation.result is not held:
        return None
    if not held or operation.kind == "extend":
        return line if operation.ret is not None else None
    if operation.kind == "ack":
        return _change(line, [item for item in line.items if item != (value, token)])
    return _expire(line, token)


def _expire(line: Line, holder: Hashable) -> Line | None:
    """What it held is there for others again, at its place."""
    freed = [(value, FREE if each == holder else each) for value, each in line.items]
    return _change(line, freed) if tuple(freed) != line.items else None


def _with(line: Line, place: int, holder: Hashable, last: int) -> Line:
    value, _ = line.items[place]
    return Line((*line.items[:place], (value, holder), *line.items[place + 1 :]), last)


def _change(line: Line, items: Sequence[tuple[Hashable, Hashable]]) -> Line:
    return Line(tuple(items), line.last)


FIFO = Fifo()
