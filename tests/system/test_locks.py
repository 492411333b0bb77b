"""Locks on real nodes: a holder that sleeps past its time, a leader that dies with a line, jobs that share a lock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.system.processes import Cluster, Node, cluster_in, wait_for

LOCK = "/v1/locks/reports/db"


def acquire(node: Node, owner: str, *, wait_s: float = 0, ttl: str = "30s") -> dict[str, Any]:
    asked = {"owner": owner, "ttl": ttl, "wait": wait_s, "request": f"request-{owner}"}
    status, answer = node.request("POST", f"{LOCK}:acquire", asked, timeout=wait_s + 10)
    assert status == 200, answer
    return dict(answer)


def view(node: Node) -> dict[str, Any]:
    return dict(node.get(LOCK))


def holder_of(cluster: Cluster, *command: str, ttl: str) -> subprocess.Popen[bytes]:
    """A command that runs under the lock, through the command line."""
    addresses = ",".join(f"http://{node.host}:{node.http_port}" for node in cluster.nodes)
    line = [sys.executable, "-m", "peercron", "lock", "acquire", "reports/db", "--ttl", ttl, "--wait", "5s", "--"]
    environ = os.environ | {"PEERCRON_ADDR": addresses}
    return subprocess.Popen([*line, *command], env=environ, start_new_session=True)


def test_a_holder_that_slept_past_its_time_has_a_stale_token(tmp_path: Path) -> None:
    """SIGSTOP and SIGCONT of the holder with all that it runs: the next has a larger token, and the fence knows."""
    with cluster_in(tmp_path) as cluster:
        node, told = cluster.leader(), tmp_path / "token"
        script = f"echo $PEERCRON_FENCING_TOKEN > {told}; exec sleep 60"
        holder = holder_of(cluster, "sh", "-c", script, ttl="1s")
        try:
            stale = int(wait_for(lambda: told.exists() and told.read_text().strip(), "the command to start"))
            os.kill(holder.pid, signal.SIGSTOP)
            began_s = time.monotonic()
            token = acquire(node, "B", wait_s=20)["token"]
            assert time.monotonic() - began_s < 5
            assert token > stale
            os.kill(holder.pid, signal.SIGCONT)
            assert holder.wait(20) == 1, "it ends its command and says that the lock was lost"
            fence = node.get(f"/v1/fence/reports/db?token={stale}")
            assert (fence["stale"], fence["current"]) == (True, token)
            status, answer = node.request("POST", f"{LOCK}:release", {"token": stale})
            assert (status, answer["code"]) == (409, "stale_token")
            assert [row["token"] for row in view(node)["holders"]] == [token]
        finally:
            if holder.poll() is None:
                holder.kill()
                holder.wait()


def test_the_leader_dies_and_the_line_is_kept(tmp_path: Path) -> None:
    """Ten wait at followers; the leader is killed, and after it the lock is passed on in the order of the line."""
    with cluster_in(tmp_path) as cluster, ThreadPoolExecutor(12) as pool:
        leader = cluster.leader()
        followers = cluster.others(leader)
        token = acquire(followers[0], "first")["token"]
        waiting: list[Future[dict[str, Any]]] = []
        for number in range(10):
            node = followers[number % 2]
            waiting.append(pool.submit(acquire, node, f"o{number}", wait_s=60))
            wait_for(lambda: view(followers[0])["waiting"] == len(waiting), "it to stand in line")
        leader.kill()
        for number, turn in enumerate(waiting):
            cluster.request("POST", f"{LOCK}:release", {"token": token})
            answer = turn.result(30)
            assert answer["token"] > token, number
            token = answer["token"]
            assert not any(other.done() for other in waiting[number + 1 :])


def test_jobs_with_one_lock_never_run_together(tmp_path: Path) -> None:
    """Three jobs, one lock, started at once: their processes follow one another."""
    with cluster_in(tmp_path) as cluster:
        marks = tmp_path / "marks"
        script = f"echo + >> {marks}; sleep 0.3; echo - >> {marks}"
        for name in "abc":
            cluster.add_job({"name": name, "shell": script, "lock": "reports/db"})
            cluster.request("POST", f"/v1/jobs/{name}:run")
        wait_for(lambda: all(r["state"] == "succeeded" for n in "abc" for r in cluster.runs(n)), "all to end")
        assert marks.read_text().split() == ["+", "-"] * 3
        assert cluster.leader().get("/v1/locks")["locks"] == []
