"""Histories of a semaphore of two permits that are known to be good or bad, each for one reason."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import AcquireLock, ReleaseLock
from peercron.core.lock import Claim, LockKind
from peercron.core.verdict import Done
from tests.core.builders import NOW, cluster
from tests.linearizable import MUTEX, Operation, Semaphore, check, expiry

TWO = Semaphore(2)
History = list[Operation]


def op(client: str, call: float, ret: float | None, kind: str, argument: Any = None, result: Any = None) -> Operation:
    return Operation(client, "k", call, ret, kind, argument, result)


A, B = op("a", 0, 1, "acquire", "a", 5), op("b", 2, 3, "acquire", "b", 6)
GOOD: dict[str, History] = {
    "two places, and no third": [A, B, op("c", 4, 5, "acquire", "c", False)],
    "the older is given back first": [A, B, op("a", 4, 5, "release", 5, True), op("c", 6, 7, "acquire", "c", 8)],
    "a stale release": [A, op("a", 2, 3, "release", 5, True), op("a", 4, 5, "release", 5, False)],
    "a lost grant takes a place": [A, op("b", 2, None, "acquire", "b"), op("c", 4, 5, "acquire", "c", False)],
    "a lost grant is given back": [op("b", 0, None, "acquire", "b"), op("b", 4, 5, "release", 3, True)],
    "its time was over": [A, B, expiry(A, 10, 5), op("c", 11, 12, "acquire", "c", 8)],
}
BAD: dict[str, History] = {
    "three holders": [A, B, op("c", 4, 5, "acquire", "c", 7)],
    "refused though there was room": [A, op("c", 4, 5, "acquire", "c", False)],
    "a token that does not grow": [B, op("a", 4, 5, "acquire", "a", 5)],
    "given back twice": [A, op("a", 2, 3, "release", 5, True), op("a", 4, 5, "release", 5, True)],
    "a holder is refused": [A, op("a", 2, 3, "release", 5, False)],
    "given away before its time was over": [A, B, expiry(A, 10, 5), op("c", 8, 9, "acquire", "c", 8)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_semaphore(name: str) -> None:
    assert check(GOOD[name], TWO) is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_semaphore(name: str) -> None:
    assert check(BAD[name], TWO) is not None


@pytest.mark.parametrize("permits", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_what_the_core_answers_is_linearizable(seed: int, permits: int) -> None:
    """Clients whose requests overlap, and some of whose answers are lost; the core decides at one instant of each."""
    dice, state = Random(seed), cluster("a")
    history: History = []
    held: list[int] = []
    kind = LockKind.SEMAPHORE if permits > 1 else LockKind.MUTEX
    for step in range(120):
        begun, ended = step * 10 - dice.randrange(8), step * 10 + dice.randrange(8)
        lost = dice.random() < 0.1
        if held and dice.random() < 0.45:
            token = dice.choice(held) if dice.random() < 0.9 else 1
            done = isinstance(apply(state, ReleaseLock("default", "k", token), NOW), Done)
            held = [each for each in held if each != token]
            history.append(op(f"c{step}", begun, None if lost else ended, "release", token, None if lost else done))
        else:
            verdict = apply(
                state, AcquireLock("default", "k", Claim(f"o{step}", 9_000, f"r{step}"), False, kind, permits), NOW
            )
            got = int(verdict.value or 0) if isinstance(verdict, Done) else False
            held += [got] if got else []
            history.append(op(f"c{step}", begun, None if lost else ended, "acquire", f"o{step}", None if lost else got))
    assert check(history, TWO if permits == 2 else Semaphore(permits)) is None
    if permits == 1:
        assert check(history, MUTEX) is None
