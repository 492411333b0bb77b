"""Done when: 200 runs of 3 and 5 nodes without a violation or a lost write; without the guard the same runs fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sim.mutants import MUTANTS, Unguarded, UnguardedJournal
from tests.sim.schedule import EVERYTHING, Result, run

#: 5 x 28 + 3 x 14 = 182 runs.
RUNS = [
    ("pakd", 3),
    ("pakdc", 3),
    ("pakdcl", 3),
    ("pakdclft", 3),
    (EVERYTHING, 3),
    ("pakdc", 5),
    ("pakdclft", 5),
    (EVERYTHING, 5),
]
SEEDS = {3: 28, 5: 14}
MUTANT_SEEDS = 60
#: What an observer can see; another error would say that the mutant is broken, not that it was noticed.
SEEN = {"state machine safety", "election safety", "stale read", "damaged", "SafetyViolation", "AssertionError"}
#: Mutants that need rare luck begin a little before the seed that has it, to save time.
FIRST_SEEDS = {
    "forgets before its snapshot is durable": 214,
    "forgets who votes": 32,
    "talks before the flush": 17,
    "votes twice in a term": 19,
    "trusts itself in doubt": 8,
    "changes many voters at a time": 9,
    "votes for older logs": 3,
}


def runs(faults: str, members: int, seeds: int, first: int = 0, **kinds: Any) -> Iterator[Result]:
    for seed in range(first, first + seeds):
        yield run(seed, faults, members, **kinds)


@pytest.mark.parametrize(("faults", "members"), RUNS)
def test_nothing_is_lost_and_all_agree_in_the_end(faults: str, members: int) -> None:
    results = list(runs(faults, members, SEEDS[members]))
    assert [result for result in results if not result.sound] == []
    # It is a test only where something happened.
    assert sum(result.acknowledged for result in results) > 300 * len(results)
    assert sum(result.reads for result in results) > 80 * len(results)


@pytest.mark.parametrize("members", [1, 2])
def test_the_smallest_clusters_lose_nothing(members: int) -> None:
    assert [result for result in runs("kdcls", members, 5) if not result.sound] == []


@pytest.mark.parametrize(("faults", "members"), [("pakdc", 3), ("pakdcl", 3), ("pakdclft", 5)])
def test_the_same_runs_without_the_guard_fail(faults: str, members: int) -> None:
    lost = diverged = 0
    for result in runs(faults, members, SEEDS[members], replica_type=Unguarded, journal_type=UnguardedJournal):
        lost += result.lost
        diverged += any(kind == "state machine safety" for kind, _ in result.violations)
        if lost and diverged:
            return
    raise AssertionError(f"{lost} lost, {diverged} diverged: what does the guard protect from?")


@pytest.mark.parametrize("name", MUTANTS)
def test_each_broken_rule_is_noticed(name: str) -> None:
    break_it, faults, members = MUTANTS[name]
    with break_it() as kinds:
        found = next(
            (r for r in runs(faults, members, MUTANT_SEEDS, FIRST_SEEDS.get(name, 0), **kinds) if not r.safe), None
        )
    assert found, "nobody noticed"
    assert {kind for kind, _ in found.violations} <= SEEN


def test_a_seed_is_one_history_in_every_process() -> None:
    traces = set()
    for hash_seed in ("0", "1"):
        program = f"from tests.sim.schedule import run; print(run(11, {EVERYTHING!r}, 5, 8.0).trace)"
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.add(told.stdout)
    traces.add(run(11, EVERYTHING, 5, 8.0).trace + "\n")
    assert len(traces) == 1
    assert run(12, EVERYTHING, 5, 8.0).trace + "\n" not in traces
