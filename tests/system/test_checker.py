"""The judge finds each kind of fault in a history that is fine but for that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.system.checker import Asked, Line, judge

Row = dict[str, Any]
JOB = Asked("tick", 1_000, made_ms=500, from_ms=800, to_ms=3_200, paused_ms=3_600, serial=True)


def history() -> tuple[list[Row], list[Line]]:
    """Three slots: one attempt; two attempts, the first of which was killed; skipped."""
    rows = [
        {"run": "u/1000", "slot": 1_000, "outcome": "succeeded", "attempts": 1, "token": 11},
        {"run": "u/2000", "slot": 2_000, "outcome": "succeeded", "attempts": 2, "token": 15},
        {"run": "u/3000", "slot": 3_000, "outcome": "skipped", "attempts": 0, "token": None},
    ]
    lines = [
        Line("start", "u/1000", 1, 11, "n1", 100),
        Line("end", "u/1000", 1, 11, "n1", 200),
        Line("start", "u/2000", 1, 13, "n1", 300),
        Line("beat", "u/2000", 1, 13, "n1", 350),
        Line("start", "u/2000", 2, 15, "n2", 400),
        Line("end", "u/2000", 2, 15, "n2", 500),
    ]
    return rows, lines


def faults_after(change: Callable[[list[Row], list[Line]], object], job: Asked = JOB) -> list[str]:
    rows, lines = history()
    change(rows, lines)
    return judge([job], {"tick": rows}, lines).faults


def test_a_good_history_has_no_fault() -> None:
    rows, lines = history()
    verdict = judge([JOB], {"tick": rows}, lines)
    assert verdict.faults == []
    assert (verdict.slots, verdict.attempts, verdict.second_attempts) == (3, 3, 1)


def put(i: int, **change: Any) -> Callable[[list[Row], list[Line]], None]:
    """A change of one witness line."""

    def apply(rows: list[Row], lines: list[Line]) -> None:
        lines[i] = replace(lines[i], **change)

    return apply


FAULTS: dict[str, Callable[[list[Row], list[Line]], object]] = {
    "slot 2000 is not in the ledger": lambda rows, lines: rows.__setitem__(slice(1, 2), []),
    "slot 3000 is there 2 times": lambda rows, lines: rows.append({**rows[2], "run": "u/3000b"}),
    "two slots share the run u/2000": lambda rows, lines: rows[2].update(run="u/2000", outcome="succeeded"),
    "nobody asked for slot 1500": lambda rows, lines: rows.append({**rows[2], "run": "u/1500", "slot": 1_500}),
    "nobody asked for slot 5000": lambda rows, lines: rows.append(
        {**rows[2], "run": "u/5000", "slot": 5_000, "outcome": "missed"}
    ),
    "nobody asked for slot 0": lambda rows, lines: rows.append({**rows[2], "run": "u/0", "slot": 0}),
    "skipped, but it ran": lambda rows, lines: rows[0].update(outcome="skipped"),
    "that attempt never came to its end": lambda rows, lines: lines.pop(1),
    "no ledger knows it": put(0, run_id="u/9"),
    "the ledger knows of 1": lambda rows, lines: rows[1].update(attempts=1),
    "met another one alive": lambda rows, lines: lines.insert(4, Line("overlap", "u/2000", 2, 15, "n2", 399)),
    "attempt 1 started 2 times": lambda rows, lines: lines.insert(1, replace(lines[0], at_ns=150)),
    "attempt 1 was alive when 2 started": put(3, at_ns=450),
    "came after": put(4, token=12),
    "has no larger token than": put(2, token=10),
    "was alive after": put(1, at_ns=310),
    "token 11 was granted to": put(2, token=11),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_finds(fault: str) -> None:
    assert any(fault in found for found in faults_after(FAULTS[fault])), faults_after(FAULTS[fault])


def test_slots_of_a_pause_are_skipped() -> None:
    assert faults_after(lambda rows, lines: rows.append({**rows[2], "run": "u/5000", "slot": 5_000})) == []


def test_it_finds_an_outcome_that_the_job_must_not_have() -> None:
    job = replace(JOB, outcomes=frozenset({"succeeded"}))
    assert any("is no outcome for tick" in found for found in faults_after(lambda rows, lines: None, job))
