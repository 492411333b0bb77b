"""An idle cluster writes nothing. (What it costs in processor time, `python -m tests.system.idle` says.)"""

from __future__ import annotations

from pathlib import Path

from tests.system.idle import measure
from tests.system.processes import cluster_in


def test_an_idle_cluster_writes_nothing(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        assert {cost.name: cost.changed for cost in measure(cluster, seconds=4)} == {"n1": (), "n2": (), "n3": ()}
