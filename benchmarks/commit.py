"""Commit latency and throughput of three real members, next to what this machine's disk and loopback can do.

    python -m benchmarks.commit [--seconds 4] [--in-flight 1,64,512] [--json FILE]

Each member is a process of its own with everything a node has but HTTP; the load is made inside one of them (the
leader, then a follower), so what is measured is the path from a proposal to its verdict: two processes' log entries
on disk and a round trip between them. The floor is measured in the same run: the median of an fdatasync of a small
append, and of a round trip over loopback between two processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.cluster import free_ports, scratch
from benchmarks.report import machine, percentile, write_json
from peercron.core.commands import PutKey
from peercron.node import Node
from peercron.settings import load

VALUE: Final = b"x" * 100
WARM_UP: Final = 200
LONE: Final = 1_000
SYNCS: Final = 500
ROUND_TRIPS: Final = 2_000


async def serve(peers: str, me: str, folder: Path, control: Path) -> None:
    """One member, with a control socket that starts loads."""
    node = Node(load({"peers": peers, "self": me, "data_dir": str(folder)}, {}))
    await node.start()
    name = node.settings.name

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            asked = json.loads(line)
            if asked["do"] == "status":
                reply: dict[str, Any] = {"ready": all(ok for _, ok, _ in node.ready()), "leads": node.leader() == name}
            elif asked["do"] == "lone":
                reply = await _lone(node)
            else:
                reply = await _crowd(node, asked["in_flight"], asked["seconds"])
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()

    await asyncio.start_unix_server(answer, control)
    await asyncio.Event().wait()


async def _lone(node: Node) -> dict[str, Any]:
    for _ in range(WARM_UP):
        await node.propose(PutKey("bench", "k", VALUE), 5)
    taken = []
    for _ in range(LONE):
        start = time.perf_counter()
        await node.propose(PutKey("bench", "k", VALUE), 5)
        taken.append((time.perf_counter() - start) * 1000)
    return {"p50_ms": percentile(taken, 50), "p95_ms": percentile(taken, 95), "p99_ms": percentile(taken, 99)}


async def _crowd(node: Node, in_flight: int, seconds: float) -> dict[str, Any]:
    done, taken = 0, []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        nonlocal done
        while (start := time.perf_counter()) < end:
            await node.propose(PutKey("bench", f"k{number}", VALUE), 5)
            taken.append((time.perf_counter() - start) * 1000)
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(in_flight)))
    spent = time.perf_counter() - start
    return {"per_s": done / spent, "p50_ms": percentile(taken, 50), "p99_ms": percentile(taken, 99)}


def fdatasync_ms(folder: Path) -> float:
    """Median of one small append made durable."""
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    taken = []
    for _ in range(SYNCS):
        os.write(fd, b"x" * 200)
        start = time.perf_counter()
        os.fdatasync(fd)
        taken.append((time.perf_counter() - start) * 1000)
    os.close(fd)
    return statistics.median(taken)


def _echo(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := peer.recv(4096):
            peer.sendall(data)


def round_trip_ms() -> float:
    """Median of 200 bytes there and back between two processes over loopback, with plain blocking sockets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = multiprocessing.get_context("spawn").Process(target=_echo, args=(server.getsockname()[1],))
        other.start()
        peer, _ = server.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken = []
        for _ in range(ROUND_TRIPS):
            start = time.perf_counter()
            peer.sendall(b"x" * 200)
            peer.recv(4096)
            taken.append((time.perf_counter() - start) * 1000)
        peer.close()
        other.join()
    return statistics.median(taken)


class _Member:
    """One member's process, and the line to it."""

    def __init__(self, peers: str, me: str, folder: Path) -> None:
        self._peers, self._me, self._folder = peers, me, folder
        self._control = folder.with_suffix(".sock")

    async def start(self) -> None:
        arguments = ["--member", self._peers, self._me, str(self._folder), str(self._control)]
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.commit", *arguments)
        while not self._control.exists():  # noqa: ASYNC110 - the file is made by another process
            await asyncio.sleep(0.05)
        self._reader, self._writer = await asyncio.open_unix_connection(self._control)

    async def ask(self, **asked: Any) -> dict[str, Any]:
        self._writer.write(json.dumps(asked).encode() + b"\n")
        reply: dict[str, Any] = json.loads(await self._reader.readline())
        return reply


async def measure(folder: Path, in_flight: list[int], seconds: float) -> dict[str, Any]:
    """The floor, then the loads on the leader and on a follower."""
    floor = {"fdatasync_ms": fdatasync_ms(folder), "round_trip_ms": round_trip_ms()}
    ports = free_ports(3)
    peers = ",".join(f"127.0.0.1:{port}" for port in ports)
    members = [_Member(peers, f"127.0.0.1:{port}", folder / str(port)) for port in ports]
    try:
        await asyncio.gather(*(member.start() for member in members))
        while not all([(await m.ask(do="status"))["ready"] for m in members]):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)
        leads = [(await m.ask(do="status"))["leads"] for m in members]
        found: dict[str, Any] = {"machine": machine(), "floor": floor}
        for role, member in (("leader", members[leads.index(True)]), ("follower", members[leads.index(False)])):
            print(f"{role}: one at a time …", file=sys.stderr)
            found[role] = {"lone": await member.ask(do="lone")}
            for count in in_flight:
                print(f"{role}: {count} in flight …", file=sys.stderr)
                found[role][str(count)] = await member.ask(do="crowd", in_flight=count, seconds=seconds)
    finally:
        for member in members:
            member.process.kill()
            await member.process.wait()
    base_ms = floor["fdatasync_ms"] + floor["round_trip_ms"]
    found["lone_over_floor"] = found["leader"]["lone"]["p50_ms"] / base_ms
    return found


def show(found: dict[str, Any]) -> None:
    floor = found["floor"]
    print(f"floor   fdatasync {floor['fdatasync_ms']:.3f} ms   round trip {floor['round_trip_ms']:.3f} ms")
    for role in ("leader", "follower"):
        lone = found[role]["lone"]
        print(f"{role:8} one at a time   p50 {lone['p50_ms']:.2f} ms   p99 {lone['p99_ms']:.2f} ms")
        for count, row in found[role].items():
            if count != "lone":
                rest = f"p50 {row['p50_ms']:.2f} ms   p99 {row['p99_ms']:.2f} ms"
                print(f"{role:8} {count:>4} in flight  {row['per_s']:9,.0f}/s   {rest}")
    print(f"a lone proposal on the leader takes {found['lone_over_floor']:.1f} times the floor")


def main() -> None:
    if sys.argv[1:2] == ["--member"]:
        peers, me, data, control = sys.argv[2:]
        asyncio.run(serve(peers, me, Path(data), Path(control)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load goes on")
    parser.add_argument("--in-flight", default="1,64,512", help="proposals under way at once, a list")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/commit.json"))
    options = parser.parse_args()
    with scratch() as folder:
        counts = [int(count) for count in options.in_flight.split(",")]
        found = asyncio.run(measure(folder, counts, options.seconds))
    show(found)
    write_json(options.json, found)


if __name__ == "__main__":
    main()
