"""Every way of sharing work, in whole nodes under faults: the first seeds hold, and broken rules are seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.whole.modes.jobs import FAMILIES
from tests.sim.whole.modes.mutants import MUTANTS
from tests.sim.whole.modes.work import PROGRAMS
from tests.sim.whole.run import plan_of, run

# Who dies in the middle of its work leaves coroutines that nobody awaits.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
#: A longer run is one command: `python -m tests.sim --work modes --seeds 100`.
SECONDS = 60.0
#: (seed, family, seconds) that found something once, each with its story.
FOUND = {
    (
        105,
        "slices",
        100.0,
    ): "a clock that was five minutes ahead for four seconds: its node gave up five minutes of slots",
    (
        112,
        "slices",
        100.0,
    ): "one of two clocks was five minutes ahead and stamped the log: both nodes started nothing for so long",
}
#: Rules whose breach is seen in the default run; all of them: `pytest -m slow tests/sim/test_modes.py`.
SOON = (
    "the head stays at the head",
    "contenders run together",
    "nobody waits at the barrier",
    "slices ask for a quorum",
    "a condition fires while it holds",
    "failures count as success",
    "one more than may",
)
MUTANT_SEEDS = 2


@pytest.mark.parametrize("family", [*FAMILIES, *PROGRAMS])
def test_each_way_of_sharing_keeps_what_it_promises(family: str) -> None:
    seed = 1 + [*FAMILIES, *PROGRAMS].index(family)
    result = run(replace(plan_of(seed, seconds=SECONDS, work="modes"), families=(family,)))
    assert result.findings == []
    # It is a test only where something happened.
    assert result.attempts + result.tally["items acknowledged"] + result.tally["holds of locks"] > 3
    assert result.faults > 0


@pytest.mark.parametrize(("seed", "family", "seconds"), FOUND)
def test_what_was_found_once_is_not_found_again(seed: int, family: str, seconds: float) -> None:
    assert run(replace(plan_of(seed, seconds=seconds, work="modes"), families=(family,))).findings == []


def test_all_of_them_beside_each_other() -> None:
    result = run(plan_of(0, seconds=SECONDS, work="modes"))
    assert result.findings == []
    assert result.attempts > 100


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SOON else pytest.mark.slow) for name in MUTANTS]
)
def test_a_broken_rule_is_noticed(name: str) -> None:
    mutant = MUTANTS[name]
    with mutant.broken():
        results = (run(mutant.plan(seed)) for seed in range(mutant.seed, mutant.seed + MUTANT_SEEDS))
        kinds = (finding.kind for result in results for finding in result.findings)
        assert any(kind in mutant.kinds for kind in kinds), "nobody noticed"
