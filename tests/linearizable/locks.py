"""What a lock answers: a mutex or a semaphore with tokens, as a function of who holds it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from tests.linearizable.history import Operation

#: Kinds that change nothing: without an answer they say nothing.
LOOKS = frozenset({"show", "renew", "fence"})


class Grant(NamedTuple):
    """One place that is taken. A token of which nobody was told is larger than `floor` and smaller than `ceiling`."""

    request: Hashable
    token: int | None = None
    floor: int = 0
    ceiling: float = inf
    #: Its holder was told how long it has it.
    promised: bool = False
    #: It is in force no more; its place stays taken for the delay.
    lost: bool = False

    def may_be(self, token: int) -> bool:
        return token == self.token if self.token is not None else self.floor < token < self.ceiling


class Held(NamedTuple):
    """Grants, the oldest first, and the largest token that anybody was told. `known` False: whatever there may be."""

    grants: tuple[Grant, ...] = ()
    newest: int = 0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock of so many permits. Operations, with argument -> result:

    acquire (request, whether it was asked before) -> token, or False: no place is free. The same request again is the
        same grant as long as there is one.
    release (request, token) -> True, or False: it is not in force
    close request -> True, and whatever that request had is free; or False: it had nothing
    renew, fence (request, token) -> True or False: whether it is in force
    show None -> ((request, token), …) of all that are in force, the oldest first
    expire, lose, free (request, token): what `ends` makes; token None: of a grant whose holder was not told of it
    """

    permits: int = 1

    @property
    def start(self) -> Held:
        return Held()

    @property
    def anything(self) -> Held:
        return Held(known=False)

    def step(self, held: Held, operation: Operation) -> Held | None:
        if not held.known:
            return held
        argument, result = operation.argument, operation.result
        match operation.kind:
            case "acquire":
                return self._acquire(held, argument, result)
            case "release":
                return _release(held, argument, refused=result is False)
            case "close":
                return _close(held, argument, refused=result is False)
            case "renew" | "fence" | "show" if operation.ret is None:
                return None
            case "renew" | "fence":
                return _looked(held, argument, in_force=result is True)
            case "show":
                return _shown(held, result)
            case "expire" | "lose" | "free" as end:
                return _end(held, end, *argument)
            case other:
                raise ValueError(f"a lock knows no {other}")

    def _acquire(self, held: Held, asked: tuple[Hashable, bool], result: int | bool | None) -> Held | None:
        request, again = asked
        place = _place(held, request)
        full = len(held.grants) >= self.permits
        if place is None:
            if result is False:
                return held if full else None
            return None if full else _granted(held, request, result)
        # It has it already: a lost request changes nothing, and an answer is that grant's.
        return _told(held, place, int(result), promised=True) if again and result else None

    def rank(self, operation: Operation) -> int | None:
        """Tokens grow from grant to grant. Who asks again may be told an older one."""
        if operation.kind != "acquire" or operation.argument[1] or operation.result in (None, False):
            return None
        return int(operation.result)

    def needs(self, operation: Operation) -> int | None:
        """The token that it is meant for."""
        if operation.kind in ("release", "expire", "lose", "free"):
            token: int | None = operation.argument[1]
            return token
        return None

    def at(self, held: Held) -> tuple[float, float]:
        if not held.known:
            return 0, inf
        low = [grant.floor + 1 if grant.token is None else grant.token for grant in held.grants]
        high = [grant.ceiling if grant.token is None else grant.token for grant in held.grants]
        return min(low, default=inf), max(high, default=0)

    def sharpen(self, history: Sequence[Operation]) -> list[Operation]:
        return [o for o in history if o.ret is not None or o.kind not in LOOKS]


def _place(held: Held, request: Hashable) -> int | None:
    """Where the grant of this request is that is in force."""
    return next((i for i, grant in enumerate(held.grants) if grant.request == request and not grant.lost), None)


def _granted(held: Held, request: Hashable, token: int | None) -> Held | None:
    if token is None:
        return held._replace(grants=(*held.grants, Grant(request, floor=held.newest)))
    grants = *held.grants, Grant(request, floor=held.newest)
    return _told(held._replace(grants=grants), len(held.grants), token, promised=True)


def _told(held: Held, place: int, token: int, *, promised: bool = False) -> Held | None:
    """The token of one grant is known from now on: those before it have smaller ones, those after it larger ones."""
    grant = held.grants[place]
    if not grant.may_be(token):
        return None
    before = [g if g.token is not None else g._replace(ceiling=min(g.ceiling, token)) for g in held.grants[:place]]
    after = [g if g.token is not None else g._replace(floor=max(g.floor, token)) for g in held.grants[place + 1 :]]
    if any(g.floor + 1 >= g.ceiling for g in (*before, *after) if g.token is None):
        return None
    told = grant._replace(token=token, floor=0, ceiling=inf, promised=grant.promised or promised)
    return Held((*before, told, *after), max(held.newest, token))


def _without(held: Held, place: int) -> Held:
    return held._replace(grants=(*held.grants[:place], *held.grants[place + 1 :]))


def _release(held: Held, holder: tuple[Hashable, int], *, refused: bool) -> Held | None:
    after = _looked(held, holder, in_force=not refused)
    place = _place(held, holder[0])
    return after if refused or after is None or place is None else _without(after, place)


def _looked(held: Held, holder: tuple[Hashable, int], *, in_force: bool) -> Held | None:
    """Whether the token is in force has been said."""
    request, token = holder
    place = _place(held, request)
    if in_force:
        return None if place is None else _told(held, place, token)
    return held if place is None or held.grants[place].token != token else None


def _close(held: Held, request: Hashable, *, refused: bool) -> Held | None:
    place = _place(held, request)
    if place is None:
        return held
    return None if refused else _without(held, place)


def _shown(held: Held, result: tuple[tuple[Hashable, int], ...]) -> Held | None:
    places = [i for i, grant in enumerate(held.grants) if not grant.lost]
    if [held.grants[i].request for i in places] != [request for request, _ in result]:
        return None
    after: Held | None = held
    for place, (_, token) in zip(places, result, strict=True):
        after = _told(after, place, token) if after is not None else None
    return after


def _end(held: Held, end: str, request: Hashable, token: int | None) -> Held | None:
    grants = enumerate(held.grants)
    place = next((i for i, g in grants if (g.request, g.lost) == (request, end == "free")), None)
    if place is None or (token is None and held.grants[place].promised):
        return None
    after = held if token is None else _told(held, place, token)
    if after is None or end != "lose":
        return None if after is None else _without(after, place)
    lost = after.grants[place]._replace(lost=True)
    return after._replace(grants=(*after.grants[:place], lost, *after.grants[place + 1 :]))
