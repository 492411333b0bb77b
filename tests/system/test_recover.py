"""The majority is lost for good: one survivor goes on as a cluster of its own, and the old half stays outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.processes import Cluster, Node, running, wait_for

BEAT = {"name": "beat", "every": "500ms", "shell": "echo $PEERCRON_FENCING_TOKEN"}
GENERATION = 1 << 40


def recover(node: Node, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peercron", "recover", "--data-dir", str(node.data_dir), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)


def tokens(cluster: Cluster) -> list[int]:
    return [attempt["token"] for run in cluster.runs("beat") for attempt in run["attempts"]]


def test_a_survivor_goes_on_alone_with_everything_and_grows_again(tmp_path: Path) -> None:
    with running(Cluster(tmp_path)) as cluster:
        cluster.add_job(BEAT)
        for n in range(30):
            cluster.request("PUT", f"/v1/state/pay/roll-{n}", b"%d" % n)
        wait_for(lambda: len(tokens(cluster)) > 2, "some runs")
        before = max(tokens(cluster))
        survivor, *lost = cluster.nodes
        for node in cluster.nodes:
            node.kill()

        # By mistake first: without the name, and while it runs.
        assert recover(survivor, "--force-new-cluster").returncode == 2
        survivor.spawn()
        wait_for(lambda: survivor.status() != {}, "the survivor to answer")
        running_yet = recover(survivor, "--force-new-cluster", "--confirm", "peercron")
        assert running_yet.returncode != 0
        assert "in use" in running_yet.stderr
        assert survivor.status()["leader"] is None
        survivor.kill()

        done = recover(survivor, "--force-new-cluster", "--confirm", "peercron")
        assert done.returncode == 0, done.stderr
        survivor.spawn()
        survivor.wait_ready()
        status = survivor.status()
        assert (status["voters"], status["leader"]) == (1, "n1")
        for n in range(30):
            assert survivor.get(f"/v1/state/pay/roll-{n}") == n
        wait_for(lambda: max(tokens(cluster)) > GENERATION, "a run of the new cluster")
        assert before < GENERATION

        # The old half comes back, is a majority of its own, and stays outside.
        for node in lost:
            node.spawn()
        wait_for(lambda: "another cluster" in survivor.said(), "the old half to be refused")
        assert survivor.status()["voters"] == 1
        wait_for(lambda: any(node.status().get("leader") for node in lost), "the old half to go on by itself")
        for node in lost:
            node.kill()
            shutil.rmtree(node.data_dir)
            cluster.forget(node)

        # And with empty directories they are taken in again.
        for name in ("n2", "n3"):
            cluster.newcomer(via=survivor, name=name).spawn()
        wait_for(lambda: survivor.status()["voters"] == 3, "three voters")
        cluster.settle()
        survivor.kill()
        cluster.request("PUT", "/v1/state/pay/after", b"1")
        assert cluster.request("GET", "/v1/state/pay/roll-7") == 7
