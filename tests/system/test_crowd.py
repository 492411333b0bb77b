"""A short run of the crowd program: the order of the line, over all nodes, and one command for each turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.crowd import run
from tests.system.processes import cluster_in

pytestmark = pytest.mark.timeout(120)


async def test_who_waits_at_three_nodes_has_the_lock_in_the_order_of_the_line(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        report = await run(cluster, waiters=120, gone=12, seconds=1.0)
    assert report.good, str(report)
    assert len(report.turns_ms) == 104
