"""Histories that are known to be good or bad, each for one reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.linearizable import REGISTER, Operation, Undecided, check

History = list[Operation]


def op(client: str, call: float, ret: float | None, kind: str, argument: Any = None, result: Any = None) -> Operation:
    return Operation(client, "k", call, ret, kind, argument, result)


GOOD_REGISTER: dict[str, History] = {
    "nothing": [],
    "a read of what was written": [op("a", 0, 1, "put", "x", 4), op("b", 2, 3, "get", None, ("x", 4))],
    "a read before anything": [op("b", 2, 3, "get"), op("a", 4, 5, "put", "x", 4)],
    "a read beside a write, old": [op("a", 0, 9, "put", "x", 4), op("b", 2, 3, "get")],
    "a read beside a write, new": [op("a", 0, 9, "put", "x", 4), op("b", 2, 3, "get", None, ("x", 4))],
    "a lost write that acted late": [
        op("a", 0, None, "put", "x"),
        op("b", 2, 3, "get"),
        op("b", 4, 5, "get", None, ("x", 7)),
    ],
    "a lost write that never acted": [op("a", 0, None, "put", "x"), op("b", 2, 3, "get"), op("b", 4, 5, "get")],
    "a lost write seen by a refusal alone": [
        op("a", 0, 1, "put", "x", 4),
        op("b", 2, None, "put", "y"),
        op("a", 3, 4, "cas", (4, "z"), False),
    ],
    "a lost write, then a swap over it": [
        op("a", 0, None, "cas", (0, "x")),
        op("b", 1, 2, "get", None, ("x", 3)),
        op("b", 3, 4, "cas", (3, "y"), 5),
    ],
    "a delete between": [
        op("a", 0, 1, "put", "x", 4),
        op("a", 2, 3, "delete", 4, True),
        op("b", 4, 5, "get"),
        op("b", 6, 7, "delete", None, False),
    ],
    "counted at the same time": [
        op("a", 0, 9, "incr", 2, (7, 8)),
        op("b", 0, 9, "incr", 5, (5, 3)),
        op("a", 10, 11, "get", None, (7, 8)),
    ],
    "a lost count is in the sum": [op("a", 0, None, "incr", 2), op("b", 2, 3, "incr", 1, (3, 9))],
    "a lost count that never acted": [op("a", 0, None, "incr", 2), op("b", 2, 3, "incr", 1, (1, 9))],
    "a lost delete": [op("a", 0, 1, "put", "x", 4), op("a", 2, None, "delete"), op("b", 4, 5, "get")],
}

BAD_REGISTER: dict[str, History] = {
    "a stale read": [
        op("a", 0, 1, "put", "x", 4),
        op("a", 2, 3, "put", "y", 5),
        op("b", 4, 5, "get", None, ("x", 4)),
    ],
    "a lost acknowledged write": [op("a", 0, 1, "put", "x", 4), op("b", 2, 3, "get")],
    "a read from the future": [op("b", 0, 1, "get", None, ("x", 4)), op("a", 2, 3, "put", "x", 4)],
    "two reads that disagree about the order": [
        op("a", 0, 9, "put", "x", 4),
        op("b", 1, 2, "get", None, ("x", 4)),
        op("c", 3, 4, "get"),
    ],
    "a value that nobody wrote": [op("a", 0, 1, "put", "x", 4), op("b", 2, 3, "get", None, ("z", 4))],
    "another revision than it was told": [op("a", 0, 1, "put", "x", 4), op("b", 2, 3, "get", None, ("x", 5))],
    "revisions that go back": [op("a", 0, 1, "put", "x", 5), op("a", 2, 3, "put", "y", 4)],
    "two swaps over one revision": [
        op("a", 0, 1, "put", "x", 4),
        op("b", 2, 5, "cas", (4, "y"), 5),
        op("c", 3, 6, "cas", (4, "z"), 6),
    ],
    "a swap refused without a reason": [op("a", 0, 1, "put", "x", 4), op("b", 2, 3, "cas", (4, "y"), False)],
    "a lost write acts twice": [
        op("a", 0, None, "put", "x"),
        op("b", 2, 3, "get", None, ("x", 4)),
        op("b", 4, 5, "put", "y", 5),
        op("b", 6, 7, "get", None, ("x", 6)),
    ],
    "a lost write acts before its call": [op("b", 0, 1, "get", None, ("x", 4)), op("a", 2, None, "put", "x")],
    "a lost write is refused at its own revision": [
        op("a", 0, None, "put", "x"),
        op("b", 2, 3, "cas", (0, "y"), False),
        op("b", 4, 5, "cas", (4, "y"), False),
        op("b", 6, 7, "get", None, ("x", 4)),
    ],
    "a count is lost": [
        op("a", 0, 1, "incr", 2, (2, 3)),
        op("a", 2, 3, "incr", 2, (2, 4)),
    ],
    "counted twice": [
        op("a", 0, None, "incr", 2),
        op("b", 2, 3, "incr", 1, (3, 9)),
        op("b", 4, 5, "incr", 1, (6, 10)),
    ],
    "two are told the same sum": [
        op("a", 0, 9, "incr", 1, (1, 3)),
        op("b", 0, 9, "incr", 1, (1, 4)),
    ],
    "a delete of nothing that was one": [op("a", 0, 1, "delete", None, True)],
    "it comes back after its delete": [
        op("a", 0, 1, "put", "x", 4),
        op("a", 2, 3, "delete", None, True),
        op("b", 4, 5, "get", None, ("x", 4)),
    ],
}


@pytest.mark.parametrize("name", GOOD_REGISTER)
def test_a_good_register(name: str) -> None:
    assert check(GOOD_REGISTER[name], REGISTER) is None


@pytest.mark.parametrize("name", BAD_REGISTER)
def test_a_bad_register(name: str) -> None:
    assert check(BAD_REGISTER[name], REGISTER) is not None


def test_keys_do_not_know_each_other() -> None:
    history = [Operation("a", "k1", 0, 1, "put", "x", 4), Operation("b", "k2", 2, 3, "get", None, None)]
    assert check(history, REGISTER) is None


def test_a_violation_shows_the_shortest_stretch() -> None:
    """Of a long history, the two writes and the read that went wrong: without the first the second explains nothing."""
    before = [op("a", 10 * i, 10 * i + 1, "put", f"v{i}", i + 1) for i in range(50)]
    after = [op("a", 1000 + 10 * i, 1000 + 10 * i + 1, "put", f"w{i}", 900 + i) for i in range(50)]
    bad = [op("a", 700, 701, "put", "x", 800), op("b", 710, 711, "get", None, ("v49", 50))]
    found = check([*before, *bad, *after], REGISTER)
    assert found is not None
    assert found.window == tuple(bad)
    assert not found.from_start
    assert str(found).splitlines()[1:] == [str(operation) for operation in bad]


def test_what_was_asked_before_the_stretch_may_have_acted_before_it() -> None:
    """The slow write belongs to neither side of a moment within it: no stretch is bad because of where it begins."""
    history = [
        op("a", 0, 10, "put", "slow", 4),
        op("b", 2, 4, "put", "fast", 5),
        op("b", 11, 12, "get", None, ("fast", 5)),
        op("b", 13, 14, "get"),
    ]
    found = check(history, REGISTER)
    assert found is not None
    assert found.window == tuple(history[2:])


def test_too_long_a_search_says_so() -> None:
    history = [op(f"c{i}", 0, 100, "put", i % 3, i + 1) for i in range(12)]
    with pytest.raises(Undecided, match="k: 12 operations"):
        check(history, REGISTER, steps_max=5)
