"""An hour of runs leaves nothing behind that grows: every table has its bound, and so has all that the planner keeps.

The bounds are made small, so that they are reached in the first minutes; `benchmarks/hour.py` runs with the real ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.hour import Hour, grown
from peercron.core import apply as applying
from peercron.core import history, planner
from peercron.core.apply import ledger, run
from tests.core.invariants import violations

JOBS = 60
BOUNDS = {
    "RUNS_KEPT_PER_JOB": (ledger, 4),
    "LEDGER_KEPT_PER_JOB": (ledger, 12),
    "DELETED_JOBS_KEPT": (ledger, 6),
}


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (module, most) in BOUNDS.items():
        monkeypatch.setattr(module, name, most)
    for module in (history, run):
        monkeypatch.setattr(module, "RECENT_RUNS_KEPT", 50)


def sizes_by_minute(minutes: int) -> list[dict[str, int]]:
    hour, sizes = Hour(JOBS), []
    for _ in range(minutes):
        for _ in range(60):
            hour.pass_second()
        sizes.append(hour.sizes())
    return sizes


def test_an_hour_of_runs_leaves_nothing_behind_that_grows() -> None:
    sizes = sizes_by_minute(60)
    assert sizes[-1]["index"] == 1
    assert sizes[-1]["ledger"] > 10 * JOBS, "the bounds were reached"
    assert grown(sizes) == {}


def keep(_: Any, *__: Any) -> None:
    return None


#: What keeps something small, and where its absence shows.
BROKEN: dict[str, tuple[Any, str, Any]] = {
    "ledger": (ledger, "LEDGER_KEPT_PER_JOB", 10_000),
    "ended_runs": (ledger, "RUNS_KEPT_PER_JOB", 10_000),
    "deleted_jobs": (ledger, "bury", keep),
    "results": (applying, "_raise_floor", keep),
    "recent_runs": (run, "RECENT_RUNS_KEPT", 10_000),
}


@pytest.mark.parametrize("table", BROKEN)
def test_what_grows_is_noticed(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead = BROKEN[table]
    monkeypatch.setattr(where, name, instead)
    assert table in grown(sizes_by_minute(24))


def test_the_hour_keeps_the_invariants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(planner, "JOBS_SEEN_PER_PLAN_MAX", 3)
    hour = Hour(jobs=24, seed=2)
    for second in range(240):
        hour.pass_second()
        if second % 10 == 0:
            assert violations(hour.state) == []
