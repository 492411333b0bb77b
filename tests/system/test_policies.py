"""Policies on real nodes: parameters, retries, jobs after others, pools, and a pause that a new leader keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.processes import Cluster, cluster_in, wait_for


def by_hand(cluster: Cluster, job: str, **params: str) -> str:
    return str(cluster.request("POST", f"/v1/jobs/{job}:run", {"params": params})["id"])


def ended(cluster: Cluster, job: str, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        rows = [run for run in cluster.runs(job) if run["finished_at"]]
        return rows if len(rows) >= count else []

    rows: list[dict[str, Any]] = wait_for(found, f"{count} runs of {job}")
    return rows


def test_policies_hold_on_real_nodes(tmp_path: Path) -> None:
    """One cluster for all of it: starting nodes is what takes the time."""
    with cluster_in(tmp_path) as cluster:
        _params_and_retries(cluster, tmp_path)
        _jobs_after_others(cluster)
        _pools(cluster, tmp_path)
        _tcp(cluster)
        _pause(cluster)


def _params_and_retries(cluster: Cluster, folder: Path) -> None:
    """It fails on the first node, waits its pause, and succeeds on another with the same parameters."""
    seen = folder / "seen"
    script = f'echo "$PEERCRON_PARAM_DAY $PEERCRON_ATTEMPT $PEERCRON_NODE" >> {seen}; test "$PEERCRON_ATTEMPT" = 2'
    retry = {"max": 2, "backoff": "fixed", "base": "300ms", "jitter": False}
    cluster.add_job({"name": "flaky", "shell": script, "retry": retry})
    by_hand(cluster, "flaky", day="mon")
    (run,) = ended(cluster, "flaky")
    assert (run["state"], run["params"]) == ("succeeded", {"day": "mon"})
    first, second = (line.split() for line in seen.read_text().splitlines())
    assert (first[:2], second[:2]) == (["mon", "1"], ["mon", "2"])
    assert first[2] != second[2]


def _jobs_after_others(cluster: Cluster) -> None:
    cluster.add_job({"name": "ingest", "shell": "true"})
    cluster.add_job({"name": "check", "shell": "true"})
    cluster.add_job({"name": "report", "shell": "true", "after": ["ingest", "check"]})
    by_hand(cluster, "ingest")
    ended(cluster, "ingest")
    assert cluster.runs("report") == []
    by_hand(cluster, "check")
    (run,) = ended(cluster, "report")
    assert (run["state"], run["manual"]) == ("succeeded", False)


def _pools(cluster: Cluster, folder: Path) -> None:
    """Six runs of two jobs through a pool of one: never two at once."""
    mark = folder / "busy"
    cluster.request("PUT", "/v1/pools/db", {"size": 1})
    for name in ("left", "right"):
        shell = f"mkdir {mark} || exit 9; sleep 0.1; rmdir {mark}"
        cluster.add_job({"name": name, "shell": shell, "pool": "db", "overlap": "allow"})
    for _ in range(3):
        by_hand(cluster, "left")
        by_hand(cluster, "right")
    runs = ended(cluster, "left", 3) + ended(cluster, "right", 3)
    assert {run["state"] for run in runs} == {"succeeded"}


def _tcp(cluster: Cluster) -> None:
    """An HTTP server is one that answers to lines over TCP."""
    node = cluster.living[0]
    tcp = {"host": node.host, "port": node.http_port, "send": "GET /livez HTTP/1.0\r\n\r\n", "expect": "200 OK"}
    cluster.add_job({"name": "port", "tcp": tcp, "timeout": "5s"})
    by_hand(cluster, "port")
    (run,) = ended(cluster, "port")
    assert run["state"] == "succeeded", run


def _pause(cluster: Cluster) -> None:
    """It outlives the leader that heard of it."""
    cluster.request("POST", "/v1/cluster:pause")
    cluster.add_job({"name": "beat", "every": "200ms", "shell": "true"})
    leader = cluster.leader()
    leader.kill()
    assert cluster.leader() is not leader
    wait_for(lambda: len(cluster.ledger("beat")) >= 5, "slots of the pause")
    assert {(row["outcome"], row["reason"]) for row in cluster.ledger("beat")} == {
        ("skipped", "the cluster was paused")
    }
    cluster.request("POST", "/v1/cluster:resume")
    wait_for(lambda: any(row["outcome"] == "succeeded" for row in cluster.ledger("beat")), "a run after the pause")
