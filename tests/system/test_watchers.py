"""A short run of the watchers program: the leader is killed, and nobody misses a change or is told one twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.processes import cluster_in
from tests.system.watchers import run

pytestmark = pytest.mark.timeout(120)


async def test_every_watcher_sees_every_change_once_and_in_order(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        report = await run(cluster, watchers=12, changes=1_000, kills=1)
    assert report.good, str(report)
    assert report.acknowledged >= 1_000
