"""Histories of queues that are known to be good or bad, each for one reason; and of the real core, which are good."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from peercron.core.apply import apply
from peercron.core.commands import AckItems, ExpireLease, NackItems, PutItem, PutQueue, ReceiveItems
from peercron.core.verdict import Done
from tests.core.builders import NOW, cluster
from tests.linearizable import FIFO, Operation, check, ends

History = list[Operation]


def op(client: str, call: float, ret: float | None, kind: str, argument: Any = None, result: Any = None) -> Operation:
    return Operation(client, "q", call, ret, kind, argument, result)


def lapse(received: Operation, ttl: float) -> Operation:
    """The end of a delivery by time; what a lost one took may be given back by its node at any time."""
    if received.ret is None:
        return ends("q", received.argument, received.call)[0]
    return ends("q", received.result[0], received.call + ttl)[0]


TWO = [op("a", 0, 1, "put", "x", 1), op("a", 2, 3, "put", "y", 2)]
GOOD: dict[str, History] = {
    "nothing": [],
    "first come, first served": [
        *TWO,
        op("b", 4, 5, "receive", None, (3, "x")),
        op("b", 6, 7, "receive", None, (4, "y")),
        op("b", 8, 9, "receive"),
    ],
    "puts at the same time, either way": [
        op("a", 0, 9, "put", "x", 2),
        op("c", 0, 9, "put", "y", 1),
        op("b", 10, 11, "receive", None, (3, "y")),
    ],
    "empty beside a put": [op("a", 0, 9, "put", "x", 5), op("b", 1, 2, "receive")],
    "given back, to its place": [
        *TWO,
        op("b", 4, 5, "receive", None, (3, "x")),
        op("b", 6, 7, "nack", (3, "x"), True),
        op("c", 8, 9, "receive", None, (5, "x")),
    ],
    "more time, while there is some": [
        *TWO,
        op("b", 4, 5, "receive", None, (3, "x")),
        op("b", 6, 7, "extend", (3, "x"), True),
        op("b", 8, 9, "ack", (3, "x"), True),
        op("b", 10, 11, "extend", (3, "x"), False),
    ],
    "done once": [
        *TWO,
        op("b", 4, 5, "receive", None, (3, "x")),
        op("b", 6, 7, "ack", (3, "x"), True),
        op("b", 8, 9, "ack", (3, "x"), False),
    ],
    "a lost receive, whose item comes back when its time is up": [
        *TWO,
        lost := op("b", 4, None, "receive", "r1"),
        lapse(lost, 10),
        op("c", 5, 6, "receive", None, (4, "y")),
        op("c", 20, 21, "receive", None, (9, "x")),
    ],
    "two lost receives, of which one comes back": [
        *TWO,
        lost,
        lapse(lost, 10),
        other := op("c", 4, None, "receive", "r2"),
        lapse(other, 10),
        op("c", 20, 21, "receive", None, (9, "y")),
        op("c", 22, 23, "receive"),
    ],
    "a lost receive is given back by its node at once": [
        *TWO[:1],
        lost,
        lapse(lost, 10),
        op("c", 5, 6, "receive"),
        op("c", 7, 8, "receive", None, (9, "x")),
    ],
    "a lost put that acted late, and one that nobody ever saw": [
        op("a", 0, None, "put", "x"),
        op("a", 0, None, "put", "y"),
        op("b", 2, 3, "receive"),
        op("b", 4, 5, "receive", None, (7, "x")),
        op("b", 6, 7, "receive"),
    ],
    "a lost ack that acted": [
        op("a", 0, 1, "put", "x", 1),
        op("b", 4, 5, "receive", None, (3, "x")),
        op("b", 6, None, "ack", (3, "x")),
        op("b", 8, 9, "ack", (3, "x"), False),
    ],
}
BAD: dict[str, History] = {
    "out of order": [*TWO, op("b", 4, 5, "receive", None, (3, "y"))],
    "an acknowledged put is lost": [*TWO[:1], op("b", 4, 5, "receive")],
    "two have it": [
        *TWO[:1],
        op("b", 4, 5, "receive", None, (3, "x")),
        op("c", 6, 7, "receive", None, (4, "x")),
    ],
    "it comes back after it was done": [
        *TWO[:1],
        received := op("b", 4, 5, "receive", None, (3, "x")),
        lapse(received, 10),
        op("b", 6, 7, "ack", (3, "x"), True),
        op("c", 30, 31, "receive", None, (9, "x")),
    ],
    "it comes back before its time is up": [
        *TWO[:1],
        received,
        lapse(received, 10),
        op("c", 6, 7, "receive", None, (4, "x")),
    ],
    "it has more time after its end": [
        *TWO[:1],
        received,
        lapse(received, 10),
        op("c", 20, 21, "receive", None, (9, "x")),
        op("b", 22, 23, "extend", (3, "x"), True),
    ],
    "a late ack is taken": [
        *TWO[:1],
        received,
        lapse(received, 10),
        op("c", 20, 21, "receive", None, (9, "x")),
        op("b", 22, 23, "ack", (3, "x"), True),
    ],
    "a lost receive took two": [*TWO, lost, op("c", 5, 6, "receive")],
    "one lost receive comes back twice": [
        *TWO,
        lost,
        lapse(lost, 10),
        op("c", 5, 6, "receive", None, (4, "y")),
        op("c", 20, 21, "receive", None, (9, "x")),
        op("d", 22, 23, "receive", None, (10, "y")),
    ],
    "a lost put acts twice": [
        op("a", 0, None, "put", "x"),
        op("b", 2, 3, "receive", None, (3, "x")),
        op("b", 4, 5, "ack", (3, "x"), True),
        op("b", 6, 7, "receive", None, (8, "x")),
    ],
    "a lost ack acts though it came back before": [
        *TWO[:1],
        received,
        op("b", 6, 7, "nack", (3, "x"), True),
        op("b", 8, None, "ack", (3, "x")),
        op("c", 10, 11, "receive"),
    ],
    "from nowhere": [op("b", 4, 5, "receive", None, (3, "z"))],
    "tokens go back": [
        *TWO,
        op("b", 4, 5, "receive", None, (9, "x")),
        op("b", 6, 7, "receive", None, (8, "y")),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert check(GOOD[name], FIFO) is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_noticed(name: str) -> None:
    assert check(BAD[name], FIFO) is not None


@pytest.mark.parametrize("seed", range(5))
def test_what_the_core_does_passes_also_when_answers_overlap_and_get_lost(seed: int) -> None:
    assert check(history_of_the_core(Random(seed)), FIFO) is None


def history_of_the_core(dice: Random, steps: int = 60) -> History:
    """Each operation acts at its own moment; it was asked for a while before, and answered, or not, a while after."""
    state, history, out = cluster("a"), History(), dict[int, tuple[Operation, str]]()
    apply(state, PutQueue("default", "q", 1_000, max_attempts=0), NOW)
    for moment in range(10, 10 * steps, 10):
        call, ret = moment - dice.uniform(0, 25), moment + dice.uniform(0, 25) if dice.random() < 0.9 else None
        token = dice.choice([*out, 0])
        if dice.random() < 0.4:
            value = f"v{moment}"
            verdict = apply(state, PutItem("default", "q", value.encode()), NOW)
            assert isinstance(verdict, Done)
            history.append(op(f"c{moment}", call, ret, "put", value, verdict.value if ret else None))
        elif not token or dice.random() < 0.5:
            verdict = apply(state, ReceiveItems("default", "q"), NOW)
            got = verdict.value if isinstance(verdict, Done) and isinstance(verdict.value, int) else 0
            seen = state.items["default/q"][state.deliveries[got].items[0]].payload.decode() if got else ""
            received = op(f"c{moment}", call, ret, "receive", f"r{moment}", (got, seen) if got and ret else None)
            history.append(received)
            if got:
                out[got] = received, seen
        elif out[token][0].ret is None or dice.random() < 0.2:
            received, _ = out.pop(token)
            apply(state, ExpireLease(token), NOW)
            history.append(lapse(received, 0))
        else:
            kind, command = dice.choice((("ack", AckItems(token)), ("nack", NackItems(token))))
            done = isinstance(apply(state, command, NOW), Done)
            _, seen = out.pop(token)
            history.append(op(f"c{moment}", call, ret, kind, (token, seen), done if ret else None))
    return history
