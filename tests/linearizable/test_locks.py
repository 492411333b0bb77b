"""Histories of locks that are known to be good or bad, each for one reason; and of the real core, which are good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peercron.core.apply import apply
from peercron.core.commands import AcquireLock, ExpireLease, ReleaseLock
from peercron.core.lock import Claim, LockKind
from peercron.core.state import ClusterState
from peercron.core.verdict import Done
from tests.core.builders import NOW, cluster
from tests.linearizable import Lock, Operation, check, ends

ONE, TWO = Lock(), Lock(2)
History = list[Operation]


def op(client: str, call: float, ret: float | None, kind: str, argument: Any = None, result: Any = None) -> Operation:
    return Operation(client, "k", call, ret, kind, argument, result)


def take(
    who: str, call: float, ret: float | None, result: int | bool | None = None, *, again: bool = False
) -> Operation:
    return op(who, call, ret, "acquire", (who, again), result)


def give(who: str, call: float, ret: float | None, token: int, result: bool | None = True) -> Operation:
    return op(who, call, ret, "release", (who, token), result if ret is not None else None)


def over(who: str, token: int | None, moment: float, delay: float | None = None) -> History:
    return ends("k", (who, token), moment, delay)


A = take("a", 0, 1, 5)
LOST = take("a", 0, None)
GOOD: dict[str, History] = {
    "taken, refused, given back, taken": [
        A,
        take("b", 2, 3, False),
        give("a", 4, 5, 5),
        take("b", 6, 7, 8),
        op("c", 8, 9, "show", None, (("b", 8),)),
    ],
    "a stale release, renewal and fence": [
        A,
        give("a", 4, 5, 5),
        take("b", 6, 7, 8),
        give("a", 8, 9, 5, False),
        op("a", 8, 9, "renew", ("a", 5), False),
        op("a", 8, 9, "fence", ("a", 5), False),
        op("b", 8, 9, "renew", ("b", 8), True),
    ],
    "asked again, told the same": [A, take("a", 2, 3, 5, again=True), give("a", 4, 5, 5)],
    "a lost grant is told to who asks again": [LOST, take("b", 2, 3, False), take("a", 4, 5, 3, again=True)],
    "a lost grant is shown": [LOST, op("b", 4, 5, "show", None, (("a", 6),)), give("a", 6, 7, 6)],
    "a lost request acts after the same was granted and given back": [
        LOST,
        take("a", 2, 3, 4, again=True),
        give("a", 4, 5, 4),
        take("b", 6, 7, False),
        op("b", 8, 9, "show", None, (("a", 9),)),
    ],
    "a lost release": [A, give("a", 2, None, 5), take("b", 3, 4, 6)],
    "its time was over": [A, *over("a", 5, 10), take("b", 11, 12, 6)],
    "its time was over, and nobody came": [A, *over("a", 5, 10), give("a", 20, 21, 5)],
    "its time was over, and its delay not": [
        A,
        *over("a", 5, 10, 5),
        give("a", 11, 12, 5, False),
        take("b", 13, 14, False),
    ],
    "its time was over, and its delay": [A, *over("a", 5, 10, 5), take("b", 15, 16, 7)],
    "a lost grant comes to its end": [LOST, *over("a", None, 10), take("b", 4, 5, False), take("b", 11, 12, 3)],
    "it goes with its session": [A, op("a", 2, 3, "close", "a", True), take("b", 4, 5, 6)],
    "a lost grant goes with its session": [LOST, op("a", 2, 3, "close", "a", True), take("b", 4, 5, 6)],
    "the session was over before": [A, *over("a", 5, 10), take("b", 12, 13, 7), op("a", 14, 15, "close", "a", False)],
}
BAD: dict[str, History] = {
    "two holders": [A, take("b", 2, 3, 6)],
    "refused though it was free": [take("b", 2, 3, False)],
    "a token that does not grow": [A, give("a", 2, 3, 5), take("b", 4, 5, 5)],
    "another one's release worked": [A, give("a", 4, 5, 5), take("b", 6, 7, 8), give("a", 8, 9, 5)],
    "given away before its time was over": [A, *over("a", 5, 10), take("b", 8, 9, 6)],
    "given away before its delay was over": [A, *over("a", 5, 10, 5), take("b", 13, 14, 6)],
    "renewed after its time was over": [
        A,
        *over("a", 5, 10),
        take("b", 11, 12, 6),
        op("a", 13, 14, "renew", ("a", 5), True),
    ],
    "given back in its delay": [
        A,
        *over("a", 5, 10, 5),
        op("b", 11, 12, "show", None, ()),
        give("a", 13, 14, 5),
    ],
    "shown to be free while held": [A, op("b", 2, 3, "show", None, ())],
    "the fence takes a stale token": [A, give("a", 2, 3, 5), op("b", 4, 5, "fence", ("a", 5), True)],
    "the fence refuses the holder": [A, op("b", 4, 5, "fence", ("a", 5), False)],
    "asked again, told another": [A, take("a", 2, 3, 7, again=True)],
    "asked again, refused": [A, take("a", 2, 3, False, again=True)],
    "a lost grant is shown with an old token": [
        A,
        give("a", 2, 3, 5),
        take("b", 4, None),
        op("c", 6, 7, "show", None, (("b", 4),)),
    ],
    "a lost grant is told two tokens": [
        LOST,
        take("a", 2, 3, 4, again=True),
        op("b", 4, 5, "show", None, (("a", 6),)),
    ],
    "a lost request acts twice": [
        LOST,
        op("b", 4, 5, "show", None, (("a", 6),)),
        give("a", 6, 7, 6),
        op("b", 8, 9, "show", None, (("a", 8),)),
    ],
    "a lost grant ends before its time": [LOST, *over("a", None, 10), take("b", 2, 3, False), take("b", 4, 5, 3)],
    "it stays when its session goes": [A, op("a", 2, 3, "close", "a", True), take("b", 4, 5, False)],
    "its session was over while it held": [A, op("a", 2, 3, "close", "a", False)],
}
B = take("b", 2, 3, 6)
GOOD_OF_TWO: dict[str, History] = {
    "two places, and no third": [A, B, take("c", 4, 5, False)],
    "the older is given back first": [A, B, give("a", 4, 5, 5), take("c", 6, 7, 8)],
    "shown in their order": [A, B, op("c", 4, 5, "show", None, (("a", 5), ("b", 6)))],
    "a lost grant takes a place": [A, take("b", 2, None), take("c", 4, 5, False)],
    "two lost grants, told later": [
        LOST,
        take("b", 2, None),
        take("b", 4, 5, 9, again=True),
        take("a", 6, 7, 4, again=True),
    ],
    "its time was over": [A, B, *over("a", 5, 10), take("c", 11, 12, 8)],
}
BAD_OF_TWO: dict[str, History] = {
    "three holders": [A, B, take("c", 4, 5, 7)],
    "refused though there was room": [A, take("c", 4, 5, False)],
    "a token that does not grow": [B, take("a", 4, 5, 5)],
    "given back twice": [A, give("a", 2, 3, 5), give("a", 4, 5, 5)],
    "a holder is refused": [A, give("a", 2, 3, 5, False)],
    "given away before its time was over": [A, B, *over("a", 5, 10), take("c", 8, 9, 8)],
    "the older of two lost grants has the larger token": [
        LOST,
        op("c", 1, 2, "show", None, (("a", 9),)),
        take("b", 3, None),
        take("b", 4, 5, 8, again=True),
    ],
    "shown without one": [A, B, op("c", 4, 5, "show", None, (("b", 6),))],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_lock(name: str) -> None:
    assert check(GOOD[name], ONE) is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_lock(name: str) -> None:
    assert check(BAD[name], ONE) is not None


@pytest.mark.parametrize("name", GOOD_OF_TWO)
def test_a_good_semaphore(name: str) -> None:
    assert check(GOOD_OF_TWO[name], TWO) is None


@pytest.mark.parametrize("name", BAD_OF_TWO)
def test_a_bad_semaphore(name: str) -> None:
    assert check(BAD_OF_TWO[name], TWO) is not None


#: (request, token) of those who hold it, and the largest token so far.
Concrete = tuple[tuple[tuple[str, float], ...], float]


def concretely(state: Concrete, o: Operation, permits: int, tokens: list[float]) -> Iterator[Concrete]:
    """Every state that a real lock could be in afterwards, if it could answer so."""
    held, last = state
    match o.kind:
        case "acquire":
            request, again = o.argument
            mine = dict(held).get(request)
            if mine is not None:
                if o.ret is None or (again and o.result == mine):
                    yield state
            elif len(held) >= permits:
                if o.ret is None or o.result is False:
                    yield state
            elif o.result is not False:
                chosen = tokens if o.ret is None else [o.result]
                yield from (((*held, (request, t)), t) for t in chosen if t > last)
        case "release":
            if o.ret is None or o.result is (o.argument in held):
                yield tuple(each for each in held if each != o.argument), last
        case "show":
            if o.ret is None or o.result == held:
                yield state
        case "expire":
            yield tuple(each for each in held if each != o.argument), last
        case other:
            raise ValueError(other)


def explained(history: History, permits: int) -> bool:
    """The same question, by trying everything: every order, and every token that a lost grant may have got."""
    tokens = sorted({float(n + i) for n in range(0, 60, 10) for i in range(len(history) + 1)} - {0.0})

    def rest(state: Concrete, left: tuple[Operation, ...]) -> bool:
        end = min((o.ret for o in left if o.ret is not None), default=None)
        if end is None:
            return True
        return any(
            rest(after, (*left[:i], *left[i + 1 :]))
            for i, o in enumerate(left)
            if o.call <= end
            for after in concretely(state, o, permits, tokens)
        )

    return rest(((), 0), tuple(history))


REQUESTS, TOKENS = st.sampled_from("abc"), st.sampled_from([10, 20, 30, 40])


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(["acquire", "acquire", "release", "show", "expire"]))
    call = draw(st.integers(0, 8))
    ret = draw(st.one_of(st.none(), st.integers(call, 10)))
    argument: Any = None
    result: Any = None
    match kind:
        case "acquire":
            argument = draw(REQUESTS), True
            result = draw(st.just(False) | TOKENS)
        case "release":
            argument, result = (draw(REQUESTS), draw(TOKENS)), True
        case "show":
            result = tuple(draw(st.lists(st.tuples(REQUESTS, TOKENS), max_size=2, unique_by=lambda each: each[0])))
        case _:
            argument, ret = (draw(REQUESTS), draw(TOKENS)), None
    return Operation("c", "k", call, ret, kind, argument, result if ret is not None else None)


@settings(max_examples=300, deadline=None)
@given(st.lists(operations(), max_size=5), st.integers(1, 2))
def test_any_history_is_judged_as_by_trying_everything(history: History, permits: int) -> None:
    assert (check(history, Lock(permits)) is None) == explained(history, permits)


#: A rule of the core that is broken: told of the state before each command.
Break = Callable[[ClusterState, Any], None]


@dataclass(slots=True)
class Play:
    """Clients whose requests overlap, and some of whose answers are lost; the core decides at one instant of each."""

    dice: Random
    permits: int
    lost: float = 0.1
    broken: Break = lambda state, command: None
    state: ClusterState = field(default_factory=lambda: cluster("a"))
    history: History = field(default_factory=list)
    #: Token -> request, of those who know that they have it; requests whose answer was lost, to be asked again.
    held: dict[int, str] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    now: float = 0

    def run(self, steps: int) -> History:
        for self.now in range(10, 10 * steps, 10):
            chance = self.dice.random()
            if chance < 0.1:
                self.expire()
            elif self.held and chance < 0.5:
                self.release(*self.dice.choice([*self.held.items()]))
            elif self.doubtful and chance < 0.6:
                self.acquire(self.doubtful.pop(), again=True)
            elif chance < 0.7:
                self.note("show", None, tuple((g.claim.request, t) for t, g in self.grants().items()))
            else:
                self.acquire(f"r{self.now}", again=False)
        return self.history

    def grants(self) -> dict[int, Any]:
        return dict(self.state.lock_grants.get("default/k", {}))

    def do(self, command: Any) -> Any:
        self.broken(self.state, command)
        verdict = apply(self.state, command, NOW)
        return verdict.value if isinstance(verdict, Done) else False

    def note(self, kind: str, argument: Any, result: Any) -> bool:
        """Whether the answer came."""
        ret = self.now + self.dice.uniform(0, 25) if self.dice.random() >= self.lost else None
        call = self.now - self.dice.uniform(0, 25)
        self.history.append(op(f"c{self.now}", call, ret, kind, argument, result if ret is not None else None))
        return ret is not None

    def acquire(self, request: str, *, again: bool) -> None:
        kind = LockKind.SEMAPHORE if self.permits > 1 else LockKind.MUTEX
        claim = Claim(request, 9_000, request)
        got = self.do(AcquireLock("default", "k", claim, False, kind, self.permits))
        told = self.note("acquire", (request, again), int(got) if got else False)
        if told and got:
            self.held[int(got)] = request
        elif not told:
            self.doubtful.append(request)

    def release(self, token: int, request: str) -> None:
        if self.note("release", (request, token), self.do(ReleaseLock("default", "k", token)) is not False):
            del self.held[token]

    def expire(self) -> None:
        """The time of the oldest grant is up: from then on, or of a lost one, its end is possible."""
        for token, grant in list(self.grants().items())[:1]:
            told = any(o.result == token for o in self.history if o.kind == "acquire")
            self.do(ExpireLease(token))
            self.history += ends("k", (grant.claim.request, token if told else None), self.now)


@pytest.mark.parametrize("permits", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_the_core_answers_is_linearizable(seed: int, permits: int) -> None:
    assert check(Play(Random(seed), permits).run(150), Lock(permits)) is None


def lends_twice(state: ClusterState, command: Any) -> None:
    """A grant more than there are permits."""
    if isinstance(command, AcquireLock) and state.index % 16 == 0:
        for token, grant in state.lock_grants.get("default/k", {}).items():
            state.lock_grants["default/k"][token] = replace(grant, free_ms=1)


def ends_early(state: ClusterState, command: Any) -> None:
    """Grants vanish before their time."""
    if state.index % 16 == 0:
        for token in list(state.lock_grants.get("default/k", {}))[:1]:
            apply(state, ExpireLease(token), NOW)


@pytest.mark.parametrize("broken", [lends_twice, ends_early])
def test_a_core_that_breaks_a_rule_is_found(broken: Break) -> None:
    found = sum(check(Play(Random(seed), 1, broken=broken).run(150), ONE) is not None for seed in range(6))
    assert found >= 4


def released_in_vain(o: Operation) -> Operation | None:
    return replace(o, result=False) if o.kind == "release" and o.result is True else None


def granted_an_old_token(o: Operation) -> Operation | None:
    return replace(o, result=1) if o.kind == "acquire" and o.call > 300 and o.result else None


def granted_too_much(o: Operation) -> Operation | None:
    return replace(o, result=100_000) if o.kind == "acquire" and o.result is False else None


def shown_a_stranger(o: Operation) -> Operation | None:
    return replace(o, result=(("nobody", 100_000),)) if o.kind == "show" else None


@pytest.mark.parametrize("wrong", [released_in_vain, granted_an_old_token, granted_too_much, shown_a_stranger])
@pytest.mark.parametrize("permits", [1, 2])
def test_one_wrong_answer_among_many_is_found(wrong: Callable[[Operation], Operation | None], permits: int) -> None:
    """The tenth that can be wrong in this way."""
    history = Play(Random(3), permits, lost=0.03).run(300)
    places = [i for i, o in enumerate(history) if o.ret is not None and wrong(o) is not None]
    place = places[min(10, len(places) - 1)]
    history[place] = wrong(history[place]) or history[place]
    assert check(history, Lock(permits)) is not None
