"""lateness: jobs that fire often, and how late each of their slots was served, from the cluster's own record."""

from __future__ import annotations

from benchmarks.cluster import Node


class Fires:
    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    async def add(self, nodes: list[Node]) -> None: ...

    async def due(self, nodes: list[Node], from_ms: float, to_ms: float) -> tuple[list[float], list[float], int]:
        return [], [], 0
