"""lateness: jobs that fire often, and how late each of their slots was served, by the cluster's own record."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.cluster import Node, Unreachable
from benchmarks.http1 import ask

EVERY_MS = 200
#: How often the records are read while some are missing; a job keeps its last 20 runs, four seconds of them.
READ_S = 0.5
#: A slot without a started process after this is missing.
PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Late:
    """Of the slots that were due in some span. In ms; `missing` slots have no process that started."""

    created_ms: list[float]
    started_ms: list[float]
    missing: int


class Fires:
    """Jobs that fire every EVERY_MS, all of them made up for after a gap."""

    def __init__(self, jobs: int) -> None:
        self.names = [f"bench-{i + 1}" for i in range(jobs)]

    async def add(self, nodes: Sequence[Node]) -> None:
        for name in self.names:
            job = {
                "every": f"{EVERY_MS}ms",
                "command": ["true"],
                # A run on a node that just died must not make its successors wait.
                "overlap": "allow",
                "misfire": {"policy": "all", "window": "1h", "max": 100},
            }
            status, answer = await ask(nodes[0].http, "PUT", f"/v1/jobs/{name}", job)
            if status not in (200, 201):
                raise Unreachable(f"the job was refused: {status} {answer}")

    async def due(self, nodes: Sequence[Node], from_ms: float, to_ms: float) -> Late:
        """How late the slots in (from_ms, to_ms] were; waits until all of them have started somewhere."""
        first = int(from_ms // EVERY_MS + 1) * EVERY_MS
        wanted = {(name, slot) for name in self.names for slot in range(first, int(to_ms) + 1, EVERY_MS)}
        created: dict[tuple[str, int], float] = {}
        started: dict[tuple[str, int], float] = {}
        deadline = time.monotonic() + PATIENCE_S
        while wanted - started.keys() and time.monotonic() < deadline:
            for name in self.names:
                for run in await self._runs(nodes, name):
                    self._note(name, run, created, started)
            await asyncio.sleep(READ_S)
        for name, slot in wanted - started.keys():
            print(f"{name}: no process for slot {slot}", file=sys.stderr)
        return Late(
            [created[key] - key[1] for key in wanted if key in created],
            [started[key] - key[1] for key in wanted if key in started],
            len(wanted - started.keys()),
        )

    async def _runs(self, nodes: Sequence[Node], name: str) -> list[dict[str, Any]]:
        for node in nodes:
            try:
                status, answer = await ask(node.http, "GET", f"/v1/jobs/{name}/runs?consistency=stale&limit=100")
            except (OSError, TimeoutError):
                continue
            if status == 200:
                return list(answer["runs"])
        return []

    def _note(
        self,
        name: str,
        run: dict[str, Any],
        created: dict[tuple[str, int], float],
        started: dict[tuple[str, int], float],
    ) -> None:
        key = (name, run["slot"])
        created[key] = epoch_ms(run["created_at"])
        starts = [epoch_ms(attempt["started_at"]) for attempt in run["attempts"] if attempt["started_at"]]
        if starts:
            started[key] = min(starts)


def epoch_ms(instant: str) -> float:
    """The instant in milliseconds since 1970.

    >>> epoch_ms("1970-01-01T00:00:01.500Z")
    1500.0
    """
    return datetime.fromisoformat(instant).timestamp() * 1e3
