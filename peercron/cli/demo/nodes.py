"""The nodes of a demo: real processes, started as a user would start them, and ended by their pids."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peercron.client import Connection
from peercron.errors import PeercronError

#: Where a first cluster usually stands, so that commands without --addr find it.
FIRST_PEER_PORT = 7_400
FIRST_HTTP_PORT = 8_400
STOP_S = 10.0
_PR_SET_PDEATHSIG = 1


class NodeEnded(PeercronError):
    """A node of the demo ended by itself."""


@dataclass(slots=True)
class DemoNode:
    """One node: its addresses, its folder, and its process while it lives."""

    name: str
    peer: str
    http: str
    folder: Path
    peers: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.http}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        command = [sys.executable, "-m", "peercron", "--peers", ",".join(self.peers), "--self", self.peer]
        command += ["--name", self.name, "--http", self.http, "--data-dir", str(self.folder / self.name)]
        command += ["--profile", "demo", "--dc", "demo"]
        # The variables of whoever plays are for commands, not for these nodes.
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PEERCRON_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                # Ctrl-C is for the demo, which ends its nodes in order; and they end with it however it ends.
                process_group=0,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 the demo has one thread
            )

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, timeout_s: float = 1.0) -> Any:
        """The JSON of a GET at this very node; None where it does not answer."""
        try:
            return Connection([self.url], timeout_s).request("GET", path).json
        except PeercronError:
            return None

    def check(self) -> None:
        """Raises NodeEnded, with the end of its log, when it has ended."""
        if not self.alive:
            raise NodeEnded(f"{self.name} ended:\n{self.log.read_text(errors='replace')[-2_000:]}")

    def ready(self) -> bool:
        """Whether it serves. Raises NodeEnded when it never will."""
        self.check()
        try:
            return Connection([self.url], 1.0).request("GET", "/readyz").status == 200
        except PeercronError:
            return False


def _end_with_parent() -> None:
    """In the child: TERM when the demo dies without having ended it. Linux only; elsewhere nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def make_nodes(count: int, folder: Path) -> list[DemoNode]:
    """Nodes n1, n2, … on free ports: the usual ones where those are free."""
    ports = _ports(count)
    peers = tuple(f"127.0.0.1:{peer}" for peer, _ in ports)
    return [DemoNode(f"n{n + 1}", peers[n], f"127.0.0.1:{http}", folder, peers) for n, (_, http) in enumerate(ports)]


def _ports(count: int) -> list[tuple[int, int]]:
    usual = [(FIRST_PEER_PORT + n, FIRST_HTTP_PORT + n) for n in range(count)]
    with contextlib.ExitStack() as held:
        try:
            for port in (port for pair in usual for port in pair):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            free = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2 * count)]
            found = [listener.getsockname()[1] for listener in free]
            return list(zip(found[:count], found[count:], strict=True))
    return usual


@contextlib.contextmanager
def ended_at_last(nodes: list[DemoNode]) -> Iterator[None]:
    """However the block ends, so do the nodes: TERM to all, then KILL to those that stay."""
    try:
        yield
    finally:
        living = [node.process for node in nodes if node.process is not None and node.alive]
        for process in living:
            process.terminate()
        for process in living:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
