"""stalls: how long a node kept others waiting, seen from outside and told from inside."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cluster import Node
from benchmarks.http1 import Connection, request

PACE_S = 0.005
ASK = request("GET", "/livez")


@dataclass(slots=True)
class Outside:
    """Asks a node a small thing every few milliseconds, one question at a time, as long as it answers."""

    node: Node
    #: (asked at, answered at), monotonic ns.
    answers: list[tuple[int, int]] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._go_on())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def longest_ms(self, from_ns: int, to_ns: int) -> float:
        """The longest that an answer took, of those given in this time; 0: there was none."""
        return max((b - a for a, b in self.answers if from_ns <= b <= to_ns), default=0) / 1e6

    async def _go_on(self) -> None:
        connection: Connection | None = None
        while True:
            try:
                if connection is None or not connection.usable:
                    connection = await Connection.open(self.node.http)
                asked = time.monotonic_ns()
                await connection.call(ASK)
                self.answers.append((asked, time.monotonic_ns()))
            except (OSError, TimeoutError):
                connection = None
                await asyncio.sleep(20 * PACE_S)
            await asyncio.sleep(PACE_S)


@dataclass(frozen=True, slots=True)
class Slow:
    """One callback of a node's loop, or one run of its collector, as `probed` wrote it down."""

    at_ns: int
    wall_ms: float
    cpu_ms: float
    what: str


def inside(path: Path, from_ns: int, to_ns: int) -> list[Slow]:
    """What kept the loop of a node in this time, the longest first."""
    return sorted(_lines(path, from_ns, to_ns), key=lambda slow: -slow.wall_ms)


def _lines(path: Path, from_ns: int, to_ns: int) -> Iterator[Slow]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            slow = Slow(**json.loads(line))
            if from_ns <= slow.at_ns <= to_ns:
                yield slow


def resident_mb(node: Node) -> float:
    """Memory of the node's process."""
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
