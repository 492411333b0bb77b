"""Locks: acquire and release through HTTP, one client's latency and many clients' throughput, beside etcd and Redis.

    python -m benchmarks.locks [--seconds 5] [--clients 64] [--json FILE] [--plot FILE]

Each client has a lock of its own, so that what is measured is the way and not the wait; one round is an acquire and a
release. peercron and etcd are clusters of three nodes that have each grant on two disks before it is told; all clients
ask the leader. Redis is one process that appends to its file before it answers (appendfsync always): nobody takes over.
Peers that are not installed are left out, and that is said.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.cluster import Cluster, Node, Peercron, close, free_ports, scratch, start, until
from benchmarks.etcd import Etcd, installed
from benchmarks.http1 import Connection, ask, request
from benchmarks.report import Series, machine, percentile, plot, table, write_json

WARM_UP: Final = 50
LONE_MAX: Final = 1_000

#: One acquire and release; made for one client.
Round = Callable[[], Awaitable[None]]
#: Makes a client of this number.
NewClient = Callable[[int], Awaitable[Round]]


async def _said(connection: Connection, raw: bytes) -> dict[str, Any]:
    status, body = await connection.call(raw)
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


async def peercron_client(node: Node, number: int) -> Round:
    connection = await Connection.open(node.http)
    path = f"/v1/locks/bench/l{number}"
    take = request("POST", f"{path}:acquire", json.dumps({"owner": f"bench/{number}/main", "ttl": "30s"}).encode())

    async def once() -> None:
        token = (await _said(connection, take))["token"]
        await _said(connection, request("POST", f"{path}:release", json.dumps({"token": token}).encode()))

    return once


async def etcd_client(node: Node, number: int) -> Round:
    """With a session of its own, as etcd's clients have: the lease is granted once."""
    connection = await Connection.open(node.http)
    _, lease = await ask(node.http, "POST", "/v3/lease/grant", {"TTL": 60})
    name = base64.b64encode(f"bench/l{number}".encode()).decode()
    take = request("POST", "/v3/lock/lock", json.dumps({"name": name, "lease": lease["ID"]}).encode())

    async def once() -> None:
        key = (await _said(connection, take))["key"]
        await _said(connection, request("POST", "/v3/lock/unlock", json.dumps({"key": key}).encode()))

    return once


#: Deletes the key if it still is the caller's, as Redis' own manual has it.
UNLOCK: Final = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"


def _resp(*words: str) -> bytes:
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)])


async def redis_client(port: int, number: int) -> Round:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key, owner = f"bench:l{number}", f"owner-{number}"
    take, give = _resp("SET", key, owner, "NX", "PX", "30000"), _resp("EVAL", UNLOCK, "1", key, owner)

    async def once() -> None:
        for raw, good in ((take, b"+OK\r\n"), (give, b":1\r\n")):
            writer.write(raw)
            assert await reader.readline() == good

    return once


async def measure(new_client: NewClient, clients: int, seconds: float) -> dict[str, Any]:
    """One client's latency in ms, and the rounds a second of many."""
    lone, many = await new_client(0), [await new_client(1 + number) for number in range(clients)]
    for _ in range(WARM_UP):
        await lone()
    taken: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s and len(taken) < LONE_MAX:
        began_s = time.perf_counter()
        await lone()
        taken.append((time.perf_counter() - began_s) * 1_000)
    crowded: list[float] = []

    async def go_on(once: Round) -> None:
        while (began_s := time.perf_counter()) < end_s:
            await once()
            crowded.append((time.perf_counter() - began_s) * 1_000)

    began_s = time.perf_counter()
    end_s = began_s + seconds
    await asyncio.gather(*map(go_on, many))
    spent_s = time.perf_counter() - began_s
    return {"lone_ms": taken, "crowd_ms": crowded, "per_s": len(crowded) / spent_s, "clients": clients}


async def of_cluster(
    cluster: Cluster, client: Callable[[Node, int], Awaitable[Round]], clients: int, seconds: float
) -> dict[str, Any]:
    try:
        leader = await start(cluster)
        return await measure(lambda number: client(leader, number), clients, seconds)
    finally:
        await close(cluster)


async def of_redis(folder: Path, clients: int, seconds: float) -> dict[str, Any]:
    (port,) = free_ports(1)
    (folder / "redis").mkdir()
    command = [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder / "redis")),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    ]
    node = Node("redis", ("127.0.0.1", port), command, folder / "redis.log")
    node.spawn()
    try:
        await until(lambda: _listens(port), 10, "redis to listen")
        return await measure(lambda number: redis_client(port, number), clients, seconds)
    finally:
        assert node.process is not None
        node.process.terminate()
        await node.gone()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def run(folder: Path, clients: int, seconds: float) -> dict[str, dict[str, Any]]:
    (folder / "peercron").mkdir()
    found = {"peercron": await of_cluster(Peercron(folder / "peercron"), peercron_client, clients, seconds)}
    if installed():
        (folder / "etcd").mkdir()
        found["etcd"] = await of_cluster(Etcd(folder / "etcd"), etcd_client, clients, seconds)
    else:
        print("etcd is not installed (Debian: etcd-server): left out")
    if shutil.which("redis-server"):
        found["redis"] = await of_redis(folder, clients, seconds)
    else:
        print("Redis is not installed (Debian: redis-server): left out")
    return found


def show(found: dict[str, dict[str, Any]], clients: int) -> None:
    print(table("acquire + release, 1 client, ms", [Series(name, each["lone_ms"]) for name, each in found.items()]))
    print()
    many = [Series(name, each["crowd_ms"]) for name, each in found.items()]
    print(table(f"acquire + release, {clients} clients, ms", many))
    print()
    for name, each in found.items():
        print(f"{name:9} {each['per_s']:8,.0f} rounds/s with {clients} clients")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each load goes on")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/locks.json"))
    parser.add_argument("--plot", type=Path, default=Path("benchmarks/results/locks.svg"))
    options = parser.parse_args()
    with scratch() as folder:
        about = machine()
        found = asyncio.run(run(folder, options.clients, options.seconds))
    show(found, options.clients)
    kept = {
        name: {
            "per_s": each["per_s"],
            **{f"{what}_p{p}_ms": percentile(each[f"{what}_ms"], p) for what in ("lone", "crowd") for p in (50, 95)},
        }
        for name, each in found.items()
    }
    write_json(options.json, {"machine": about, "clients": options.clients, "systems": kept})
    panels = {
        "1 client": [Series(name, each["lone_ms"]) for name, each in found.items()],
        f"{options.clients} clients": [Series(name, each["crowd_ms"]) for name, each in found.items()],
    }
    if not plot(options.plot, "acquire and release of a lock", panels):
        print("matplotlib is not installed: no picture")


if __name__ == "__main__":
    main()
