"""etcd: the same kind of cluster made of etcd, over its v3 HTTP gateway, to measure beside ours."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cluster import Node, free_ports
from benchmarks.http1 import ask, request


def installed() -> bool:
    return shutil.which("etcd") is not None


@dataclass(slots=True)
class Etcd:
    """An etcd cluster; heartbeat and election time-out in ms (0: its default, 100 and 1000)."""

    folder: Path
    size: int = 3
    heartbeat_ms: int = 0
    election_ms: int = 0
    label: str = field(init=False)
    nodes: list[Node] = field(init=False)
    write: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"etcd {self.heartbeat_ms or 100}/{self.election_ms or 1000}"
        ports = free_ports(2 * self.size)
        names = [f"e{i + 1}" for i in range(self.size)]
        peers = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False))
        self.nodes = [self._node(name, peers, ports[i], ports[self.size + i]) for i, name in enumerate(names)]
        pair = {key: base64.b64encode(value).decode() for key, value in (("key", b"bench/k"), ("value", b"x" * 16))}
        self.write = request("POST", "/v3/kv/put", json.dumps(pair).encode())

    def _node(self, name: str, peers: str, peer_port: int, client_port: int) -> Node:
        peer, client = f"http://127.0.0.1:{peer_port}", f"http://127.0.0.1:{client_port}"
        command = [
            *("etcd", "--name", name, "--data-dir", str(self.folder / name), "--log-level", "error"),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", peers),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
        ]
        if self.heartbeat_ms:
            command += ["--heartbeat-interval", str(self.heartbeat_ms)]
        if self.election_ms:
            command += ["--election-timeout", str(self.election_ms)]
        return Node(name, ("127.0.0.1", client_port), command, self.folder / f"{name}.log")

    async def status(self, node: Node) -> dict[str, Any]:
        """The member's own status; empty where it does not answer."""
        try:
            code, answer = await ask(node.http, "POST", "/v3/maintenance/status", {}, timeout=1.0)
        except (OSError, TimeoutError):
            return {}
        return answer if code == 200 and isinstance(answer, dict) else {}

    async def leader(self) -> Node | None:
        told = [(node, await self.status(node)) for node in self.nodes]
        named = [status.get("leader") for _, status in told]
        for node, status in told:
            me = status.get("header", {}).get("member_id")
            if me is not None and named.count(me) > self.size // 2:
                return node
        return None

    async def caught_up(self) -> bool:
        told = [await self.status(node) for node in self.nodes]
        if not all(status.get("leader", "0") != "0" for status in told):
            return False
        applied = [int(status.get("raftAppliedIndex", 0)) for status in told]
        return max(applied) - min(applied) <= 1
