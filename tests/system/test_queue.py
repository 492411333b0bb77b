"""A full queue and its consumers outlive the leader: nothing lost, nothing twice, the order of each group kept."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.system.processes import Cluster, cluster_in, wait_for
from tests.system.queueing import QUEUE, Consumer, Seen, counts, fill

#: A leader is killed after each such part of the work, and there is to be some left.
EARLY = 10


def drained_while_the_leader_dies(cluster: Cluster, groups: list[str], each: int, consumers: int, kills: int) -> Seen:
    """Fill the queue, let consumers work, kill -9 the leader so many times on the way, and bring it back."""
    began_s = time.monotonic()
    fill(cluster, groups, each)
    total = len(groups) * each
    assert counts(cluster)["items"] == total
    filled_s = time.monotonic()
    seen, stopped = Seen(), threading.Event()
    threads = [Consumer(cluster.nodes, place, seen, stopped) for place in range(consumers)]
    for thread in threads:
        thread.start()
    try:
        for kill in range(1, kills + 1):
            acks(seen, total * kill // EARLY)
            leader = cluster.leader()
            assert len(seen.acked) < total * 0.9, "the leader is to die while there is work"
            leader.kill()
            acks(seen, len(seen.acked) + total // 50)
            leader.spawn()
        wait_for(lambda: counts(cluster)["items"] == 0, "the end of the queue", 240.0)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    ended_s = time.monotonic()
    print(
        f"{total} items put in {filled_s - began_s:.1f} s, taken by {consumers} consumers in {ended_s - filled_s:.1f} s"
        f" with {kills} leaders killed; acknowledged {sum(seen.acked.values())}, without an answer {len(seen.unknown)},"
        f" handed out again {len(seen.receipts) - total}, late acks refused {seen.refused}"
    )
    return seen


def test_a_job_works_through_a_queue(tmp_path: Path) -> None:
    """Items become runs on the nodes; what one does not do is given back, and at last a dead letter."""
    done = tmp_path / "done"
    line = f'echo "$PEERCRON_ITEM" >> {done}; case $PEERCRON_ITEM in *poison*) exit 1;; esac'
    with cluster_in(tmp_path) as cluster:
        cluster.settle()
        cluster.request("PUT", QUEUE, {"max_attempts": 2})
        cluster.add_job({"name": "worker", "queue": "work", "concurrency": {"per_node": 2}, "shell": line})
        for n in range(12):
            cluster.request("POST", f"{QUEUE}/items", {"payload": {"n": n}})
        cluster.request("POST", f"{QUEUE}/items", {"payload": "poison"})
        wait_for(lambda: counts(cluster)["items"] == 0, "the end of the queue")
        assert counts(cluster)["dead"] == 1
        rows = cluster.ledger("worker")
    assert sorted(done.read_text().split()) == sorted([f'{{"n":{n}}}' for n in range(12)] + ['"poison"'] * 2)
    assert sorted(row["outcome"] for row in rows) == ["failed"] * 2 + ["succeeded"] * 12


def acks(seen: Seen, count: int) -> None:
    wait_for(lambda: len(seen.acked) >= count, f"{count} acks", 120.0)


def test_a_leader_dies_and_the_queue_goes_on(tmp_path: Path) -> None:
    groups = [f"g{n}" for n in range(20)]
    with cluster_in(tmp_path, flags=("--profile", "lan")) as cluster:
        cluster.settle()
        seen = drained_while_the_leader_dies(cluster, groups, each=15, consumers=4, kills=1)
        assert seen.wrong(groups, 15) == []
        assert len(set(cluster.digests().values())) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_items_eight_consumers_and_two_dead_leaders(tmp_path: Path) -> None:
    groups = [f"g{n}" for n in range(100)]
    with cluster_in(tmp_path, size=5, flags=("--profile", "lan")) as cluster:
        cluster.settle()
        seen = drained_while_the_leader_dies(cluster, groups, each=100, consumers=8, kills=2)
        assert seen.wrong(groups, 100) == []
        assert len(set(cluster.digests().values())) == 1
