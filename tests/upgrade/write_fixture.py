"""Writes the fixture anew: data directories of three real nodes, and what they hold. Only ever on purpose.

    python -m tests.upgrade.write_fixture

A fixture that can no longer be read is a cluster that cannot be upgraded: mend the code, and not the fixture. It is
what release 0.1.0 wrote, in level 1 (`peercron.core.level`), and stays that: the tests open it and go on to later
levels. What a release with a level more writes may come beside it.
"""

from __future__ import annotations

import gzip
import io
import json
import signal
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from peercron import __version__
from peercron.core.level import LEVEL
from tests.system.processes import Cluster, Node, entries, free_ports, running, wait_for
from tests.upgrade.reopened import DATA, FOLDER, SUMMARY, Reopened, summary_of, unpacked

#: In the end nothing may happen by itself, so that all nodes can stand at one index.
SELDOM = "0 2 29 2 *"
JOBS: tuple[dict[str, Any], ...] = (
    {"name": "beat", "every": "200ms", "command": ["true"]},
    {"name": "fails", "every": "300ms", "shell": "echo out; exit 3", "misfire": {"policy": "all", "window": "1m"}},
    {"name": "slow", "every": "400ms", "command": ["sleep", "60"], "timeout": "500ms", "overlap": "queue_one"},
    {"name": "long", "every": "300ms", "command": ["sleep", "600"], "kill_grace": "1s"},
    {"name": "lined", "every": "300ms", "command": ["sleep", "600"], "overlap": "queue_all"},
    {"name": "gone", "every": "250ms", "command": ["true"]},
    {"name": "once", "at": "2099-01-01T00:00:00Z", "http": {"url": "http://127.0.0.1:9/x", "body": "x"}},
    {"name": "by-hand", "command": ["true"], "guarantee": "at_most_once", "nodes": ["n1", "n2"]},
    {
        "name": "yearly",
        "namespace": "ops",
        "schedule": SELDOM,
        "timezone": "Europe/Berlin",
        "dst": {"gap": "skip", "overlap": "both"},
        "command": ["true"],
        "env": {"TOKEN": {"file": "/etc/token"}, "MODE": "x"},
        "on_disconnect": "keep",
        "user": "nobody",
        "cwd": "/",
    },
)  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        for node in cluster.nodes:
            node.command[1:3] = [str(Path(__file__).with_name("this.py"))]
        with running(cluster):
            fill(cluster)
            ((index, digest),) = set(cluster.digests().values())
            for node in cluster.nodes:
                node.signal(signal.SIGKILL)
            for node in cluster.nodes:
                node.kill()
        FOLDER.mkdir(exist_ok=True)
        DATA.write_bytes(packed(cluster.nodes))
    with unpacked() as folders:
        reopened = Reopened(folders)
        reopened.settle()
        summary = summary_of(reopened.states[0])
    told = {"release": __version__, "level": LEVEL, "index": index, "digest": digest, **summary}
    SUMMARY.write_text(json.dumps(told, indent=1) + "\n")
    sys.stdout.write(SUMMARY.read_text())


def fill(cluster: Cluster) -> None:
    """A bit of everything, then snapshots, then more."""
    for job in JOBS:
        cluster.request("POST", "/v1/jobs", job)
    wait_for(lambda: outcomes(cluster, "beat", "succeeded") > 3, "runs that succeed")
    wait_for(lambda: outcomes(cluster, "fails", "failed") > 2, "runs that fail")
    wait_for(lambda: outcomes(cluster, "slow", "timed_out") > 1, "runs that take too long")
    wait_for(lambda: outcomes(cluster, "long", "skipped") > 2, "slots that are skipped")
    cluster.request("POST", "/v1/jobs/by-hand:run")
    cluster.request("DELETE", "/v1/jobs/gone")
    for n in range(12):
        cluster.request("PUT", f"/v1/state/config/k{n}", bytes(range(n, 200)) * 10)
    come_and_go(cluster)
    leader = cluster.leader()
    leader.stop()
    leader.spawn()
    cluster.settle()
    wait_for(lambda: all(list(node.data_dir.rglob("snapshot-*.pcs")) for node in cluster.nodes), "snapshots")

    for job in JOBS:
        if "every" in job and job["name"] != "gone":
            seldom = {key: value for key, value in job.items() if key != "every"} | {"schedule": SELDOM}
            cluster.request("PUT", f"/v1/jobs/{job['name']}", seldom)
    cluster.request("POST", "/v1/jobs/once:pause")
    cancelled = entries(cluster.request("GET", "/v1/jobs/lined/runs?limit=2"))[0]["id"]
    cluster.request("POST", f"/v1/runs/{cancelled}:cancel")
    cluster.request("POST", "/v1/members/n3:drain")
    cluster.request("POST", "/v1/members", {"address": "127.0.0.1:9", "role": "witness", "name": "expected"})
    settled(cluster)
    for n in range(12):
        cluster.request("DELETE", f"/v1/state/config/k{n}")
    for node in cluster.nodes:
        cluster.request("PUT", f"/v1/state/config/{node.name}", node.name.encode())
        for request in REFUSED:
            assert 400 <= node.request(*request)[0] < 500, request


def come_and_go(cluster: Cluster) -> None:
    """A fourth member joins, and is removed again."""
    peer_port, http_port = free_ports(2)
    folder = cluster.folder / "n4"
    command = [
        *(sys.executable, "-m", "peercron", "--join", f"127.0.0.1:{cluster.nodes[0].peer_port}", "--name", "n4"),
        *("--self", f"127.0.0.1:{peer_port}", "--data-dir", str(folder), "--http", f"127.0.0.1:{http_port}"),
    ]
    newcomer = Node("n4", peer_port, http_port, folder, cluster.folder / "n4.log", command)
    cluster.request("POST", "/v1/members", {"address": f"127.0.0.1:{peer_port}", "name": "n4"})
    newcomer.spawn()
    try:
        newcomer.wait_ready()
        wait_for(lambda: role_of(cluster, "n4") == "voter", "the newcomer to have a vote")
        cluster.request("DELETE", "/v1/members/n4")
        wait_for(lambda: role_of(cluster, "n4") is None, "the newcomer to be no member")
    finally:
        newcomer.stop()


def role_of(cluster: Cluster, name: str) -> str | None:
    rows = cluster.request("GET", "/v1/members")["members"]
    return next((row["role"] for row in rows if row["name"] == name), None)


#: What each node asked last, and what it was told, is remembered: the words of a refusal are data too.
REFUSED: tuple[tuple[Any, ...], ...] = (
    ("DELETE", "/v1/jobs/nowhere"),
    ("POST", "/v1/runs/1%2F0:cancel"),
)


def settled(cluster: Cluster) -> None:
    """Nothing ends any more by itself."""

    def index() -> int:
        found: int = cluster.request("GET", "/v1/digest")["index"]
        return found

    seen = [-1] * 20

    def same() -> bool:
        seen.append(index())
        return len(set(seen[-20:])) == 1

    wait_for(same, "the last run to end")


def outcomes(cluster: Cluster, job: str, outcome: str) -> int:
    return sum(row["outcome"] == outcome for row in cluster.ledger(job))


def packed(nodes: list[Node]) -> bytes:
    """What a data directory holds of the cluster, in an archive that depends on nothing else."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for node in nodes:
            for path in [node.data_dir / "identity.json", *sorted((node.data_dir / "log").iterdir())]:
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"{node.name}/{path.relative_to(node.data_dir)}")
                entry.size, entry.mode = len(content), 0o600
                archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0)


if __name__ == "__main__":
    main()
