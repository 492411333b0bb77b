"""The modes on real nodes, with one of them killed: whose turn it is, who takes over, who starts with whom."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import Cluster, cluster_in, wait_for

pytestmark = pytest.mark.xdist_group("nodes")

#: Of the profile that the tests run under, and what Done-when adds to it.
LEASE_AND_A_SECOND_S = 12.0


def run_now(cluster: Cluster, job: str) -> str:
    return str(cluster.request("POST", f"/v1/jobs/{job}:run", {})["id"])


def run(cluster: Cluster, run_id: str) -> dict[str, Any]:
    found = cluster.request("GET", f"/v1/runs/{run_id.replace('#', '%23')}")
    assert isinstance(found, dict)
    return found


def ended(cluster: Cluster, run_id: str, timeout: float = 30.0) -> dict[str, Any]:
    """The run once it has ended."""
    wait_for(lambda: run(cluster, run_id)["state"] not in ("queued", "running"), f"{run_id} to end", timeout)
    return run(cluster, run_id)


def lines(folder: Path, name: str) -> list[list[str]]:
    path = folder / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def writes(folder: Path, name: str, then: str = "") -> str:
    """A shell line that notes who runs it, when, and with which token."""
    said = 'echo "$PEERCRON_NODE $(date +%s%N) $PEERCRON_FENCING_TOKEN ${PEERCRON_SHARD_INDEX:-}"'
    return f"{said} >> {folder / name}; {then}"


def test_turns_standby_and_contend_when_a_node_dies(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        turns = {"name": "turns", "every": "500ms", "mode": "turns", "shell": writes(tmp_path, "turns")}
        standby = {"name": "standby", "every": "1s", "mode": "standby", "nodes": ["n2", "n1", "n3"]}
        cluster.add_job(turns)
        cluster.add_job(standby | {"failback_after": "4s", "shell": writes(tmp_path, "standby")})
        cluster.add_job({"name": "contend", "mode": "contend", "shell": writes(tmp_path, "contend", "sleep 30")})
        wait_for(lambda: len(cluster.ledger("turns")) >= 9, "nine turns")
        shares = Counter(row["node"] for row in cluster.ledger("turns"))
        assert max(shares.values()) - min(shares.values()) <= 1, shares
        assert {row["node"] for row in cluster.ledger("standby")} == {"n2"}
        # The holder of a contended run is killed: the next in line has it.
        contended = run_now(cluster, "contend")
        wait_for(lambda: lines(tmp_path, "contend"), "the first contender")
        wait_for(lambda: len(run(cluster, contended)["shards"]) == 3, "all contenders")
        (first,) = lines(tmp_path, "contend")
        cluster[first[0]].kill()
        wait_for(lambda: len(lines(tmp_path, "contend")) == 2, "the next", LEASE_AND_A_SECOND_S)
        second = lines(tmp_path, "contend")[1]
        assert second[0] != first[0]
        assert int(second[2]) > int(first[2])
        cluster.request("POST", f"/v1/runs/{contended.replace('/', '%2F')}:cancel", {})
        # And the primary of the standby job.
        if cluster["n2"].alive:
            cluster[first[0]].spawn()
            cluster[first[0]].wait_ready()
            cluster["n2"].kill()
        seen = len(lines(tmp_path, "standby"))
        wait_for(lambda: {row[0] for row in lines(tmp_path, "standby")[seen + 1 :]} - {"n2"}, "a standby")
        cluster["n2"].spawn()
        cluster["n2"].wait_ready()
        wait_for(lambda: lines(tmp_path, "standby")[-1][0] == "n2", "n2 to have it back", 20.0)
        assert "back from" in json.dumps(cluster.runs("standby"))


def test_five_start_together_and_one_dies_in_the_barrier(tmp_path: Path) -> None:
    with cluster_in(tmp_path, size=5) as cluster:
        together = {"name": "together", "mode": "parallel", "sync": True, "shell": writes(tmp_path, "together")}
        cluster.add_job(together)
        spreads = []
        for _ in range(3):
            before = len(lines(tmp_path, "together"))
            whole = ended(cluster, run_now(cluster, "together"))
            assert (whole["state"], len(whole["shards"])) == ("succeeded", 5), whole
            at_ns = [int(row[1]) for row in lines(tmp_path, "together")[before:]]
            spreads.append((max(at_ns) - min(at_ns)) / 1e6)
        print("spread of five starts in ms:", spreads)
        assert min(spreads) < 50
        # A node that hangs holds the barrier; when it is given up, the others are enough.
        cluster.add_job(together | {"quorum": "majority"})
        victim = next(node for node in cluster.nodes if node is not cluster.leader())
        victim.kill()
        before, began_s = len(lines(tmp_path, "together")), time.monotonic()
        whole = ended(cluster, run_now(cluster, "together"), 40.0)
        print("ended after", time.monotonic() - began_s, "s")
        assert whole["state"] == "succeeded", whole
        assert len(lines(tmp_path, "together")) - before == 4
