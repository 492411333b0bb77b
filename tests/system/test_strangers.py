"""Who does not belong knocks at the peer port: the node lives, its memory stays, its log does not fill."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.processes import Cluster, Node, cluster_in, wait_for

KNOCKS = 60
#: Log lines that so many knocks may cost: a refusal is told once, not once for each.
LINES_MAX = 10
MIB = 1 << 20


def resident_bytes(node: Node) -> int:
    pages = int(Path(f"/proc/{node.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def knock(node: Node, payload: bytes) -> None:
    """Send it all, as far as the node takes it, and wait until the node hangs up or says nothing for a while."""
    with socket.create_connection(("127.0.0.1", node.peer_port), timeout=2) as connection:
        connection.settimeout(0.2)
        try:
            connection.sendall(payload)
            while connection.recv(65536):
                pass
        except OSError:
            return


def garbage(size: int) -> Callable[[], bytes]:
    return lambda: random.Random(size).randbytes(size)


PAYLOADS: dict[str, Callable[[], bytes]] = {
    "a few random bytes": garbage(40),
    "a lot of random bytes": garbage(4 * MIB),
    "a frame that claims four gigabytes": lambda: struct.pack(">I", 0xFFFFFFFF) + b"x" * MIB,
    "the same, the other way round": lambda: struct.pack("<I", 0x7FFFFFFF) + b"x" * MIB,
    "an empty frame": lambda: b"\0" * 64,
    "a request of the web": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing at all": lambda: b"",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> object:
    with cluster_in(tmp_path_factory.mktemp("strangers")) as running:
        yield running


@pytest.mark.parametrize("payload", PAYLOADS)
def test_garbage_is_refused(cluster: Cluster, payload: str) -> None:
    node = cluster.leader()
    content = PAYLOADS[payload]()
    knock(node, content)
    lines, memory = node.said().count("\n"), resident_bytes(node)
    for _ in range(KNOCKS):
        knock(node, content)
    assert node.alive
    assert resident_bytes(node) - memory < 8 * MIB
    assert node.said().count("\n") - lines <= LINES_MAX
    assert cluster.leader() is node, "it went on leading"
    cluster.request("PUT", "/v1/state/strangers/k", b"v")


def test_many_silent_strangers_are_hung_up_on(cluster: Cluster) -> None:
    """Connections that never say who they are do not pile up."""
    node = cluster.leader()
    silent = [socket.create_connection(("127.0.0.1", node.peer_port), timeout=2) for _ in range(200)]
    try:
        cluster.request("PUT", "/v1/state/strangers/k", b"v")
        for connection in silent:
            connection.settimeout(15)
            assert connection.recv(4096) is not None
        wait_for(lambda: open_sockets(node) < 100, "the node to hang up")
    finally:
        for connection in silent:
            connection.close()


def open_sockets(node: Node) -> int:
    links = (os.readlink(fd) for fd in Path(f"/proc/{node.pid}/fd").iterdir() if fd.is_symlink())
    return sum(link.startswith("socket:") for link in links)


def test_a_node_with_a_wrong_secret_stays_outside(tmp_path: Path) -> None:
    (tmp_path / "right").write_text("a secret that three hosts share")
    (tmp_path / "wrong").write_text("another secret that one believes in")
    own = {i: ("--secret-file", str(tmp_path / ("wrong" if i == 2 else "right"))) for i in range(3)}
    cluster = Cluster(tmp_path, own_flags=own)
    try:
        for node in cluster.nodes:
            node.spawn()
        stranger = cluster.nodes[2]
        for node in cluster.nodes[:2]:
            node.wait_ready()
        cluster.request("PUT", "/v1/state/strangers/k", b"v")
        lines = [node.said().count("\n") for node in cluster.nodes[:2]]
        # It dials and is dialled again and again meanwhile; the logs must not show each time.
        wait_for(lambda: "secret" in stranger.said(), "the stranger to say why")
        cluster.request("PUT", "/v1/state/strangers/k2", b"v")
        assert not stranger.ready
        assert all(node.said().count("\n") - n <= LINES_MAX for node, n in zip(cluster.nodes[:2], lines, strict=True))
        wait_for(lambda: any("secret" in node.said() for node in cluster.nodes[:2]), "one of them to say why")
    finally:
        cluster.close()
