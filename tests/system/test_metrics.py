"""Real nodes tell the same of their cluster, each its own of itself, and nothing twice after a restart."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.system.processes import Node, cluster_in, wait_for

RUNS = 4


def scraped(node: Node) -> dict[str, float]:
    """Name of a series -> its samples together."""
    with urllib.request.urlopen(f"http://{node.host}:{node.http_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_all_count_the_same_and_a_restart_counts_nothing_again(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster:
        cluster.add_job({"name": "hello", "at": "2030-01-01T00:00:00Z", "command": ["true"]})
        for _ in range(RUNS):
            cluster.request("POST", "/v1/jobs/hello:run")
            wait_for(lambda: not cluster.request("GET", "/v1/runs?state=running")["runs"], "the run to end")
        wait_for(
            lambda: all(scraped(node)["peercron_attempts_finished_total"] == RUNS for node in cluster.nodes),
            "all nodes to have counted the runs",
        )
        told = [scraped(node) for node in cluster.nodes]
        assert [each["peercron_runs_finished_total"] for each in told] == [RUNS] * 3
        assert sum(each["peercron_is_leader"] for each in told) == 1
        assert sum(each["peercron_elections_total"] for each in told) >= 1
        assert all(each["peercron_log_fsync_duration_seconds_count"] > 0 for each in told)
        wait_for(
            lambda: all(scraped(node)["peercron_survives_members"] == 1 for node in cluster.nodes),
            "all nodes to know that all are well",
        )
        again = cluster.others(cluster.leader())[0]
        again.kill()
        again.spawn()
        cluster.settle()
        cluster.request("POST", "/v1/jobs/hello:run")
        wait_for(lambda: scraped(again).get("peercron_attempts_finished_total"), "the run to be counted")
        assert scraped(again)["peercron_attempts_finished_total"] == 1
        assert scraped(cluster.leader())["peercron_attempts_finished_total"] == RUNS + 1
