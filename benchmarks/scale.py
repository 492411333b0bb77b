"""scale: a cluster of 100,000 jobs and 1,000,000 ledger entries, and what its users feel of each large thing it does.

    python -m benchmarks.scale                         # about three minutes
    python -m benchmarks.scale --jobs 10000 --ledger 100000 --json out.json

The state is written into the data directories of three nodes before they start, through the snapshots of the product.
Then, under a light load of writes: a quiet time, a snapshot on every node, a follower killed and started again, one
that comes back after the log it needs is gone, a new member, a leader that hands over, one that is killed, and reads of
everything. Data and logs are in a temporary folder (TMPDIR says where); on tmpfs the disk's own whims are left out.

For each: how long it took; the longest callback of the leader's loop, and the one with the most work of its own (the
rest is waiting, for the disk or for a core); the longest answer of the leader to a trivial question; the longest time
in which no write was accepted; and the largest node's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from benchmarks.bigstate import build
from benchmarks.cluster import Node, Peercron, close, free_ports, scratch, settled, until
from benchmarks.http1 import ask, request
from benchmarks.phases import Phase, longest, table
from benchmarks.prober import Prober
from benchmarks.report import machine, write_json
from benchmarks.stalls import Outside, inside, resident_mb

QUIET_S = 10.0
AFTER_S = 2.0
WAIT_S = 240.0
VALUE = b"x" * (64 << 10)
#: Values written at once, while a snapshot is waited for.
WRITERS = 4
READS = (
    ("digest", "/v1/digest?consistency=stale"),
    ("jobs, a page", "/v1/jobs"),
    ("jobs, the longest page", "/v1/jobs?limit=10000&offset=90000"),
    ("jobs of an owner", "/v1/jobs?owner=nobody"),
    ("export", "/v1/export"),
    ("runs that failed", "/v1/runs?state=failed&limit=1000"),
)


class Scale:
    """The cluster, its load, and the phases that were measured."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.cluster = Peercron(folder, 3, options.flag)
        self.outside: dict[str, Outside] = {}
        for node in self.cluster.nodes:
            self._probe(node)
        self.prober = Prober([node.http for node in self.cluster.nodes], self.cluster.write, pace_s=0.05)
        self.phases: list[Phase] = []
        self.leader = self.cluster.nodes[0]

    def _probe(self, node: Node) -> None:
        at = node.command.index("peercron")
        node.command[at : at + 1] = ["benchmarks.probed", str(self.stalls(node))]
        self.outside[node.name] = Outside(node)

    def stalls(self, node: Node) -> Path:
        return self.folder / f"{node.name}.stalls"

    def followers(self) -> list[Node]:
        return [node for node in self.cluster.nodes if node is not self.leader]

    async def run(self) -> None:
        try:
            async with self.phase("start of all three"):
                for node in self.cluster.nodes:
                    node.spawn()
                self.leader = await settled(self.cluster, WAIT_S)
            for outside in self.outside.values():
                outside.start()
            self.prober.start()
            await self._measure()
        finally:
            await self.prober.close()
            for outside in self.outside.values():
                await outside.close()
            await close(self.cluster)

    async def _measure(self) -> None:
        async with self.phase("quiet"):
            await asyncio.sleep(QUIET_S)
        async with self.phase("snapshot on every node") as phase:
            phase.note = await self._snapshots(self.cluster.nodes)
        async with self.phase("follower killed and started"):
            await self._restart(self.followers()[0])
        async with self.phase("follower filled by snapshot") as phase:
            phase.note = await self._refill(self.followers()[0])
        async with self.phase("a fourth member joins"):
            newcomer = await self._join()
        async with self.phase("it is removed"):
            await self._leave(newcomer)
        async with self.phase("leader hands over"):
            await self._hand_over()
        async with self.phase("leader killed"):
            await self._kill_leader()
        for name, path in READS:
            async with self.phase(name) as phase:
                phase.note = await self._read(path)

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncIterator[Phase]:
        """Measure what happens within, and what it leaves behind in the seconds after."""
        phase = Phase(name, self.leader.name)
        print(f"{name} …", file=sys.stderr, flush=True)
        began = time.monotonic_ns()
        yield phase
        phase.took_s = phase.took_s or (time.monotonic_ns() - began) / 1e9
        await asyncio.sleep(AFTER_S)
        self._judge(phase, began, time.monotonic_ns())
        self.phases.append(phase)

    def _judge(self, phase: Phase, from_ns: int, to_ns: int) -> None:
        phase.leader = self.leader.name
        for node in self.cluster.nodes:
            phase.slow[node.name] = inside(self.stalls(node), from_ns, to_ns)[:10]
            phase.resident_mb[node.name] = resident_mb(node) if node.alive else 0.0
        phase.longest, phase.hardest = longest(self.stalls(self.leader), from_ns, to_ns)
        phase.outside_ms = self.outside[self.leader.name].longest_ms(from_ns, to_ns)
        times = sorted(w.answered_ns for w in self.prober.accepted if from_ns <= w.answered_ns <= to_ns)
        phase.write_gap_ms = max(((b - a) / 1e6 for a, b in pairwise(times)), default=0.0)

    # The large things.

    async def _snapshots(self, nodes: list[Node]) -> str:
        """Write until each of the nodes has taken a snapshot more; answers how large they are."""
        before = {node.name: len(snapshots(node)) for node in nodes}
        writing = [asyncio.ensure_future(self._write_large(n)) for n in range(WRITERS)]
        try:
            await until(lambda: all(len(snapshots(n)) > before[n.name] for n in nodes), WAIT_S, "snapshots", every=0.2)
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        return f"{snapshots(nodes[0])[-1] / 1e6:.0f} MB"

    async def _write_large(self, n: int) -> None:
        while True:
            raw = request("PUT", f"/v1/state/bench/large-{n}", VALUE, "application/octet-stream")
            try:
                await once(self.leader, raw)
            except (OSError, TimeoutError):
                await asyncio.sleep(0.1)

    async def _restart(self, node: Node) -> None:
        node.signal(signal.SIGKILL)
        await node.gone()
        node.spawn()
        self.leader = await settled(self.cluster, WAIT_S)

    async def _refill(self, node: Node) -> str:
        """Keep a follower away until the others have forgotten what it needs."""
        node.signal(signal.SIGKILL)
        await node.gone()
        others = [other for other in self.cluster.nodes if other is not node]
        size = await self._snapshots(others)
        await asyncio.sleep(AFTER_S)
        began = time.monotonic()
        node.spawn()
        self.leader = await settled(self.cluster, WAIT_S)
        return f"{size}, caught up after {time.monotonic() - began:.1f} s"

    async def _join(self) -> Node:
        """A newcomer with an empty disk, which gets everything from the leader."""
        peer, http = free_ports(2)
        address, any_member = f"127.0.0.1:{peer}", address_of(self.leader)
        status, told = await ask(self.leader.http, "POST", "/v1/members", {"address": address, "name": "n4"})
        assert status in (200, 201), told
        command = [*(sys.executable, "-m", "peercron", "--join", any_member, "--self", address, "--name", "n4")]
        command += ["--data-dir", str(self.folder / "n4"), "--http", f"127.0.0.1:{http}", *self.options.flag]
        node = Node("n4", ("127.0.0.1", http), command, self.folder / "n4.log")
        self._probe(node)
        self.cluster.nodes.append(node)
        self.cluster.size += 1
        node.spawn()
        self.outside[node.name].start()
        self.leader = await settled(self.cluster, WAIT_S)
        await until(self._all_vote, WAIT_S, "the newcomer to become a voter", every=0.1)
        return node

    async def _all_vote(self) -> bool:
        members = (await self.cluster.status(self.leader)).get("members", [])
        return bool(members) and all(member["role"] == "voter" for member in members)

    async def _leave(self, node: Node) -> None:
        status, told = await ask(self.leader.http, "DELETE", f"/v1/members/{node.name}", timeout=30)
        assert status == 200, told
        await node.gone()
        self.cluster.nodes.remove(node)
        self.cluster.size -= 1
        self.leader = await settled(self.cluster, WAIT_S)

    async def _hand_over(self) -> None:
        before = self.leader
        await ask(before.http, "POST", "/v1/leader:transfer", {}, timeout=30)
        await until(lambda: self._leader_is_not(before), WAIT_S, "another leader")
        self.leader = await settled(self.cluster, WAIT_S)

    async def _kill_leader(self) -> None:
        before = self.leader
        before.signal(signal.SIGKILL)
        await before.gone()
        await until(lambda: self._leader_is_not(before), WAIT_S, "another leader", every=0.005)
        before.spawn()
        self.leader = await settled(self.cluster, WAIT_S)

    async def _leader_is_not(self, before: Node) -> bool:
        leader = await self.cluster.leader()
        return leader is not None and leader is not before

    async def _read(self, path: str) -> str:
        status, size = await once(self.leader, request("GET", path), timeout=WAIT_S)
        return f"{status}, {size / 1e6:.2f} MB"


def address_of(node: Node) -> str:
    """Where its peers reach it."""
    return node.command[node.command.index("--self") + 1]


async def once(node: Node, raw: bytes, timeout: float = 30.0) -> tuple[int, int]:
    """One request on a connection of its own: status and size of the answer."""
    from benchmarks.http1 import Connection

    async with asyncio.timeout(timeout):
        connection = await Connection.open(node.http)
        try:
            status, body = await connection.call(raw)
        finally:
            connection.close()
    return status, len(body)


def snapshots(node: Node) -> list[int]:
    """Sizes of the snapshots that the node's log tells of."""
    text = node.log.read_text(encoding="utf-8", errors="replace")
    return [int(size) for size in re.findall(r"snapshot_written .*bytes=(\d+)", text)]


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--ledger", type=int, default=1_000_000, help="entries over all jobs (1,000,000)")
    parser.add_argument("--flag", action="append", default=[], metavar="--X=Y", help="more for every node")
    parser.add_argument("--json", type=Path, help="write everything that was measured there")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = options_of(arguments)
    facts = machine()
    with scratch(options.keep) as folder:
        scale = Scale(folder, options)
        print("making the state …", file=sys.stderr, flush=True)
        nodes = scale.cluster.nodes
        members = [address_of(node) for node in nodes]
        folders = [folder / node.name for node in nodes]
        size = build(folders, options.jobs, options.ledger, int(time.time() * 1000), members)
        asyncio.run(scale.run())
    print(f"{options.jobs:,} jobs, {options.ledger:,} ledger entries, a snapshot of {size / 1e6:.0f} MB\n")
    print(table(scale.phases))
    if options.json:
        measured = json.loads(json.dumps([asdict(phase) for phase in scale.phases]))
        write_json(options.json, {"machine": facts, "snapshot_bytes": size, "phases": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
