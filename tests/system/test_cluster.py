"""Three nodes: jobs run, every slot is in the ledger, and the death of the leader costs nobody anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.load import Writers
from tests.system.processes import cluster_in, wait_for
from tests.system.soak import soak, witness


def test_a_job_runs_and_its_ledger_is_complete(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.add_job({"name": "hello", "every": "500ms", "command": witness(tmp_path, 0.05)})
        wait_for(lambda: len(cluster.ledger("hello")) >= 6, "six slots")
        rows = cluster.ledger("hello")
    slots = sorted(row["slot"] for row in rows)
    assert slots == list(range(slots[0], slots[-1] + 1, 500))
    assert {row["outcome"] for row in rows} == {"succeeded"}
    assert len({row["token"] for row in rows}) == len(rows)


def test_runs_are_spread_over_the_nodes(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        for i in range(6):
            cluster.add_job({"name": f"j{i}", "every": "1s", "command": witness(tmp_path, 0.6)})
        wait_for(
            lambda: {row["node"] for i in range(6) for row in cluster.ledger(f"j{i}")} >= {"n1", "n2", "n3"}, "all"
        )


def test_the_leader_dies_under_load_and_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        with Writers(cluster.nodes) as writers:
            wait_for(lambda: len(writers.acknowledged) > 200, "writes")
            leader.kill()
            before = len(writers.acknowledged)
            assert cluster.leader() is not leader
            wait_for(lambda: len(writers.acknowledged) > before + 200, "writes after the leader's death")
        assert writers.missing(cluster) == []
        leader.spawn()
        leader.wait_ready()
        assert len(set(cluster.digests().values())) == 1


@pytest.mark.timeout(180)
@pytest.mark.slow  # test_chaos has kills, too
def test_random_kills_double_nothing_and_lose_nothing(tmp_path: Path) -> None:
    verdict, kills = soak(tmp_path, jobs=9, seconds=26, kill_every=6, seed=20261123)
    assert kills >= 2
    assert verdict.faults == [], str(verdict)
    assert verdict.attempts > 100
