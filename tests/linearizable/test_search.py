"""The search answers what trying everything answers, and does not need long for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linearizable import REGISTER, Operation, check
from tests.linearizable.history import by_key
from tests.linearizable.search import Search

#: (value, revision, the largest revision so far); no value: (None, 0, …)
Concrete = tuple[Any, float, float]


def concretely(state: Concrete, o: Operation, revisions: list[float]) -> Iterator[Concrete]:
    """Every state that a real register could be in afterwards, if it could answer so."""
    value, revision, last = state
    argument = o.argument
    match o.kind:
        case "get" if o.ret is None or o.result == ((value, revision) if revision else None):
            yield state
        case "delete" if o.ret is None or o.result is bool(revision and argument in (None, revision)):
            yield (None, 0, last) if argument in (None, revision) else state
        case "incr":
            total = (value or 0) + argument
            chosen = revisions if o.ret is None else [o.result[1]] if o.result[0] == total else []
            yield from ((total, r, r) for r in chosen if r > last)
        case "put" | "cas":
            content, met = (argument, True) if o.kind == "put" else (argument[1], argument[0] == revision)
            if not met:
                if o.ret is None or o.result is False:
                    yield state
            elif o.result is not False:
                chosen = revisions if o.ret is None else [o.result]
                yield from ((content, r, r) for r in chosen if r > last)
        case _:  # it cannot have answered so
            return


def explained(history: list[Operation]) -> bool:
    """The same question, by trying everything: every order, and every revision that a lost write may have got."""
    told = {0.0}
    for o in history:
        if isinstance(o.result, tuple):
            told.add(o.result[1])
        elif o.kind in ("put", "cas") and o.result:
            told.add(o.result)
        if o.kind == "cas":
            told.add(o.argument[0])
        if o.kind == "delete" and o.argument is not None:
            told.add(o.argument)
    # Between any two, and after all, there is room for as many as there are writes.
    revisions = sorted({r + i / 8 for r in told for i in range(len(history) + 1)} - {0.0})

    def rest(state: Concrete, left: tuple[Operation, ...]) -> bool:
        end = min((o.ret for o in left if o.ret is not None), default=inf)
        if end == inf:
            return True
        return any(
            rest(after, (*left[:i], *left[i + 1 :]))
            for i, o in enumerate(left)
            if o.call <= end
            for after in concretely(state, o, revisions)
        )

    return rest((None, 0, 0), tuple(history))


REVISIONS = st.integers(1, 4)
VALUES = st.sampled_from("ab")


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    kind = draw(st.sampled_from(["get", "put", "cas", "delete"]))
    call = draw(st.integers(0, 8))
    ret = draw(st.one_of(st.none(), st.integers(call, 10)))
    argument: Any = None
    result: Any = None
    match kind:
        case "get":
            result = draw(st.none() | st.tuples(VALUES, REVISIONS))
        case "put":
            argument, result = draw(VALUES), draw(REVISIONS)
        case "cas":
            argument = (draw(st.integers(0, 4)), draw(VALUES))
            result = draw(st.just(False) | REVISIONS)
        case _:
            argument, result = draw(st.none() | REVISIONS), draw(st.booleans())
    return Operation("c", "k", call, ret, kind, argument, result if ret is not None else None)


@settings(max_examples=400, deadline=None)
@given(st.lists(operations(), max_size=5))
def test_any_history_is_judged_as_by_trying_everything(history: list[Operation]) -> None:
    assert (check(history, REGISTER) is None) == explained(history)


@st.composite
def counting(draw: st.DrawFn) -> Operation:
    kind, call = draw(st.sampled_from(["get", "incr"])), draw(st.integers(0, 8))
    ret = draw(st.one_of(st.none(), st.integers(call, 10)))
    result: Any = draw(st.tuples(st.integers(1, 3), REVISIONS))
    amount = draw(st.integers(1, 2)) if kind == "incr" else None
    return Operation("c", "k", call, ret, kind, amount, result if ret is not None else None)


@settings(max_examples=300, deadline=None)
@given(st.lists(counting(), max_size=5))
def test_any_history_of_a_counter_is_judged_as_by_trying_everything(history: list[Operation]) -> None:
    assert (check(history, REGISTER) is None) == explained(history)


def played(rng: random.Random, *, count: int, clients: int, lost: float, keys: int = 1) -> list[Operation]:
    """What `clients` saw of registers that are right: each acts at one moment between call and answer."""
    values: dict[str, tuple[str, int]] = {}
    free = [0.0] * clients
    acts = []
    for i in range(count):
        client = min(range(clients), key=free.__getitem__)
        call = free[client] + rng.expovariate(1)
        act = call + rng.expovariate(1)
        free[client] = act + rng.expovariate(1)
        acts.append((act, call, free[client], i))
        if rng.random() < lost:  # it acts when it likes, and the client goes on at once
            acts[-1] = (act + rng.expovariate(0.05), call, inf, i)
    history = []
    for index, (_, call, ret, i) in enumerate(sorted(acts), start=1):
        key = f"k{rng.randrange(keys)}"
        present = values.get(key)
        kind = rng.choice(["get", "get", "put", "cas", "delete"])
        argument: Any = None
        result: Any = None
        if kind == "get":
            result = present
        elif kind == "put":
            argument, result = f"v{i}", index
        elif kind == "cas":
            believed = present[1] if present and rng.random() < 0.7 else 0
            argument = (believed, f"v{i}")
            result = index if believed == (present[1] if present else 0) else False
        elif kind == "delete":
            argument = rng.choice([None, present[1]]) if present else None
            result = present is not None
        if kind in ("put", "cas") and result is not False:
            values[key] = (f"v{i}", index)
        elif kind == "delete":
            values.pop(key, None)
        known = ret if ret != inf else None
        history.append(Operation(f"c{i}", key, call, known, kind, argument, result if known is not None else None))
    return history


@pytest.mark.parametrize("seed", range(40))
def test_what_a_right_register_answers_is_good(seed: int) -> None:
    assert check(played(random.Random(seed), count=120, clients=5, lost=0.1), REGISTER) is None


@pytest.mark.parametrize("seed", range(30))
def test_one_wrong_answer_is_found_where_it_is(seed: int) -> None:
    """A read that answers what an earlier one, over long before, had answered, though that was written over since."""
    rng = random.Random(seed)
    history = sorted(played(rng, count=200, clients=4, lost=0.03), key=lambda o: o.call)
    reads = [i for i, o in enumerate(history) if o.kind == "get" and o.ret is not None and o.result is not None]
    stale = next(
        (old, new) for new in reversed(reads) for old in reads
        if history[old].result[1] < history[new].result[1] and (history[old].ret or 0) < history[new].call - 40
    )  # fmt: skip
    history[stale[1]] = replace(history[stale[1]], result=history[stale[0]].result)
    found = check(history, REGISTER)
    assert found is not None
    assert history[stale[1]] in found.window
    assert sum(o.ret is not None for o in found.window) < 60


@pytest.mark.parametrize(("keys", "lost"), [(1, 0.0), (1, 0.05), (8, 0.1), (50, 0.2)])
def test_five_thousand_operations_need_few_steps(keys: int, lost: float) -> None:
    history = played(random.Random(7), count=5_000, clients=10, lost=lost, keys=keys)
    steps = 0
    for part in by_key(history).values():
        search = Search(REGISTER.sharpen(part), REGISTER, REGISTER.start, 3_000_000)
        assert search.succeeds()
        steps += search.steps
    assert steps < 30 * len(history)
