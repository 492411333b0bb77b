"""Real nodes whose process, service and port break in turn: the standby has the job, and gives it back, once."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.style.trees import ROOT
from tests.system.processes import Cluster, Place, free_ports, running, wait_for

FLAP_S = 3.0


class Apart(Cluster):
    """Each node on a loopback address of its own, in a working folder of its own: what is checked is its alone."""

    def _places(self) -> list[Place]:
        ports = free_ports(2 * self.size)
        return [Place(f"127.0.0.{i + 1}", ports[i], ports[self.size + i]) for i in range(self.size)]

    def settle_apart(self) -> None:
        for node in self.nodes:
            folder = self.folder / f"{node.name}-cwd"
            folder.mkdir()
            node.command = ["env", "-C", str(folder), f"PYTHONPATH={ROOT}", *node.command]


@dataclass
class Thing:
    """What a job needs on one node: a process, a file that a service command looks for, and a port that listens."""

    folder: Path
    address: tuple[str, int]
    stack: ExitStack
    process: subprocess.Popen[bytes] | None = None
    listener: socket.socket | None = None
    levels: dict[str, tuple[Callable[[], None], Callable[[], None]]] = field(init=False)

    def __post_init__(self) -> None:
        self.levels = {
            "process": (self.begin_process, self.end_process),
            "service": (self.begin_service, self.end_service),
            "port": (self.begin_port, self.end_port),
        }
        self.stack.callback(self.end_process)
        self.stack.callback(self.end_port)

    def begin_process(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"])
        (self.folder / "svc.pid").write_text(str(self.process.pid))

    def end_process(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def begin_service(self) -> None:
        (self.folder / "up").touch()

    def end_service(self) -> None:
        (self.folder / "up").unlink()

    def begin_port(self) -> None:
        # Nobody takes the connections: there must be room for all that the checks make.
        self.listener = socket.create_server(self.address, backlog=4_096)

    def end_port(self) -> None:
        if self.listener is not None:
            self.listener.close()

    def mend(self, level: str) -> None:
        self.levels[level][0]()

    def damage(self, level: str) -> None:
        self.levels[level][1]()


@contextmanager
def things(cluster: Apart, port: int) -> Iterator[dict[str, Thing]]:
    """One on each node, all well."""
    with ExitStack() as stack:
        made = {}
        for node in cluster.nodes:
            thing = made[node.name] = Thing(cluster.folder / f"{node.name}-cwd", (node.host, port), stack)
            for level in thing.levels:
                thing.mend(level)
        yield made


def job(name: str, port: int, *, fall: int) -> dict[str, Any]:
    often: dict[str, Any] = {"interval": "500ms", "timeout": "2s", "rise": 1, "fall": fall}
    checks: list[dict[str, Any]] = [
        {"name": "process", "process": {"pid_file": "/proc/self/cwd/svc.pid"}},
        {"name": "service", "service": {"command": ["test", "-e", "up"]}},
        {"name": "port", "endpoint": f":{port}", "observers": 2},
    ]
    return {
        "name": name,
        "every": "500ms",
        "command": ["true"],
        "mode": "standby",
        "nodes": ["n1", "n2"],
        "failback_after": "1s",
        "checks": [check | often for check in checks],
    }


def nodes_of(cluster: Cluster, name: str) -> list[str]:
    """Where its runs ran, in order, each stay named once."""
    where = [row["node"] for row in cluster.ledger(name) if row["node"]]
    return [node for node, _ in groupby(where)]


def test_the_standby_has_the_job_while_a_level_is_broken_and_gives_it_back_once(tmp_path: Path) -> None:
    cluster = Apart(tmp_path)
    cluster.settle_apart()
    port = free_ports(1)[0]
    with things(cluster, port) as there, running(cluster):
        begin(cluster, job("quick", port, fall=2))
        stays = ["n1"]
        for level in ("process", "service", "port"):
            there["n1"].damage(level)
            stays.append("n2")
            wait_for(lambda: nodes_of(cluster, "quick") == stays, f"the standby to have the job without its {level}")
            (bad,) = [row for row in health(cluster, "quick") if row["well"] is False]
            assert (bad["check"], bad["node"]) == (level, "n1")
            there["n1"].mend(level)
            stays.append("n1")
            wait_for(lambda: nodes_of(cluster, "quick") == stays, f"the primary to have the job with its {level}")
        flapping_moves_nothing(cluster, there["n1"], port)


def flapping_moves_nothing(cluster: Cluster, primary: Thing, port: int) -> None:
    """Too short for a verdict, a job stays; long enough, it goes once, and is not given back for moments."""
    begin(cluster, job("steady", port, fall=8))
    before = nodes_of(cluster, "quick")
    for _ in range(2):
        primary.damage("service")
        time.sleep(FLAP_S)
        primary.mend("service")
        time.sleep(FLAP_S)
    assert nodes_of(cluster, "steady") == ["n1"]
    assert nodes_of(cluster, "quick") == [*before, "n2"]


def begin(cluster: Cluster, table: dict[str, Any]) -> None:
    """Let it run once both of its nodes have been looked at; the primary gets it."""
    name = str(table["name"])
    cluster.add_job(table | {"paused": True})
    wait_for(lambda: all(row["well"] for row in health(cluster, name)), f"all to be well for {name}")
    cluster.request("POST", f"/v1/jobs/{name}:resume")
    wait_for(lambda: nodes_of(cluster, name) == ["n1"], f"the primary to have {name}")


def health(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = cluster.request("GET", f"/v1/health?job={name}")["health"]
    return rows


def test_a_file_that_appears_on_one_node_starts_a_job_once(tmp_path: Path) -> None:
    cluster = Apart(tmp_path)
    cluster.settle_apart()
    with running(cluster):
        what = {"file": "/proc/self/cwd/order", "interval": "200ms"}
        cluster.add_job({"name": "filed", "shell": "true", "overlap": "allow", "on": what})
        time.sleep(2.0)  # each has looked once, and found nothing
        (tmp_path / "n2-cwd" / "order").touch()
        wait_for(lambda: cluster.runs("filed"), "the file to be seen")
        time.sleep(1.0)
        (run,) = cluster.runs("filed")
        assert run["params"] == {"path": "/proc/self/cwd/order", "node": "n2"}
