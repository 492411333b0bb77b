"""census: how many processes each attempt has, so that one that multiplies without end is ended while others can live.

Without a cgroup nothing in the kernel counts the processes of one tree: the limit of a user (RLIMIT_NPROC) counts all
that run under that name, and root has none. So the guardian counts, ten times a second; what multiplies faster than
that has more processes than it may until it is seen. To look at every process of the host costs time, which is why it
is done only when the number of tasks that the kernel keeps anyway leaves room for somebody to have grown too large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from peercron.execution.attempt import Attempt
from peercron.execution.limits import CENSUS_S, CENSUS_WHOLE_S
from peercron.execution.processes import Process, below, table, tasks


class Census:
    """`tasks`: how many there are on the host, None: not known; `table`: its processes."""

    def __init__(
        self, tasks: Callable[[], int | None] = tasks, table: Callable[[], dict[int, Process]] = table
    ) -> None:
        self._tasks, self._table = tasks, table
        #: When to look again.
        self.at = -math.inf
        self._counted_at = -math.inf
        self._tasks_then = 0
        #: How many processes whoever was nearest to its limit had left then.
        self._room = 0

    def crowds(self, attempts: Iterable[Attempt], now: float) -> list[tuple[Attempt, int]]:
        """Attempts with more processes than they may have, and with how many; looked for when it is time."""
        attempts = [attempt for attempt in attempts if attempt.sentence is None]
        if now < self.at or not attempts:
            return []
        self.at = now + CENSUS_S
        known = self._tasks()
        if known is not None and known <= min(attempt.order["processes"] for attempt in attempts):
            return []
        grown = math.inf if known is None else known - self._tasks_then
        pause_s = CENSUS_WHOLE_S if grown <= self._room // 2 or known is None else 0.0
        return self._count(attempts, known or 0, now) if now >= self._counted_at + pause_s else []

    def _count(self, attempts: list[Attempt], known: int, now: float) -> list[tuple[Attempt, int]]:
        everybody = self._table()
        counted = [(attempt, len(below(attempt.shepherd, everybody))) for attempt in attempts]
        self._counted_at, self._tasks_then = now, known
        self._room = min(attempt.order["processes"] - count for attempt, count in counted)
        return [(attempt, count) for attempt, count in counted if count > attempt.order["processes"]]
