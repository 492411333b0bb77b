"""A node is stopped for longer than its lease: its processes are dead before the work starts elsewhere."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.checker import Line, check_attempts, read_witness
from tests.system.processes import Cluster, Node, cluster_in, wait_for
from tests.system.soak import witness


def start_run(cluster: Cluster, job: dict[str, Any]) -> Node:
    """Make a job, run it by hand, and answer the node that has its first attempt."""
    cluster.add_job(job)
    cluster.request("POST", f"/v1/jobs/{job['name']}:run")
    seen = wait_for(lambda: lines_of(cluster, "start"), "the first attempt")
    return cluster[seen[0].node]


def lines_of(cluster: Cluster, word: str) -> list[Line]:
    return [line for line in read_witness(cluster.folder / "witness.log") if line.word == word]


def the_run(cluster: Cluster, job: str) -> dict[str, Any]:
    (run,) = cluster.runs(job)
    return run


def test_its_processes_are_dead_before_the_next_attempt_starts(tmp_path: Path) -> None:
    """The job beats every 20 ms, and so does a grandchild that left the group and ignores TERM."""
    with cluster_in(tmp_path) as cluster:
        command = witness(tmp_path, 3, "--beat", "--stubborn")
        holder = start_run(cluster, {"name": "long", "command": command, "kill_grace": "100ms"})
        holder.signal(signal.SIGSTOP)
        wait_for(lambda: len(lines_of(cluster, "start")) == 2, "the second attempt")
        first, second = lines_of(cluster, "start")
        assert (first.attempt, second.attempt) == (1, 2)
        assert second.node != first.node
        assert second.token > first.token
        lines = read_witness(tmp_path / "witness.log")
        last_beat_ns = max(line.at_ns for line in lines if line.attempt == 1)
        assert last_beat_ns < second.at_ns
        holder.signal(signal.SIGCONT)
        holder.wait_ready()
        wait_for(lambda: the_run(cluster, "long")["state"] == "succeeded", "the run to succeed")
        faults: list[str] = []
        check_attempts("long", read_witness(tmp_path / "witness.log"), faults)
        assert faults == []


def test_its_late_result_changes_nothing(tmp_path: Path) -> None:
    """The first attempt ends well while its node cannot say so; the second one's result is the run's."""
    with cluster_in(tmp_path) as cluster:
        holder = start_run(cluster, {"name": "short", "command": witness(tmp_path, 0.4)})
        holder.signal(signal.SIGSTOP)
        wait_for(lambda: the_run(cluster, "short")["state"] == "succeeded", "the second attempt to succeed")
        decided = the_run(cluster, "short")
        assert [attempt["state"] for attempt in decided["attempts"]] == ["lost", "succeeded"]
        holder.signal(signal.SIGCONT)
        holder.wait_ready()
        # What the node has to say it says at once when it is back; a second is long.
        time.sleep(1.0)
        run, (row,) = the_run(cluster, "short"), cluster.ledger("short")
    assert run["state"] == "succeeded"
    assert run["attempts"][1] == decided["attempts"][1]
    assert row["token"] == decided["attempts"][1]["token"]
    assert row["attempts"] == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_leader_s_own_work_moves_on(tmp_path: Path, number: signal.Signals) -> None:
    """The leader is also the holder: both the leadership and the run go elsewhere."""
    with cluster_in(tmp_path) as cluster:
        leader = cluster.leader()
        start_run(cluster, {"name": "long", "command": witness(tmp_path, 3, "--beat"), "nodes": [leader.name]})
        cluster.add_job({"name": "long", "command": witness(tmp_path, 3, "--beat")})
        leader.signal(number)
        wait_for(lambda: len(lines_of(cluster, "start")) == 2, "the second attempt")
        first, second = lines_of(cluster, "start")
        beats = [line.at_ns for line in read_witness(tmp_path / "witness.log") if line.attempt == 1]
        assert max(beats) < second.at_ns
        assert second.node != first.node == leader.name
