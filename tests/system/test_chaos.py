"""A short run of the chaos program: five hosts whose network falls apart while clients and jobs are at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import Chaos
from tests.system.netns import unavailable

pytestmark = [
    pytest.mark.xdist_group("nodes"),
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
    pytest.mark.timeout(240),
]


@pytest.mark.parametrize("state_only", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_partitions_kills_and_hangs_under_work_leave_one_history(tmp_path: Path, state_only: bool) -> None:
    report = Chaos(tmp_path, nodes=5, seed=20261124, kills=True, stops=True, state_only=state_only).run(14)
    assert report.good, str(report)
    assert report.faults.total() >= 2
    used = [len(log) for log in report.history.logs.values() if log]
    assert (len(used), min(used) > 100) == (1 if state_only else 4, True)
    assert report.verdict.attempts > 20
