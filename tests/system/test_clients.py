"""Programs with plain threads on real nodes: who holds what, through the leader's death and until their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from peercron import SyncClient
from tests.system.processes import Cluster, Node, cluster_in, wait_for

SESSION_S = 2.0
#: A program whose second thread holds a lock, and works on an item, until it is killed.
PROGRAM = f"""
import sys, threading
from peercron import SyncClient

def work():
    with client.lock("reports/db", wait="10s") as lock:
        (item,) = client.queue("mail").receive(wait="10s")
        with item:
            print(lock.token, flush=True)
            threading.Event().wait()

client = SyncClient(sys.argv[1], label="A", session_ttl="{SESSION_S}s")
threads = [threading.Thread(target=threading.Event().wait if n == 1 else work, name=f"Thread-{{n}}") for n in (1, 2)]
for thread in threads:
    thread.start()
"""


def urls(cluster: Cluster) -> str:
    return ",".join(f"http://{node.host}:{node.http_port}" for node in cluster.nodes)


def shown(node: Node) -> dict[str, Any]:
    return dict(node.get("/v1/locks/reports/db"))


def test_what_a_program_holds_outlives_the_leader_and_not_the_program(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as cluster, SyncClient(urls(cluster), label="B") as client:
        client.queue("mail").put("letter")
        leader = cluster.leader()
        program = subprocess.Popen([sys.executable, "-c", PROGRAM, urls(cluster)], stdout=subprocess.PIPE)
        assert program.stdout is not None
        try:
            token = int(program.stdout.readline())
            owner = f"{socket.gethostname()}/A-{program.pid}/Thread-2"
            assert [holder["owner"] for holder in shown(leader)["holders"]] == [owner]
            leader.kill()
            other = next(node for node in cluster.nodes if node is not leader)
            until_s = time.monotonic() + 2 * SESSION_S
            while time.monotonic() < until_s:  # longer than it would live without a renewal
                time.sleep(0.2)
            (holder,) = wait_for(lambda: shown(other)["holders"], "the new leader")
            assert (holder["owner"], holder["token"]) == (owner, token)
            os.kill(program.pid, signal.SIGKILL)
            program.wait()
            with client.lock("reports/db", wait="20s") as lock:
                assert lock.token > token
            (item,) = client.queue("mail").receive(wait="20s")
            with item:
                assert (item.payload, item.attempts) == ("letter", 2)
        finally:
            program.kill()
            program.wait()
            program.stdout.close()
