"""A crowd waits for one lock, at all nodes alike: who has it next, who is woken, and what it costs to wait.

    python -m tests.system.crowd --waiters 1000

They stand in line one after another, each at the next node. While they do nothing but wait, the processor time of the
nodes and the growth of the log are taken. Then some go away, and the lock is passed on until everybody else had it:
always by the one command that gives it back, to the one that is first in line, at whichever node, and to nobody else.
Exit status 0 when that is so and waiting cost less than CPU_PERCENT_MAX of a core a node more than without a crowd.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.system.idle import cpu_seconds
from tests.system.processes import Cluster, cluster_in

LOCK = "/v1/locks/reports/db"
#: Nothing here ends by time.
FOR_LONG = "10m"
CPU_PERCENT_MAX = 5.0
#: After its client went away a waiter is out of the line within this time.
LEAVE_S = 10.0
ANSWER_S = 10.0
#: The lock is passed on this often before, and after, most of the crowd has gone: to compare what one turn costs.
SAMPLE_SHARE = 0.1


@dataclass(slots=True)
class Report:
    """What was seen; `flaws` in words."""

    waiters: int
    stood_s: float = 0
    #: Node -> per cent of a core, with nobody there and with the whole crowd.
    alone: dict[str, float] = field(default_factory=dict)
    crowded: dict[str, float] = field(default_factory=dict)
    #: Entries that the log grew by while all waited.
    grown: int = 0
    #: Of those who went away, how many left the line before their turn came, and how many were passed over in it.
    left: int = 0
    passed_over: int = 0
    #: Milliseconds from giving back to having, and the commands that all of it took.
    turns_ms: list[float] = field(default_factory=list)
    commands: int = 0
    #: Processor time of all nodes for one turn while nearly all wait, and while nearly nobody does.
    first_ms: float = 0
    last_ms: float = 0
    flaws: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.flaws

    def __str__(self) -> str:
        costs = ", ".join(f"{name} {self.crowded[name]:.2f} % (alone {self.alone[name]:.2f} %)" for name in self.alone)
        turns = sorted(self.turns_ms)
        return "\n".join([
            f"{self.waiters} stood in line in {self.stood_s:.1f} s; while they waited: {costs} of a core,"
            f" the log grew by {self.grown}",
            f"{self.left} went away and left the line, {self.passed_over} went away in their turn;"
            f" {len(turns)} had it one after another with {self.commands} commands: p50 {statistics.median(turns):.1f},"
            f" max {turns[-1]:.1f} ms; processor time of a turn: {self.first_ms:.2f} ms with most of them waiting,"
            f" {self.last_ms:.2f} ms with the last ones",
            *(f"WRONG: {flaw}" for flaw in self.flaws[:20]),
        ])  # fmt: skip


class Crowd:
    """Waiters by number, each at the node of that number."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self._cluster, self._session = cluster, session
        self._urls = [f"http://{node.host}:{node.http_port}" for node in cluster.nodes]
        self.tasks: list[asyncio.Task[int]] = []
        #: Who had it, in the order in which the answers came.
        self.had: list[int] = []

    async def ask(self, number: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(index, JSON) of an answer of the node of this number, which must be a good one."""
        url = self._urls[number % len(self._urls)] + path
        async with self._session.request(method, url, json=body) as answer:
            assert answer.status == 200, f"{method} {path}: {answer.status} {await answer.text()}"
            return int(answer.headers["Peercron-Index"]), await answer.json()

    async def acquire(self, number: int) -> int:
        asked = {"owner": f"w{number}", "ttl": FOR_LONG, "wait": FOR_LONG}
        _, told = await self.ask(number, "POST", f"{LOCK}:acquire", asked)
        self.had.append(number)
        return int(told["token"])

    async def stand(self, number: int) -> None:
        """Stand in line, behind everybody that was called before."""
        self.tasks.append(asyncio.create_task(self.acquire(number)))
        await self.until_waiting(number + 1, number)

    async def until_waiting(self, count: int, number: int = 0) -> None:
        async with asyncio.timeout(LEAVE_S):
            # The node tells of it too, but so does it of all that happens to the lock.
            while (await self.ask(number, "GET", f"{LOCK}?consistency=stale"))[1]["waiting"] != count:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def index(self) -> int:
        return (await self.ask(0, "GET", "/v1/status"))[0]

    async def costs(self, seconds: float) -> dict[str, float]:
        """Node -> per cent of a core, while nobody asks for anything."""
        before = {node.name: cpu_seconds(node) for node in self._cluster.nodes}
        begun_s = time.monotonic()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - begun_s
        return {node.name: (cpu_seconds(node) - before[node.name]) / took_s * 100 for node in self._cluster.nodes}

    def cpu_ms(self) -> float:
        return sum(cpu_seconds(node) for node in self._cluster.nodes) * 1_000


async def run(cluster: Cluster, *, waiters: int, gone: int, seconds: float, seed: int = 1) -> Report:
    """`gone` of the waiters go away before their turn; a few more when it has come."""
    report, dice = Report(waiters), random.Random(seed)
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        crowd = Crowd(cluster, session)
        token = await crowd.acquire(-1)
        report.alone = await crowd.costs(seconds)
        begun_s = time.monotonic()
        for number in range(waiters):
            await crowd.stand(number)
        report.stood_s = time.monotonic() - begun_s
        index = await crowd.index()
        report.crowded = await crowd.costs(seconds)
        report.grown = await crowd.index() - index
        leaving = sorted(dice.sample(range(1, waiters), gone))
        for number in leaving:
            crowd.tasks[number].cancel()
        await crowd.until_waiting(waiters - gone)
        report.left = gone
        # The first three of those who are left are not there when they are called.
        rest = [number for number in range(waiters) if number not in set(leaving)]
        for number in rest[:3]:
            crowd.tasks[number].cancel()
        report.passed_over, rest = 3, rest[3:]
        crowd.had.clear()
        await pass_on(crowd, report, token, rest)
    report.flaws += flaws(report, crowd.had, rest)
    return report


async def pass_on(crowd: Crowd, report: Report, token: int, line: Sequence[int]) -> None:
    """Everybody in line has the lock once."""
    sample = max(1, int(len(line) * SAMPLE_SHARE))
    index, cpu_ms = 0, 0.0
    for turn, number in enumerate(line):
        if turn == 1:  # those who were called in vain have given it back
            index, cpu_ms = await crowd.index(), crowd.cpu_ms()
        if turn == 1 + sample:
            report.first_ms = (crowd.cpu_ms() - cpu_ms) / sample
        if turn == len(line) - sample:
            cpu_ms = crowd.cpu_ms()
        begun_s = time.monotonic()
        await crowd.ask(number, "POST", f"{LOCK}:release", {"token": token})
        granted = await asyncio.wait_for(crowd.tasks[number], ANSWER_S)
        if turn:
            report.turns_ms.append((time.monotonic() - begun_s) * 1_000)
        if granted <= token:
            report.flaws.append(f"token {granted} of {number} after {token}")
        token = granted
    report.last_ms = (crowd.cpu_ms() - cpu_ms) / sample
    report.commands = await crowd.index() - index


def flaws(report: Report, had: Sequence[int], line: Sequence[int]) -> list[str]:
    found = []
    if list(had) != list(line):
        wrong = next((i for i, pair in enumerate(zip(had, line, strict=False)) if pair[0] != pair[1]), len(had))
        found.append(f"not the order of the line, from turn {wrong} on: {had[wrong : wrong + 5]}")
    if report.grown:
        found.append(f"the log grew by {report.grown} while all waited")
    if report.commands != len(report.turns_ms):
        found.append(f"{report.commands} commands for {len(report.turns_ms)} turns")
    if report.first_ms > 3 * report.last_ms + 1:
        found.append("a turn costs more when more wait")
    for name, percent in report.crowded.items():
        if percent > report.alone[name] + CPU_PERCENT_MAX:
            found.append(f"{name} uses {percent:.1f} % of a core to let them wait")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiters", type=int, default=1_000)
    parser.add_argument("--gone", type=int, default=50, help="how many go away before their turn")
    parser.add_argument("--seconds", type=float, default=10, help="of waiting")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes end too
    with tempfile.TemporaryDirectory(prefix="peercron-crowd-") as folder, cluster_in(Path(folder)) as cluster:
        cluster.leader()
        report = asyncio.run(run(cluster, waiters=options.waiters, gone=options.gone, seconds=options.seconds))
    print(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
