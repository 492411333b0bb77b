"""A cluster of real nodes for black-box tests: started as users start them, spoken to over HTTP, ended by pid."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system.caller import Caller, Json
from tests.system.netns import Host, Network, command_inside

START_S = 30.0
STOP_S = 20.0
#: One request; a node that is cut off may hold it as long as this.
REQUEST_S = 8.0
POLL_S = 0.05

LOOPBACK = "127.0.0.1"
#: On a host of a Network, where nobody else is.
PEER_PORT, HTTP_PORT = 7400, 8400


class TookTooLong(AssertionError):
    """What was waited for did not come."""


def wait_for(condition: Callable[[], Any], what: str, timeout: float = START_S) -> Any:
    """The first true answer of `condition`; raises TookTooLong after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TookTooLong(f"waited {timeout:g} s for {what}")
        time.sleep(POLL_S)
    return answer


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node listens."""

    host: str
    peer_port: int
    http_port: int
    namespace: str = ""

    @property
    def peer(self) -> str:
        return f"{self.host}:{self.peer_port}"


def on_host(host: Host) -> Place:
    return Place(host.address, PEER_PORT, HTTP_PORT, host.namespace)


@dataclass(slots=True)
class Node:
    """One node: its process, its folder, its addresses."""

    name: str
    peer_port: int
    http_port: int
    data_dir: Path
    log: Path
    command: list[str]
    host: str = LOOPBACK
    #: Where it runs and is spoken to, if that is a host of a Network.
    namespace: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def spawn(self) -> None:
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            command = [*command_inside(self.namespace), *self.command] if self.namespace else self.command
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """End it in order; answers its exit code. One that does not end is killed, and that is an error."""
        assert self.process is not None
        self.signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def said(self) -> str:
        """Everything it wrote to stdout and stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def request(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        timeout: float = REQUEST_S,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Json]:
        """(status, decoded body); bytes go as they are. (0, None): no answer."""
        caller = self.caller(timeout)
        answer = caller.request(method, path, body, headers)
        caller.close()
        return answer.status, answer.body

    def caller(self, timeout: float = REQUEST_S) -> Caller:
        """A connection of its own, from the node's host."""
        return Caller(self.host, self.http_port, timeout, self.namespace)

    def get(self, path: str, **more: Any) -> Json:
        """The body of a GET that must succeed."""
        status, body = self.request("GET", path, **more)
        assert status == 200, f"GET {path} at {self.name}: {status} {body}"
        return body

    @property
    def ready(self) -> bool:
        return self.request("GET", "/readyz", timeout=1.0)[0] == 200

    def wait_ready(self, timeout: float = START_S) -> None:
        """It has caught up and knows a leader; raises when its process ends instead."""
        wait_for(lambda: self.ready or not self.alive, f"{self.name} to be ready", timeout)
        assert self.alive, f"{self.name} ended: {self.said()[-2000:]}"

    def status(self) -> Json:
        """Status JSON as this node sees it, or {} where it does not answer."""
        code, body = self.request("GET", "/v1/status?consistency=stale", timeout=1.0)
        return body if code == 200 else {}


@dataclass(slots=True)
class Cluster:
    """`size` nodes in one folder. `flags` go to every node, `own_flags[i]` to the i-th alone."""

    folder: Path
    size: int = 3
    flags: Sequence[str] = ()
    own_flags: Mapping[int, Sequence[str]] = field(default_factory=dict)
    #: Where the nodes stand, each on a host of its own; None: all on loopback.
    network: Network | None = None
    nodes: list[Node] = field(init=False)

    def __post_init__(self) -> None:
        if self.network is not None:
            (self.folder / "secret").write_text(secrets.token_hex(32), encoding="ascii")
            self.flags = (*self.flags, "--secret-file", str(self.folder / "secret"))
        places = self._places()
        founders = "--peers", ",".join(place.peer for place in places)
        own = [self.own_flags.get(i, ()) for i in range(self.size)]
        self.nodes = [self._node(f"n{i + 1}", place, *founders, *own[i]) for i, place in enumerate(places)]

    def _places(self) -> list[Place]:
        if self.network is not None:
            return [on_host(host) for host in self.network.hosts[: self.size]]
        ports = free_ports(2 * self.size)
        return [Place(LOOPBACK, ports[i], ports[self.size + i]) for i in range(self.size)]

    def _node(self, name: str, place: Place, *flags: str) -> Node:
        data_dir = self.folder / name
        command = [
            *(sys.executable, "-m", "peercron", "--self", place.peer, "--http", f"{place.host}:{place.http_port}"),
            *("--name", name, "--data-dir", str(data_dir), *self.flags, *flags),
        ]
        log = self.folder / f"{name}.log"
        return Node(name, place.peer_port, place.http_port, data_dir, log, command, place.host, place.namespace)

    def newcomer(self, *flags: str, via: Node | None = None, name: str = "", peer_port: int = 0) -> Node:
        """One more node, which joins through `via` (default: the first that lives); to be spawned by who asks.

        In a network it stands on the first host that is free.
        """
        via = via or self.living[0]
        ports = free_ports(2)
        place = Place(LOOPBACK, peer_port or ports[0], ports[1])
        if self.network is not None:
            taken = {node.namespace for node in self.nodes}
            place = on_host(next(host for host in self.network.hosts if host.namespace not in taken))
        joining = "--join", f"{via.host}:{via.peer_port}"
        node = self._node(name or f"n{len(self.nodes) + 1}", place, *joining, *flags)
        self.nodes.append(node)
        return node

    def forget(self, node: Node) -> None:
        """It does not belong to the cluster any more; its process must have ended."""
        assert not node.alive
        self.nodes.remove(node)

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def start(self) -> Node:
        """Start whatever does not run; answers the leader once every node is ready."""
        for node in self.nodes:
            if not node.alive:
                node.spawn()
        return self.settle()

    def settle(self) -> Node:
        """Wait until every living node is ready; answers the leader."""
        for node in self.living:
            node.wait_ready()
        return self.leader()

    def leader(self) -> Node:
        """The one whom a majority of all nodes calls the leader, and who lives."""

        def agreed() -> Node | None:
            named = [node.status().get("leader") for node in self.living]
            winners = {name for name in named if name and named.count(name) > len(self.nodes) // 2}
            return next((node for node in self.living if node.name in winners), None)

        found = wait_for(agreed, "a leader")
        assert isinstance(found, Node)
        return found

    def others(self, node: Node) -> list[Node]:
        return [other for other in self.nodes if other is not node]

    def request(self, method: str, path: str, body: Json = None, *, timeout: float = START_S) -> Json:
        """Ask the living nodes in turn until one says yes; raises on a refusal that a retry will not change."""
        last: tuple[int, Json] = (0, None)

        def accepted() -> bool:
            nonlocal last
            for node in self.living:
                last = node.request(method, path, body)
                if 0 < last[0] < 500:
                    return True
            return False

        wait_for(accepted, f"{method} {path}", timeout)
        assert last[0] < 300, f"{method} {path}: {last}"
        return last[1]

    def add_job(self, job: dict[str, Json]) -> None:
        self.request("PUT", f"/v1/jobs/{job['name']}", job)

    def ledger(self, job: str) -> list[dict[str, Json]]:
        """Every entry of a job's ledger, oldest first."""
        return entries(self.request("GET", f"/v1/jobs/{job}/ledger?limit=1000"))

    def runs(self, job: str) -> list[dict[str, Json]]:
        return entries(self.request("GET", f"/v1/jobs/{job}/runs?limit=1000"))

    def digests(self) -> dict[str, tuple[int, str]]:
        """Node -> (index, digest) once all living nodes stand at one index."""

        def level() -> dict[str, tuple[int, str]] | None:
            told = {node.name: node.request("GET", "/v1/digest", timeout=2.0) for node in self.living}
            if any(status != 200 for status, _ in told.values()):
                return None
            pairs = {name: (body["index"], body["digest"]) for name, (_, body) in told.items()}
            return pairs if len({index for index, _ in pairs.values()}) == 1 else None

        found = wait_for(level, "all nodes to stand at one index")
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """End all that was started here, whatever state it is in."""
        for node in self.living:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        for node in self.nodes:
            if node.process is not None:
                try:
                    node.process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    node.kill()


def entries(body: Json) -> list[dict[str, Json]]:
    """The rows of a list answer, be it bare or under one key."""
    if isinstance(body, list):
        return body
    lists = [value for value in body.values() if isinstance(value, list)]
    assert len(lists) == 1, f"one list is expected in {body}"
    return lists[0]


@contextmanager
def cluster_in(folder: Path, **more: Any) -> Iterator[Cluster]:
    """A running cluster; when the block fails, the tails of the nodes' logs are printed."""
    with running(Cluster(folder, **more)) as cluster:
        yield cluster


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, started; see `cluster_in`."""
    try:
        cluster.start()
        yield cluster
    except BaseException:
        for node in cluster.nodes:
            if node.log.exists():
                print(f"--- {node.name} ({'alive' if node.alive else 'dead'}), the end of its log:")
                print(node.said()[-4000:])
        raise
    finally:
        cluster.close()
