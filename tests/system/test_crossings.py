"""A short run of the crossings program: the leader is killed and hands over, and each crossing is one run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.system.crossings import crossed, levels, run
from tests.system.processes import cluster_in

pytestmark = pytest.mark.timeout(120)


def test_values_cross_the_threshold_as_often_as_was_asked_for() -> None:
    for seed in range(20):
        values = list(levels(random.Random(seed), 1_000, 37))
        assert (len(values), crossed(values)) == (1_000, 37)


async def test_each_crossing_is_one_run_whoever_leads(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        report = await run(cluster, writes=160, crossings=15, changes=2, seed=4)
    assert report.good, str(report)
    assert (report.writes, report.runs, report.kills, len(report.leaders)) == (160, 15, 1, 3)
