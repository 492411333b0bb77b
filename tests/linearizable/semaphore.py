"""What a semaphore answers, as a function of who holds it; tokens grow with the grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from tests.linearizable.history import Operation


class Held(NamedTuple):
    """Tokens that are out, and how many grants whose token nobody was told; `newest` is the largest token known."""

    tokens: frozenset[int] = frozenset()
    untold: int = 0
    newest: int = 0
    #: It may be held by anybody.
    anybody: bool = False

    @property
    def places(self) -> int:
        return len(self.tokens) + self.untold


@dataclass(frozen=True, slots=True)
class Semaphore:
    """Operations, with argument -> result:

    acquire owner -> token, or False: there is no place left
    release token -> True, or False: it holds no place
    expire token: the end of a grant by time
    """

    permits: int

    @property
    def start(self) -> Held:
        return Held()

    @property
    def anything(self) -> Held:
        return Held(anybody=True)

    def step(self, held: Held, operation: Operation) -> Held | None:
        if held.anybody:
            return held
        match operation.kind:
            case "acquire":
                return self._acquire(held, operation.result)
            case "release" | "expire":
                return _give_back(held, operation.argument, refused=operation.result is False)
            case other:
                raise ValueError(f"a semaphore knows no {other}")

    def _acquire(self, held: Held, result: int | bool | None) -> Held | None:
        if result is False:
            return held if held.places >= self.permits else None
        if held.places >= self.permits:
            return None
        if result is None:
            return held._replace(untold=held.untold + 1)
        token = int(result)
        return held._replace(tokens=held.tokens | {token}, newest=token) if token > held.newest else None

    def rank(self, operation: Operation) -> int | None:
        """Tokens grow from grant to grant; what is given back comes in any order."""
        granted = operation.kind == "acquire" and operation.result not in (None, False)
        return int(operation.result) if granted else None

    def needs(self, operation: Operation) -> int | None:
        return None

    def at(self, held: Held) -> tuple[float, float]:
        return 0, inf

    def sharpen(self, history: Sequence[Operation]) -> list[Operation]:
        return list(history)


def _give_back(held: Held, token: int, *, refused: bool) -> Held | None:
    if refused:
        return held if token not in held.tokens else None
    if token in held.tokens:
        return held._replace(tokens=held.tokens - {token})
    # Of a grant whose answer was lost.
    return held._replace(untold=held.untold - 1) if held.untold else None
