"""Whole nodes under a virtual clock, network and disk: seeds hold, a seed is one history, broken rules are seen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sim.whole.mutants import MUTANTS
from tests.sim.whole.run import plan_of, run

# Who dies in the middle of its work leaves coroutines that nobody awaits.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
#: A longer run is one command: `python -m tests.sim --seeds 1000`.
SEEDS = range(5)
SECONDS = 120.0
#: Seeds that found something once, each with its story.
FOUND = {
    559: "a member that asked again for its session counted its lease from the last try, the leader from the first",
}
#: Rules whose breach the first seeds show; the others take luck, and more seeds than a test has time for.
SOON = ("commits alone", "applies in another order", "grants an old token", "checks the overlap when it plans")
MUTANT_SEEDS = 4


@pytest.mark.parametrize("seed", [*SEEDS, *FOUND])
def test_what_clients_saw_and_what_ran_is_as_promised(seed: int) -> None:
    result = run(plan_of(seed, seconds=SECONDS))
    assert result.findings == []
    # It is a test only where something happened.
    assert min(result.answered, result.attempts, result.slots) > 20
    assert result.faults > 5


def test_a_seed_is_one_history_in_every_process() -> None:
    program = f"from tests.sim.whole.run import plan_of, run; print(run(plan_of(5, seconds={SECONDS})).trace)"
    traces = {run(plan_of(5, seconds=SECONDS)).trace + "\n"}
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        told = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        traces.add(told.stdout)
    assert len(traces) == 1
    assert run(plan_of(6, seconds=SECONDS)).trace + "\n" not in traces


@pytest.mark.parametrize("name", SOON)
def test_a_broken_rule_is_noticed(name: str) -> None:
    mutant = MUTANTS[name]
    with mutant.broken():
        seeds = range(mutant.seed, mutant.seed + MUTANT_SEEDS)
        results = (run(plan_of(seed, mutant.faults, mutant.seconds, mutant.members)) for seed in seeds)
        assert any(result.findings for result in results), "nobody noticed"
