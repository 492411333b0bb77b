"""cluster: real nodes as child processes on free loopback ports, for the benchmarks."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.http1 import ask, request

START_S = 30.0
STOP_S = 15.0


class Unreachable(Exception):
    """What was waited for did not come."""


@dataclass(slots=True)
class Node:
    """One node's process, and where its HTTP listens."""

    name: str
    http: tuple[str, int]
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> int:
        """Send it; answers time.monotonic_ns() of just before."""
        assert self.process is not None
        sent_ns = time.monotonic_ns()
        os.kill(self.process.pid, number)
        return sent_ns

    async def gone(self, timeout: float = STOP_S) -> None:
        process = self.process
        assert process is not None
        await until(lambda: process.poll() is not None, timeout, f"{self.name} to end")


class Cluster(Protocol):
    """What a benchmark needs to know of a system."""

    label: str
    nodes: list[Node]
    #: The bytes of one small write over HTTP.
    write: bytes

    async def leader(self) -> Node | None:
        """The leader that a majority agrees on, or None."""
        ...

    async def caught_up(self) -> bool:
        """All nodes run and none is behind."""
        ...


async def until(
    condition: Callable[[], bool | Awaitable[bool]], timeout: float, what: str, every: float = 0.02
) -> None:
    """Wait for a condition; raises Unreachable after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        if time.monotonic() > deadline:
            raise Unreachable(f"waited {timeout:g} s for {what}")
        await asyncio.sleep(every)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextmanager
def scratch(keep: bool = False) -> Iterator[Path]:
    """A temporary folder for data and logs. It stays where `keep` is set or something went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="peercron-bench-"))
    try:
        yield folder
    except BaseException:
        print(f"logs and data are kept in {folder}", file=sys.stderr)
        raise
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)


async def start(cluster: Cluster) -> Node:
    """Start all nodes; answers the leader once all have caught up."""
    for node in cluster.nodes:
        node.spawn()
    return await settled(cluster)


async def settled(cluster: Cluster, timeout: float = START_S) -> Node:
    """Wait for a leader and for all nodes to have caught up; answers the leader."""
    await until(cluster.caught_up, timeout, f"all nodes of {cluster.label} to catch up")
    leader = await cluster.leader()
    if leader is None:
        return await settled(cluster, timeout)
    return leader


async def close(cluster: Cluster) -> None:
    """End every node that was started here; the stubborn ones by KILL."""
    for node in cluster.nodes:
        if node.alive:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
    for node in cluster.nodes:
        try:
            if node.process is not None:
                await node.gone()
        except Unreachable:
            node.signal(signal.SIGKILL)
            await node.gone()


@dataclass(slots=True)
class Peercron:
    """A peercron cluster with default settings; `flags` go to every node."""

    folder: Path
    size: int = 3
    flags: Sequence[str] = ()
    label: str = "peercron"
    nodes: list[Node] = field(init=False)
    write: bytes = field(init=False)

    def __post_init__(self) -> None:
        ports = free_ports(2 * self.size)
        peers = [f"127.0.0.1:{port}" for port in ports[: self.size]]
        self.nodes = [
            Node(
                name=(name := f"n{i + 1}"),
                http=("127.0.0.1", ports[self.size + i]),
                command=[
                    *(sys.executable, "-m", "peercron", "--peers", ",".join(peers), "--self", peer, "--name", name),
                    *("--data-dir", str(self.folder / name), "--http", f"127.0.0.1:{ports[self.size + i]}"),
                    *self.flags,
                ],
                log=self.folder / f"{name}.log",
            )
            for i, peer in enumerate(peers)
        ]
        self.write = request("PUT", "/v1/state/bench/k", b"x" * 16, "application/octet-stream")

    async def status(self, node: Node) -> dict[str, Any]:
        """Status JSON of a node; empty where it does not answer."""
        try:
            code, answer = await ask(node.http, "GET", "/v1/status?consistency=stale", timeout=1.0)
        except (OSError, TimeoutError):
            return {}
        return answer if code == 200 and isinstance(answer, dict) else {}

    async def leader(self) -> Node | None:
        named = [(await self.status(node)).get("leader") for node in self.nodes]
        winners = [name for name in set(named) if name and named.count(name) > self.size // 2]
        return next((node for node in self.nodes if node.name in winners), None)

    async def caught_up(self) -> bool:
        for node in self.nodes:
            try:
                if (await ask(node.http, "GET", "/readyz", timeout=1.0))[0] != 200:
                    return False
            except (OSError, TimeoutError):
                return False
        leader = await self.leader()
        members = (await self.status(leader)).get("members", []) if leader else []
        return len(members) == self.size and all(not member["behind"] for member in members)
