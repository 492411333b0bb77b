"""A short run of the chaos program: five hosts whose network falls apart while clients and jobs are at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import Chaos
from tests.system.netns import unavailable

pytestmark = [
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
    pytest.mark.timeout(240),
]


def test_partitions_kills_and_hangs_under_work_leave_one_history(tmp_path: Path) -> None:
    report = Chaos(tmp_path, nodes=5, seed=20261124, kills=True, stops=True).run(14)
    assert report.good, str(report)
    assert report.faults.total() >= 2
    assert min(len(log) for log in report.history.logs.values()) > 100
    assert report.verdict.attempts > 20
