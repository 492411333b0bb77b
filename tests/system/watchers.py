"""Many watch the shared state while others count in it and the leader is killed: each sees every change once, in order.

    python -m tests.system.watchers --watchers 100 --changes 100000 --kills 2

A few watchers are clients like any user's, which read every change; the others read the same stream as bytes, go on
where it broke off, and keep a fingerprint of all they were told. Counters leave no doubt about what must be seen: each
write adds one, so that a change that is lost or told twice is a hole or a repetition in a sequence.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path

import aiohttp

from peercron import Client
from tests.system.processes import Cluster, cluster_in

WRITERS = 64
CLIENTS = 4
NAMESPACE = "watched"
REDIAL_S = 0.1
#: A killed leader comes back after this.
DEAD_S = 2.0
#: On a machine that is busy with a hundred watchers.
BACK_S = 120.0
#: For what was acknowledged to be told to everybody.
TELL_S = 60.0
URL = f"/v1/state/{NAMESPACE}/?watch=1&from="


@dataclass(slots=True)
class Seen:
    """What one watcher was told."""

    start: int
    changes: int = 0
    last: int = 0
    streams: int = 0
    fingerprint: blake2b = field(default_factory=blake2b)
    flaws: list[str] = field(default_factory=list)


class ByteWatcher:
    """Reads the stream as bytes: lines of changes go into the fingerprint, those that say how far it is do not."""

    def __init__(self, addresses: Sequence[str], start: int) -> None:
        self._addresses, self.seen = addresses, Seen(start, last=start)

    async def watch(self, session: aiohttp.ClientSession) -> None:
        while True:
            address = self._addresses[self.seen.streams % len(self._addresses)]
            self.seen.streams += 1
            try:
                async with session.get(f"{address}{URL}{self.seen.last}") as answer:
                    if answer.status != 200:
                        self.seen.flaws += [await answer.text()] if answer.status == 410 else []
                        await asyncio.sleep(REDIAL_S)
                        continue
                    await self._read(answer.content)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(REDIAL_S)

    async def _read(self, stream: aiohttp.StreamReader) -> None:
        rest = b""
        async for chunk in stream.iter_any():
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            lines = [line for line in whole.split(b"\n") if line.startswith(b'{"key"')]
            if lines:
                self.seen.fingerprint.update(b"\n".join(lines) + b"\n")
                self.seen.changes += len(lines)
                self.seen.last = int(lines[-1].partition(b'"revision":')[2].partition(b",")[0])


class ClientWatcher:
    """Reads every change as users do, and makes the same fingerprint of what it understood."""

    def __init__(self, addresses: Sequence[str], start: int) -> None:
        self._addresses, self.seen = addresses, Seen(start, last=start)
        #: Key -> the number that it was last told to be.
        self.counts: Counter[str] = Counter()

    async def watch(self, session: aiohttp.ClientSession) -> None:
        async with Client(self._addresses) as client:
            async for change in client.state.watch(after=self.seen.start, namespace=NAMESPACE):
                if change.revision <= self.seen.last:
                    self.seen.flaws.append(f"revision {change.revision} after {self.seen.last}")
                if change.value != self.counts[change.key] + 1:
                    self.seen.flaws.append(f"{change.key} is {change.value} after {self.counts[change.key]}")
                self.counts[change.key], self.seen.last = change.value, change.revision
                self.seen.changes += 1
                line = b'{"key":"%b","revision":%d,"value":%d}\n'
                self.seen.fingerprint.update(line % (change.key.encode(), change.revision, change.value))


@dataclass(slots=True)
class Report:
    """What became of it."""

    acknowledged: int
    seconds: float
    kills: int
    told_s: float
    watchers: list[Seen]
    flaws: list[str]

    @property
    def good(self) -> bool:
        return not self.flaws

    def __str__(self) -> str:
        streams = sum(seen.streams for seen in self.watchers)
        return "\n".join([
            f"{self.acknowledged} acknowledged changes in {self.seconds:.1f} s"
            f" ({self.acknowledged / self.seconds:.0f} a second), {self.kills} leaders killed",
            f"{len(self.watchers)} watchers, {streams} byte streams; all told {self.told_s:.2f} s after the last write",
            f"changes seen by each: {sorted({seen.changes for seen in self.watchers})},"
            f" different histories: {len({seen.fingerprint.digest() for seen in self.watchers})}",
            *(f"WRONG: {flaw}" for flaw in self.flaws[:20]),
        ])  # fmt: skip


async def run(cluster: Cluster, *, watchers: int, changes: int, kills: int) -> Report:
    addresses = [f"http://127.0.0.1:{node.http_port}" for node in cluster.nodes]
    async with (
        Client(addresses, timeout="60s") as client,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None)) as session,
    ):
        start = await client.state.put("start", 0)
        readers: list[ByteWatcher | ClientWatcher] = []
        for n in range(watchers):
            turned = addresses[n % len(addresses) :] + addresses[: n % len(addresses)]
            readers.append((ClientWatcher if n < CLIENTS else ByteWatcher)(turned, start))
        tasks = [asyncio.create_task(reader.watch(session)) for reader in readers]
        begun_s = time.monotonic()
        counts: Counter[str] = Counter()
        writing = [asyncio.create_task(_count(client, f"c{n}", counts, changes)) for n in range(WRITERS)]
        for kill in range(1, kills + 1):
            await _until(partial(_written, counts, changes * kill // (kills + 1)))
            await asyncio.to_thread(_replace_leader, cluster)
            print(f"{counts.total()} changes, {kill} leaders killed", file=sys.stderr, flush=True)
        await asyncio.gather(*writing)
        ended_s = time.monotonic()
        await _until(lambda: min(reader.seen.changes for reader in readers) >= counts.total(), TELL_S)
        told_s = time.monotonic()
        dead = [repr(task.exception()) for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    seen = [reader.seen for reader in readers]
    flaws = [*dead, *_flaws(readers, counts)]
    return Report(counts.total(), ended_s - begun_s, kills, told_s - ended_s, seen, flaws)


def _written(counts: Counter[str], due: int) -> bool:
    return counts.total() >= due


async def _until(condition: Callable[[], bool], timeout_s: float = 3_600.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < until_s:  # noqa: ASYNC110 a hundred readers need no word of each line
        await asyncio.sleep(0.02)


async def _count(client: Client, key: str, counts: Counter[str], changes: int) -> None:
    """Add one again and again until all writers together have added enough."""
    while counts.total() < changes:
        total = await client.state.incr(f"{NAMESPACE}:{key}")
        counts[key] += 1
        assert total == counts[key], f"{key} is {total} after {counts[key]} writes: one was done twice, or not at all"


def _replace_leader(cluster: Cluster) -> None:
    leader = cluster.leader()
    leader.kill()
    time.sleep(DEAD_S)
    leader.spawn()
    leader.wait_ready(BACK_S)


def _flaws(readers: Sequence[ByteWatcher | ClientWatcher], counts: Counter[str]) -> list[str]:
    flaws = [flaw for reader in readers for flaw in reader.seen.flaws]
    for n, reader in enumerate(readers):
        if reader.seen.changes != counts.total():
            flaws.append(f"watcher {n} saw {reader.seen.changes} of {counts.total()} changes")
        if isinstance(reader, ClientWatcher) and reader.counts != counts:
            flaws.append(f"watcher {n} saw other counts than were written")
    if len({reader.seen.fingerprint.digest() for reader in readers}) != 1:
        flaws.append("not all watchers were told the same")
    return flaws


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    with tempfile.TemporaryDirectory(prefix="peercron-watchers-") as folder, cluster_in(Path(folder)) as cluster:
        report = asyncio.run(run(cluster, watchers=options.watchers, changes=options.changes, kills=options.kills))
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
